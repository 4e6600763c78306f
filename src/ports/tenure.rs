//! How long this process may act, and its end when that time is over.

use std::fmt::Debug;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::core::lease::Moment;
use crate::core::planted::{Fault, planted};

/// A clock that runs on while the process is stopped or the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// How soon it is noticed that the machine slept: its sleep does not count for who sleeps in it.
const TICK: Duration = Duration::from_millis(100);

/// How long the last words may take: whoever reads them may hang, too.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// No time to act.
const NONE: u64 = 0;
/// No end of it.
const ENDLESS: u64 = u64::MAX;

/// Now, by the steady clock of this machine.
fn steady() -> Moment {
    let now = clock_gettime(STEADY);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What a process runs on, as far as its tenure goes.
pub trait Machine: Debug + Send + Sync {
    /// Now, by a clock that runs on while the process is stopped or the machine sleeps.
    fn steady(&self) -> Moment;
    /// Ends the process at once, with a sentence.
    fn end(&self, sentence: &str) -> !;
}

/// The machine that this is.
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

/// How long this process may act. Whatever changes something outside looks at it right before it does so.
#[derive(Clone, Debug)]
pub struct Tenure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    machine: Box<dyn Machine>,
    /// In nanoseconds of the steady clock.
    until: AtomicU64,
    /// What went wrong last, to be told at the end.
    trouble: Mutex<String>,
}

impl Default for Tenure {
    /// For ever: nobody else works.
    fn default() -> Self {
        Self::with(ENDLESS, ThisMachine)
    }
}

impl Tenure {
    /// Not yet.
    pub fn none() -> Self {
        Self::none_on(ThisMachine)
    }

    /// Not yet, on another machine than this.
    pub fn none_on(machine: impl Machine + 'static) -> Self {
        Self::with(NONE, machine)
    }

    fn with(until: u64, machine: impl Machine + 'static) -> Self {
        let (until, machine) = (AtomicU64::new(until), Box::new(machine));
        Self(Arc::new(Inner { machine, until, trouble: Mutex::default() }))
    }

    /// Now, by the clock that it is measured by.
    pub fn now(&self) -> Moment {
        self.0.machine.steady()
    }

    /// Until then.
    pub fn extend(&self, until: Moment) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(ENDLESS - 1);
        self.0.until.store(nanos, Ordering::SeqCst);
    }

    /// Not any more, of one's own will: nothing is under way.
    pub fn resign(&self) {
        self.0.until.store(NONE, Ordering::SeqCst);
    }

    /// Remembers what hinders the renewal.
    pub fn hindered(&self, trouble: &str) {
        if let Ok(mut told) = self.0.trouble.lock() {
            trouble.clone_into(&mut told);
        }
    }

    /// How much of it is left: none if it is over, or did not begin.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.0.until.load(Ordering::SeqCst)).saturating_sub(self.now())
    }

    /// Ends the process unless it may act now.
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

    /// Ends the process when its time is over, from a thread of its own: whatever else hangs.
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

    /// Ends the process since its time is over.
    pub fn lapsed(&self) -> ! {
        let trouble = self.0.trouble.try_lock().map(|told| told.clone()).unwrap_or_default();
        let cause = if trouble.is_empty() { "this process was stopped or too busy" } else { &trouble };
        self.end(&format!(
            "The operator ends since it could not renew its Lease in time, so that another replica may lead ({cause}); \
             it must be started again."
        ))
    }

    /// Ends the process at once, with a sentence.
    pub fn end(&self, sentence: &str) -> ! {
        self.0.machine.end(sentence)
    }
}

fn end(sentence: &str) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        // Another thread was faster: this one does nothing more.
        loop {
            thread::park();
        }
    }
    let (said, done) = mpsc::channel();
    let sentence = format!("error: {sentence}");
    let told = thread::Builder::new().spawn(move || {
        eprintln!("{sentence}");
        // Nobody may wait any more.
        let _ = said.send(());
    });
    if told.is_ok() {
        // Said or not, it ends.
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

    /// Set for a process that a test starts, which is this test again.
    const CHILD: &str = "FHIR_EXPORT_TEST_TENURE";

    /// Runs one test in a process of its own, whose stderr is read only when it has ended; answers exit code and stderr.
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
            // Hangs when the pipe is full, and holds what others would say something through.
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
        // It is written with two digits.
        assert!(before - 0.01 <= now && now <= after + 0.02, "{before} {now} {after}");
    }
}
