//! The operator's processes: starts, kills and pauses them, runs two at once, and moves their clock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::{Folder, Process, ProcessOptions, free_port};

use crate::tally::Tally;
use crate::{Error, Result};

/// How long a rollout waits before SIGKILL. Shorter than the chart's grace period, so that some kick-offs are cut off.
const GRACE: Duration = Duration::from_secs(45);

/// The flags of all processes, as in a rollout. Intervals are short.
const FLAGS: [&str; 14] = [
    "--watch-namespaces=chaos,doomed",
    "--health-addr=127.0.0.1:0",
    "--poll-floor-seconds=0.2",
    "--poll-ceiling-seconds=3",
    "--retry-base-seconds=1",
    "--retry-max-seconds=4",
    "--orphan-wait-seconds=4",
    "--missing-retry-seconds=0.5",
    "--progress-interval-seconds=2",
    "--cancel-grace-seconds=60",
    "--log-format=json",
    "--log-filter=info,fhir_export_operator=debug",
    "--entra-audiences=api://chaos",
    "run",
];

/// All processes of the operator, the newest last.
#[derive(Debug)]
pub struct Fleet {
    // Dropped before the folder, so that the processes have ended when the folder is removed.
    running: Vec<One>,
    program: PathBuf,
    kubeconfig: PathBuf,
    flags: Vec<String>,
    faketime: PathBuf,
    clock: PathBuf,
    logs: Vec<PathBuf>,
    wanted: usize,
    folder: Folder,
}

#[derive(Debug)]
struct One {
    process: Process,
    metrics: u16,
}

impl Drop for One {
    /// Removes the shared memory of libfaketime, which a killed program leaves behind.
    fn drop(&mut self) {
        let pid = self.process.pid();
        for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    }
}

impl Fleet {
    /// A fleet without a running process. The operator's program is the one beside this program.
    pub async fn new(kubeconfig: &Path, flags: Vec<String>) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("fhir-export-operator");
        if !program.exists() {
            let place = program.display();
            return Err(Error::Operator(format!("{place} is not there: build it first (cargo build)")));
        }
        let folder = Folder::new("chaos-operator")?;
        let clock = folder.write("clock", "+0")?;
        Ok(Self {
            running: Vec::new(),
            program,
            kubeconfig: kubeconfig.to_owned(),
            flags,
            faketime: stage::faketime().await?,
            clock,
            logs: Vec::new(),
            wanted: 0,
            folder,
        })
    }

    /// Starts another process beside those that run.
    pub fn start(&mut self) -> Result<()> {
        self.wanted += 1;
        self.launch()
    }

    fn launch(&mut self) -> Result<()> {
        let metrics = free_port()?;
        let log = self.folder.path().join(format!("operator-{}.log", self.logs.len() + 1));
        self.logs.push(log.clone());
        let [flags @ .., run] = FLAGS;
        // An argument of `env`, which becomes the operator: the keeper of the process must not have the moved clock.
        let mut preload = OsString::from("LD_PRELOAD=");
        preload.push(&self.faketime);
        let options = ProcessOptions::new("env", log)
            .arg(preload)
            .arg(&self.program)
            .arg(run)
            .args(flags)
            .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
            .args(self.flags.clone())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("POD_NAME", format!("operator-{}", self.logs.len()))
            .env("RUST_BACKTRACE", "1")
            // Only the wall clock jumps, as when somebody sets a machine's clock. Timers are not affected.
            .env("FAKETIME_TIMESTAMP_FILE", &self.clock)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        self.running.push(One { process: Process::start(&options)?, metrics });
        Ok(())
    }

    /// Kills the newest process.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut one) = self.running.pop() {
            self.wanted = self.wanted.saturating_sub(1);
            one.process.sigkill().await?;
        }
        Ok(())
    }

    /// Asks the oldest process to end, as a rollout does, and kills it after [`GRACE`]. Returns whether it ended by
    /// itself.
    pub async fn retire(&mut self) -> Result<bool> {
        if self.running.is_empty() {
            return Ok(true);
        }
        self.wanted = self.wanted.saturating_sub(1);
        let mut one = self.running.remove(0);
        Ok(one.process.stop(GRACE).await?.is_some())
    }

    /// Stops all processes, and waits until none of them runs any more.
    pub async fn pause(&mut self) -> Result<()> {
        for one in &mut self.running {
            one.process.pause().await?;
        }
        Ok(())
    }

    /// Continues all processes after a pause.
    pub fn go_on(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(|one| one.process.go_on()).map_err(Error::from)
    }

    /// Sets the clock of all processes `seconds` ahead of the real time.
    pub fn move_clock(&self, seconds: i64) -> Result<()> {
        // A rename is atomic, so no process reads half of the file.
        let next = self.folder.write("clock.next", format!("{seconds:+}"))?;
        std::fs::rename(next, &self.clock)?;
        Ok(())
    }

    /// Restarts processes that ended by themselves, as a kubelet does.
    pub fn tend(&mut self, tally: &Tally) -> Result<()> {
        let mut left = Vec::new();
        for mut one in self.running.drain(..) {
            if one.process.is_running()? {
                left.push(one);
            }
        }
        self.running = left;
        while self.running.len() < self.wanted {
            tally.count("operator ended by itself");
            self.launch()?;
        }
        Ok(())
    }

    /// The port on which the newest process serves its metrics.
    pub fn metrics(&self) -> Option<u16> {
        self.running.last().map(|one| one.metrics)
    }

    /// The logs of all processes, one text for each start.
    pub fn said(&self) -> Vec<String> {
        let read = |log: &PathBuf| std::fs::read(log).unwrap_or_default();
        self.logs.iter().map(|log| String::from_utf8_lossy(&read(log)).into_owned()).collect()
    }

    /// The end of the newest process's log.
    pub fn log_end(&self) -> String {
        self.running.last().map(|one| one.process.log_end()).unwrap_or_default()
    }

    /// Ends all processes in order, the oldest first.
    pub async fn stop(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.retire().await?;
        }
        Ok(())
    }
}
