mod options;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

pub use options::ProcessOptions;

use crate::error::at;
use crate::{Error, Result};

const LOOK_EVERY: Duration = Duration::from_millis(10);
const KILLED_WITHIN: Duration = Duration::from_secs(10);
const LOG_END: u64 = 4096;

/// A running program. It is killed when this value is dropped, and when this
/// process ends in any way.
///
/// Only the program itself is killed: a script should `exec` what it runs.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    keeper: Child,
    pipe: Option<ChildStdin>,
    status: Option<i32>,
}

impl Process {
    /// Starts a program.
    pub fn start(options: &ProcessOptions) -> Result<Self> {
        let name = options.program.file_name().map_or_else(
            || options.program.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("process/keep.sh"), "sh"])
            .arg(&options.stdin)
            .arg(options.stdout.as_ref().unwrap_or(&options.log))
            .arg(&options.log)
            .arg(&options.program)
            .args(&options.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt at the terminal is for the tests: their end ends this.
            .process_group(0);
        for (variable, value) in &options.env {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        if let Some(folder) = &options.directory {
            command.current_dir(folder);
        }
        let failed = |source| at("starting", &options.program)(source);
        let mut keeper = command.spawn().map_err(failed)?;
        let pipe = keeper.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let pid = line.trim().parse().map_err(|_| failed(std::io::Error::other("it has no process id")))?;
        Ok(Self { name, pid, log: options.log.clone(), keeper, pipe, status: None })
    }

    /// The process id of the program.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file with what the program said.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of what the program said.
    pub fn log_end(&self) -> String {
        end_of(&self.log).unwrap_or_else(|error| format!("{}: {error}", self.log.display()))
    }

    /// The exit code if the program has ended, 128 and the signal's number
    /// where a signal ended it.
    pub fn try_wait(&mut self) -> Result<Option<i32>> {
        if self.status.is_none() {
            let ended = self
                .keeper
                .try_wait()
                .map_err(|source| Error::Io { what: format!("waiting for {}", self.name), source })?;
            self.status = ended.map(|status| status.code().unwrap_or(137));
        }
        Ok(self.status)
    }

    /// Whether the program runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.try_wait()?.is_none())
    }

    /// Fails, with the end of the log, if the program has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                program: self.name.clone(),
                status: status.to_string(),
                log: self.log_end(),
            }),
        }
    }

    /// Waits until the program has said `text`; fails where it ends before.
    pub async fn wait_for_log(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            // Its state first: what it said before its end is then in the log.
            let runs = self.must_run();
            if std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(text)) {
                return Ok(());
            }
            runs?;
            if started.elapsed() > timeout {
                return Err(Error::Timeout {
                    what: format!("{} to say '{text}'", self.name),
                    waited: timeout,
                    last: self.log_end(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the program has ended by itself; gives its exit code.
    pub async fn wait(&mut self) -> Result<i32> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the end, but not for ever; gives none at the timeout.
    pub async fn wait_at_most(&mut self, timeout: Duration) -> Result<Option<i32>> {
        match tokio::time::timeout(timeout, self.wait()).await {
            Ok(status) => status.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        match writeln!(pipe, "{signal}") {
            // It has ended already.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent
                .map_err(|source| Error::Io { what: format!("sending {signal} to {}", self.name), source }),
        }
    }

    /// Asks the program to end.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Kills the program and waits for its end.
    pub async fn sigkill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        match self.wait_at_most(KILLED_WITHIN).await? {
            Some(_) => Ok(()),
            None => Err(Error::Unending(self.name.clone())),
        }
    }

    /// Asks the program to end, and kills it where it has not after `grace`.
    /// Gives its exit code, or none where it had to be killed.
    pub async fn stop(&mut self, grace: Duration) -> Result<Option<i32>> {
        self.sigterm()?;
        let status = self.wait_at_most(grace).await?;
        if status.is_none() {
            self.sigkill().await?;
        }
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // A folder that is removed next must not be written to any more.
        let deadline = Instant::now() + KILLED_WITHIN;
        while matches!(self.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LOG_END);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
