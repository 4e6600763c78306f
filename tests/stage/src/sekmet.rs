use std::time::Duration;

use serde_json::json;

use crate::{Folder, Process, ProcessOptions, Result, free_port, parts, port};

const READY_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The FHIR server sekmet-fhir: R4, open, empty.
#[derive(Debug)]
pub struct Sekmet {
    // Before the folder, so that it has ended when the folder is removed.
    process: Process,
    url: String,
    _folder: Folder,
}

impl Sekmet {
    /// Starts it and waits until it is ready.
    pub async fn start() -> Result<Self> {
        let folder = Folder::new("sekmet")?;
        let program = parts::sekmet().await?.program("SEKMET")?;
        let mut attempt = 1;
        loop {
            // It must know its port before it starts: its links are made from its settings.
            let port = free_port()?;
            let url = format!("http://127.0.0.1:{port}/fhir");
            let settings = json!({
                "base_url": url,
                "host": "127.0.0.1",
                "port": port,
                "data_dir": folder.path().join("data"),
                // It keeps what it is given, and makes nothing of its own.
                "validation": { "inbound": "off" },
                "simulator": { "enabled": false, "delay_seconds": 0.2 },
                "log_inbound": false,
            });
            // JSON is YAML.
            let settings = folder.write("settings.yaml", settings.to_string())?;
            let log = folder.next_log("sekmet");
            let options = ProcessOptions::new(program, log).arg(settings).directory(folder.path());
            let mut process = Process::start(&options)?;
            match process.wait_for_log("Uvicorn running on", READY_WITHIN).await {
                Err(error) if port::is_taken(&error) && attempt < port::ATTEMPTS => attempt += 1,
                ready => return ready.map(|()| Self { process, url, _folder: folder }),
            }
        }
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
