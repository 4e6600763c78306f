//! The tenure: how long this process may act as the leader, and the end of the process when that time is over.

use std::fmt::Debug;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::core::lease::Moment;
use crate::core::planted::{Fault, planted};

/// The clock of the tenure. It keeps running while the process is stopped or the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// The interval at which the guard reads the clock. A sleep of the machine is noticed up to this much late,
/// since `thread::sleep` does not count it.
const TICK: Duration = Duration::from_millis(100);

/// The longest time to write the last sentence to stderr, whose reader may hang, too.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The value of a tenure that has not begun, or was given back.
const NONE: u64 = 0;
/// The value of a tenure that never ends, because no other replica runs.
const ENDLESS: u64 = u64::MAX;

/// The current time of the steady clock of this machine.
fn steady() -> Moment {
    let now = clock_gettime(STEADY);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The machine that a process runs on: its steady clock, and a way to end the process. The simulation has its own.
pub trait Machine: Debug + Send + Sync {
    /// The current time of a clock that keeps running while the process is stopped or the machine sleeps.
    fn steady(&self) -> Moment;
    /// Ends the process at once, after writing this sentence to stderr.
    fn end(&self, sentence: &str) -> !;
}

/// The real machine.
#[derive(Clone, Copy, Debug)]
struct ThisMachine;

impl Machine for ThisMachine {
    fn steady(&self) -> Moment {
        steady()
    }

    fn end(&self, sentence: &str) -> ! {
        end(sentence)
    }
}

/// How long this process may act (`lease-before-act`). An edge calls [`look`](Self::look) right before each
/// request that changes something outside.
#[derive(Clone, Debug)]
pub struct Tenure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    machine: Box<dyn Machine>,
    /// The end of the tenure, in nanoseconds of the steady clock.
    until: AtomicU64,
    /// The last failure to renew the Lease, for the final sentence.
    trouble: Mutex<String>,
}

impl Default for Tenure {
    /// A tenure without an end, for a process without leader election.
    fn default() -> Self {
        Self::with(ENDLESS, ThisMachine)
    }
}

impl Tenure {
    /// A tenure that has not begun.
    pub fn none() -> Self {
        Self::none_on(ThisMachine)
    }

    /// A tenure that has not begun, on another machine than the real one.
    pub fn none_on(machine: impl Machine + 'static) -> Self {
        Self::with(NONE, machine)
    }

    fn with(until: u64, machine: impl Machine + 'static) -> Self {
        let (until, machine) = (AtomicU64::new(until), Box::new(machine));
        Self(Arc::new(Inner { machine, until, trouble: Mutex::default() }))
    }

    /// The current time of the clock that measures the tenure.
    pub fn now(&self) -> Moment {
        self.0.machine.steady()
    }

    /// Extends the tenure to this instant.
    pub fn extend(&self, until: Moment) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(ENDLESS - 1);
        self.0.until.store(nanos, Ordering::SeqCst);
    }

    /// Ends the tenure before its time. No request may be in flight.
    pub fn resign(&self) {
        self.0.until.store(NONE, Ordering::SeqCst);
    }

    /// Remembers why the Lease could not be renewed.
    pub fn hindered(&self, trouble: &str) {
        if let Ok(mut told) = self.0.trouble.lock() {
            trouble.clone_into(&mut told);
        }
    }

    /// The time that is left: zero if the tenure is over or has not begun.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.0.until.load(Ordering::SeqCst)).saturating_sub(self.now())
    }

    /// Ends the process if the tenure is over or has not begun.
    pub fn look(&self) {
        let over = if planted(Fault::ActsAfterItsTime) {
            self.0.until.load(Ordering::SeqCst) == NONE
        } else {
            self.left().is_zero()
        };
        if over {
            self.lapsed();
        }
    }

    /// Starts a thread that ends the process when the tenure is over, whatever else hangs.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn guard(&self) -> std::io::Result<()> {
        let tenure = self.clone();
        let guard = move || loop {
            match tenure.left() {
                Duration::ZERO if tenure.0.until.load(Ordering::SeqCst) != NONE => tenure.lapsed(),
                Duration::ZERO => thread::sleep(TICK),
                left => thread::sleep(left.min(TICK)),
            }
        };
        thread::Builder::new().name("lease".into()).spawn(guard).map(drop)
    }

    /// Ends the process because the tenure is over. The sentence names why the Lease was not renewed.
    pub fn lapsed(&self) -> ! {
        let trouble = self.0.trouble.try_lock().map(|told| told.clone()).unwrap_or_default();
        let cause = if trouble.is_empty() { "this process was stopped or too busy" } else { &trouble };
        self.end(&format!(
            "The operator ends since it could not renew its Lease in time, so that another replica may lead ({cause}); \
             it must be started again."
        ))
    }

    /// Ends the process at once, after writing this sentence to stderr.
    pub fn end(&self, sentence: &str) -> ! {
        self.0.machine.end(sentence)
    }
}

