//! Runs the documentation's example, which loads the runs of a chain into a database.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use azure_storage_blob::BlobContainerClient;
use fhir_export_operator::api::ChainedRun;
use replay::State;
use serde_json::Value;

/// The documentation's example (`examples/load/load.py`), with the folder that it loads from.
pub struct Example<'a> {
    folder: &'a Path,
    downloaded: usize,
}

impl<'a> Example<'a> {
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, downloaded: 0 }
    }

    /// Downloads the files of a run.
    pub async fn download(&self, container: &BlobContainerClient, folder: &str) {
        for (name, bytes) in blobs::folder(container, folder).await.unwrap() {
            let path = self.folder.join("lake").join(folder).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Downloads the new runs of a chain and loads the runs that the schedule names into the database.
    pub async fn load(&mut self, container: &BlobContainerClient, chain: &[ChainedRun], schedule: &Value) {
        for run in &chain[self.downloaded..] {
            self.download(container, run.folder.as_deref().unwrap()).await;
        }
        self.downloaded = chain.len();
        self.call(schedule, "fhir.db").unwrap();
    }

    /// Calls the example with a schedule as kubectl prints it. The error is the example's message.
    pub fn call(&self, schedule: &Value, database: &str) -> Result<(), String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load/load.py");
        let arguments = [Path::new(script), &self.folder.join("lake"), &self.folder.join(database)];
        let (output, mut input) = std::io::pipe().unwrap();
        input.write_all(schedule.to_string().as_bytes()).unwrap();
        drop(input);
        let ended = Command::new("python3").args(arguments).stdin(output).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        if ended.status.success() { Ok(()) } else { Err(said) }
    }

    /// The resources in the database.
    pub fn known(&self) -> State {
        let select = "import sqlite3, sys\n\
            for row in sqlite3.connect(sys.argv[1]).execute('SELECT resource FROM resources'): print(row[0])";
        let database = self.folder.join("fhir.db");
        let ended = Command::new("python3").args(["-c", select]).arg(database).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        State::of(
            ended
                .stdout
                .split(|b| *b == b'\n')
                .filter(|l| !l.is_empty())
                .map(|l| serde_json::from_slice(l).unwrap()),
        )
    }
}
