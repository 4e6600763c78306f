//! FHIR servers and storage in memory, for tests of the operator's edge to the cluster.

use std::sync::Arc;

use azure_core::Bytes;
use fhir_export_operator::api::{Compression, FhirServer, KeyRef};
use fhir_export_operator::core::landing::{Checkpoint, Content, Marks};
use fhir_export_operator::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use fhir_export_operator::core::wire::{Answer, Failure, FileRequest, Method, Reply, Request};
use fhir_export_operator::ports::{Committed, FileAnswer, ObjectStore, Target, Upload, Wire};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};

/// The base URL of the server that answers each kick-off at once.
pub const PROMPT: &str = "https://prompt.example.org";

/// FHIR servers that answer a kick-off when the test allows it. [`PROMPT`] answers at once.
#[derive(Clone)]
pub struct FakeServer(Arc<Inner>);

struct Inner {
    kick_offs: watch::Sender<usize>,
    answered_at_once: watch::Sender<usize>,
    answers: Semaphore,
    forgotten: watch::Sender<Vec<String>>,
}

impl FakeServer {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            kick_offs: watch::Sender::new(0),
            answered_at_once: watch::Sender::new(0),
            answers: Semaphore::new(0),
            forgotten: watch::Sender::new(Vec::new()),
        }))
    }

    /// The number of kick-offs that have arrived.
    pub fn kick_offs(&self) -> watch::Receiver<usize> {
        self.0.kick_offs.subscribe()
    }

    /// The number of kick-offs that have arrived at [`PROMPT`].
    pub fn answered_at_once(&self) -> watch::Receiver<usize> {
        self.0.answered_at_once.subscribe()
    }

    /// The uids of the servers whose credentials were dropped.
    pub fn forgotten(&self) -> watch::Receiver<Vec<String>> {
        self.0.forgotten.subscribe()
    }

    /// Allows the answers to `count` more kick-offs.
    pub fn answer(&self, count: usize) {
        self.0.answers.add_permits(count);
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        body: body.to_owned().into(),
        content_type: Some("application/fhir+json".into()),
        ..Answer::default()
    }
}

impl Wire for FakeServer {
    async fn authorize(&self, _: &Arc<FhirServer>) -> Result<(), Failure> {
        Ok(())
    }

    async fn send(&self, _: &Arc<FhirServer>, request: &Request) -> Reply {
        if request.url.ends_with("/metadata") {
            let software = r#"{"name":"Microsoft FHIR Server"}"#;
            let body = format!(
                r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{software}}}"#
            );
            return Ok(answer(200, &body));
        }
        if request.url.ends_with("/_operations/export/0") {
            let body =
                r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}"#;
            return Ok(answer(404, body));
        }
        if request.method == Method::Delete || request.prefer.is_none() {
            return Ok(answer(202, ""));
        }
        if request.url.starts_with(PROMPT) {
            self.0.answered_at_once.send_modify(|count| *count += 1);
            let location = format!("{PROMPT}/_operations/export/{}", *self.0.answered_at_once.borrow());
            return Ok(Answer { content_location: Some(location), ..answer(202, "") });
        }
        let mut number = 0;
        self.0.kick_offs.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        self.0.answers.acquire().await.unwrap().forget();
        let location = format!("https://clinic.example.org/_operations/export/{number}");
        Ok(Answer { content_location: Some(location), ..answer(202, "") })
    }

    async fn open(&self, _: &Arc<FhirServer>, _: &FileRequest) -> Result<FileAnswer, Failure> {
        Ok(FileAnswer::Refused(answer(404, "")))
    }

    async fn secret(&self, _: &str, _: &KeyRef) -> Result<SecretString, Failure> {
        Ok(SecretString::from("Patient/1"))
    }

    fn forget(&self, uid: &str) {
        self.0.forgotten.send_modify(|all| all.push(uid.to_owned()));
    }
}

/// Storage that fails each request, as without a storage account.
pub struct NoStorage;

fn none() -> StorageFailure {
    StorageFailure { kind: StorageFailureKind::NotConfigured, message: "There is none.".into() }
}

impl Upload for NoStorage {
    fn part_size(&self, _: u64) -> Option<usize> {
        None
    }

    async fn part(&mut self, _: Bytes, _: &Checkpoint) -> Result<(), StorageFailure> {
        Err(none())
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        Err(none())
    }

    fn stored(&self) -> u64 {
        0
    }

    async fn commit(self, _: Bytes, _: &Marks) -> Result<Committed, StorageFailure> {
        Err(none())
    }
}

impl ObjectStore for NoStorage {
    type Upload = NoStorage;

    async fn probe(&self, _: &Arc<FhirServer>, _: Option<&str>) -> Result<(), StorageFailure> {
        Err(none())
    }

    async fn find_jobs(
        &self,
        _: &Arc<FhirServer>,
        _: Option<&str>,
        _: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        Err(none())
    }

    async fn count_files(
        &self,
        _: Target<'_>,
        _: Option<&str>,
        _: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        Err(none())
    }

    async fn verify(
        &self,
        _: &Arc<FhirServer>,
        _: &VerifyPlan,
        _: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        Err(none())
    }

    async fn store(&self, _: Target<'_>, _: &str, _: &[u8]) -> Result<String, StorageFailure> {
        Err(none())
    }

    async fn read(&self, _: Target<'_>, _: &str, _: usize) -> Result<Option<Vec<u8>>, StorageFailure> {
        Err(none())
    }

    async fn read_through(
        &self,
        _: Target<'_>,
        _: &str,
        _: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        Err(none())
    }

    async fn ledger(&self, _: Target<'_>, _: &str) -> Result<Ledger, StorageFailure> {
        Err(none())
    }

    async fn make_container(&self, _: Target<'_>) -> Result<(), StorageFailure> {
        Err(none())
    }

    fn begin(&self, _: Target<'_>, _: &str, _: Content, _: Compression) -> NoStorage {
        NoStorage
    }

    async fn resume(
        &self,
        _: Target<'_>,
        _: &str,
        _: Compression,
    ) -> Result<Option<(NoStorage, Checkpoint)>, StorageFailure> {
        Err(none())
    }

    async fn delete_folder(
        &self,
        _: &Arc<FhirServer>,
        _: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        Err(none())
    }
}