fn end(sentence: &str) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        // Another thread is already ending the process, so this one does nothing more.
        loop {
            thread::park();
        }
    }
    let (said, done) = mpsc::channel();
    let sentence = format!("error: {sentence}");
    let told = thread::Builder::new().spawn(move || {
        eprintln!("{sentence}");
        // The receiver may no longer wait.
        let _ = said.send(());
    });
    if told.is_ok() {
        // The process ends whether or not the sentence was written.
        let _ = done.recv_timeout(LAST_WORDS);
    }
    exit(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn it_begins_is_extended_and_is_over() {
        let tenure = Tenure::none();
        assert_eq!(tenure.left(), Duration::ZERO);
        let seen = tenure.clone();
        tenure.extend(steady() + Duration::from_secs(10));
        assert!(seen.left() > Duration::from_secs(9));
        seen.look();
        tenure.extend(steady());
        assert_eq!(seen.left(), Duration::ZERO);
        tenure.extend(steady() + Duration::from_secs(10));
        tenure.resign();
        assert_eq!(seen.left(), Duration::ZERO);
    }

    #[test]
    fn who_is_alone_may_act_for_ever() {
        let tenure = Tenure::default();
        tenure.look();
        assert!(tenure.left() > Duration::from_secs(100 * 365 * 24 * 3600));
    }

    /// The environment variable that is set for the process that a test starts, which runs the same test.
    const CHILD: &str = "FHIR_EXPORT_TEST_TENURE";

    /// Runs one test in a process of its own, whose stderr is read only after it has ended.
    /// Returns exit code and stderr.
    fn in_its_own_process(test: &str, does: impl FnOnce(Tenure)) -> Option<(Option<i32>, String)> {
        if std::env::var_os(CHILD).is_some() {
            does(Tenure::none());
            return None;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("ports::tenure::tests::{test}"), "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let code = child.wait().unwrap().code();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        Some((code, said))
    }

    #[test]
    fn who_acts_too_late_ends() {
        let ended = in_its_own_process("who_acts_too_late_ends", |tenure| {
            tenure.extend(steady());
            tenure.hindered("the cause");
            tenure.look();
            eprintln!("it acts");
        });
        let Some((code, said)) = ended else { return };
        assert_eq!(code, Some(1));
        assert!(said.contains("another replica may lead (the cause)") && !said.contains("it acts"), "{said}");
    }

    #[test]
    fn whoever_hangs_ends_when_the_time_is_over() {
        let ended = in_its_own_process("whoever_hangs_ends_when_the_time_is_over", |tenure| {
            tenure.guard().unwrap();
            tenure.extend(steady() + Duration::from_millis(200));
            loop {
                thread::park();
            }
        });
        let Some((code, said)) = ended else { return };
        assert_eq!(code, Some(1));
        assert!(said.contains("this process was stopped or too busy"), "{said}");
    }

    #[test]
    fn whoever_is_not_listened_to_ends_too() {
        let ended = in_its_own_process("whoever_is_not_listened_to_ends_too", |tenure| {
            tenure.guard().unwrap();
            tenure.extend(steady() + Duration::from_millis(200));
            // The write hangs when the pipe is full, and holds the lock that other writers need.
            let mut stderr = std::io::stderr().lock();
            loop {
                stderr.write_all(&[b'.'; 4096]).unwrap();
            }
        });
        let Some((code, _)) = ended else { return };
        assert_eq!(code, Some(1));
    }

    #[test]
    fn the_clock_runs_as_the_machine_does() {
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (before, now, after) = (uptime(), steady().as_secs_f64(), uptime());
        // The time is written with two digits.
        assert!(before - 0.01 <= now && now <= after + 0.02, "{before} {now} {after}");
    }
}
