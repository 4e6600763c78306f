//! The operator as a process of this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::{Folder, Process, ProcessOptions, free_port, wait_for};

use crate::{Error, Result};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// The operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    command: ProcessOptions,
    arguments: Vec<String>,
    health: u16,
    log: PathBuf,
}

impl Operator {
    /// Starts it as the user of `kubeconfig` and waits until it is ready.
    pub async fn start(folder: &Folder, kubeconfig: &Path, watched: Option<&str>) -> Result<Self> {
        let (health, metrics) = (free_port()?, free_port()?);
        let log = folder.path().join("operator.log");
        let mut arguments = vec![
            "run".to_owned(),
            format!("--health-addr=127.0.0.1:{health}"),
            format!("--metrics-addr=127.0.0.1:{metrics}"),
            // It is killed and started again at once, and would wait for the Lease of the one before.
            "--no-leader-elect".to_owned(),
            // Five minutes, as a rule: the job runs for seconds here.
            "--progress-interval-seconds=1".to_owned(),
        ];
        if let Some(watched) = watched {
            arguments.push(format!("--watch-namespaces={watched}"));
        }
        let command = ProcessOptions::new(program()?, &log)
            .args(&arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("FHIR_EXPORT_LOG_FORMAT", "text");
        let mut operator = Self { process: Process::start(&command)?, command, arguments, health, log };
        operator.ready().await?;
        Ok(operator)
    }

    /// The command as a person would type it.
    pub fn command_line(&self) -> String {
        format!("fhir-export-operator {}", self.arguments.join(" "))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The file with what it said.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of what it said.
    pub fn log_end(&self) -> String {
        self.process.log_end()
    }

    /// Kills it, so that it cannot do anything before its end.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.process.sigkill().await?)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.is_running()?)
    }

    /// Starts it anew, if it does not run.
    pub async fn resume(&mut self) -> Result<()> {
        if !self.is_running()? {
            self.process = Process::start(&self.command)?;
            self.ready().await?;
        }
        Ok(())
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(STOPPED_WITHIN).await?;
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let url = format!("http://127.0.0.1:{}/readyz", self.health);
        let process = &mut self.process;
        // Its end is told at once, with the end of its log.
        let ended = async {
            loop {
                process.must_run()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let answers = wait_for("the operator to get ready", READY_WITHIN, || async {
            client.get(&url).send().await?.error_for_status()
        });
        tokio::select! {
            ended = ended => ended,
            ready = answers => ready.map(drop).map_err(Error::from),
        }
    }
}

/// The operator beside this program.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("fhir-export-operator");
    if program.exists() {
        return Ok(program);
    }
    Err(Error::Cluster(format!("{} is not there: build it first (cargo build)", program.display())))
}
