//! The operator as a local process.

use std::path::Path;
use std::time::Duration;

use stage::{Folder, Process, ProcessOptions, free_port, wait_for};

use crate::{Error, Result};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    // Dropped before the folder, so that the process has ended when the folder is removed.
    process: Process,
    _folder: Folder,
}

impl Operator {
    /// Starts the operator's program beside this program, and waits until it is ready.
    pub async fn start(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("fhir-export-operator");
        if !program.exists() {
            let place = program.display();
            return Err(Error::Operator(format!("{place} is not there: build it first (cargo build)")));
        }
        let folder = Folder::new("interop-operator")?;
        let health = free_port()?;
        let options = ProcessOptions::new(program, folder.path().join("operator.log"))
            .arg("run")
            .arg(format!("--watch-namespaces={namespace}"))
            .arg(format!("--health-addr=127.0.0.1:{health}"))
            .arg("--no-leader-elect")
            .arg("--metrics-addr=127.0.0.1:0")
            // The jobs here run for seconds, so the intervals are short.
            .args(["--poll-floor-seconds=0.5", "--progress-interval-seconds=2", "--missing-retry-seconds=1"])
            .args(["--retry-base-seconds=1", "--retry-max-seconds=5", "--log-format=text"])
            .env("KUBECONFIG", kubeconfig);
        let mut process = Process::start(&options)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let url = format!("http://127.0.0.1:{health}/readyz");
        let ready = wait_for("the operator to get ready", READY_WITHIN, || async {
            client.get(&url).send().await?.error_for_status()
        })
        .await;
        // If the process has ended, its end explains more than the timeout.
        process.must_run()?;
        ready?;
        Ok(Self { process, _folder: folder })
    }

    /// The process id of the operator.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The end of the operator's log.
    pub fn log_end(&self) -> String {
        self.process.log_end()
    }

    /// Kills the operator, as the failure of a machine does.
    pub async fn kill(mut self) -> Result<()> {
        self.process.sigkill().await?;
        Ok(())
    }

    /// Ends the operator in order.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(STOPPED_WITHIN).await?;
        Ok(())
    }
}
