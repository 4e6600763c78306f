use std::time::Duration;

use crate::error::at;
use crate::{Error, Folder, Process, ProcessOptions, Result, parts};

/// A quarter of a minute on two idle cores.
const READY_WITHIN: Duration = Duration::from_mins(5);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
const LISTENS: &str = "hapi: listens on ";

/// The FHIR server of HAPI: R4, open, empty, in memory.
#[derive(Debug)]
pub struct Hapi {
    // Before the folder, so that it has ended when the folder is removed.
    process: Process,
    url: String,
    _folder: Folder,
}

impl Hapi {
    /// Starts it and waits until it is ready. Its first answer to `/metadata` takes another quarter of a minute.
    pub async fn start() -> Result<Self> {
        let folder = Folder::new("hapi")?;
        let program = parts::hapi().await?.program("HAPI")?;
        let log = folder.path().join("hapi.log");
        let options = ProcessOptions::new(program, &log).directory(folder.path());
        let mut process = Process::start(&options)?;
        process.wait_for_log("hapi: ready", READY_WITHIN).await?;
        let said = std::fs::read_to_string(&log).map_err(at("reading", &log))?;
        let url = said.lines().find_map(|line| line.strip_prefix(LISTENS));
        let url = url.ok_or_else(|| Error::Parts("HAPI does not say where it listens".to_owned()))?;
        Ok(Self { process, url: url.to_owned(), _folder: folder })
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Stops it; its data is gone.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(STOPPED_WITHIN).await.map(drop)
    }
}
