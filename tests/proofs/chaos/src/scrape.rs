//! Records the operator's metrics during a run. The alert rules are tested with these series.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::operator::Fleet;
use crate::{Error, Result};

const EVERY: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// All expositions so far, each after a line `# at <seconds since the start>`.
#[derive(Debug, Default)]
pub struct Series(Mutex<String>);

impl Series {
    /// Scrapes repeatedly and never returns. An operator that does not answer leaves a gap, as with Prometheus.
    pub async fn scrape(&self, fleet: &tokio::sync::Mutex<Fleet>, started: Instant) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build()?;
        loop {
            let port = fleet.lock().await.metrics();
            if let Some(port) = port {
                let answer = client.get(format!("http://127.0.0.1:{port}/metrics")).send().await;
                if let Ok(answer) = answer
                    && let Ok(text) = answer.text().await
                {
                    self.take(started.elapsed().as_secs(), &text);
                }
            }
            sleep(EVERY).await;
        }
    }

    fn take(&self, seconds: u64, text: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = write!(all, "# at {seconds}\n{text}");
    }

    /// The text of all expositions so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the text to a file beside this program's build, and returns its path.
    pub fn keep(&self) -> Result<PathBuf> {
        let file = folder()?.join("metrics.txt");
        std::fs::write(&file, self.text())?;
        Ok(file)
    }
}

/// Creates a folder beside this program's build, and returns its path.
pub fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    let folder = target.ok_or_else(|| Error::Io("there is no target folder".into()))?.join("chaos");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
