//! The five interfaces that the reconcile is generic over, so that the same code runs in a cluster and in a
//! simulation. Only their implementations know kube's client, reqwest, Azure's client and tokio's clock.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;

use super::runs::Runs;
use crate::api::{
    Compression, FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirExportStatus, FhirServer,
    FhirServerStatus, KeyRef,
};
use crate::core::effect::Note;
use crate::core::landing::{BlockId, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, VerifyPlan,
};
use crate::core::tuning::Tuning;
use crate::core::wire::{Failure, FileAnswer, FileRequest, Reply, Request};

/// Ends a task, at its next pause.
pub type EndTask = Box<dyn FnOnce() + Send>;

/// Why the API server could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterFailure {
    /// The object changed since it was read, or the cache is behind: read and decide again.
    #[error("the object changed meanwhile")]
    Conflict,
    /// The object is gone.
    #[error("the object is gone")]
    NotFound,
    /// The API server refuses (403, 422) or failed; the text says how.
    #[error("{0}")]
    Other(String),
}

/// What came of making an export.
#[derive(Clone, Debug, PartialEq)]
pub enum Creation {
    /// It is made.
    Made(Box<FhirExport>),
    /// There is an object of that name already; this one.
    Exists(Box<FhirExport>),
    /// The API server does not take it (a rule, a quota, a policy), with its words.
    Refused(String),
}

/// Writes to the API server.
pub trait Cluster: Send + Sync {
    /// Writes the status of an export, on the resource version that it was decided on; answers the new object.
    fn write_export_status(
        &self,
        read: &FhirExport,
        status: &FhirExportStatus,
    ) -> impl Future<Output = Result<FhirExport, ClusterFailure>> + Send;
    /// Writes the status of a server, likewise.
    fn write_server_status(
        &self,
        read: &FhirServer,
        status: &FhirServerStatus,
    ) -> impl Future<Output = Result<FhirServer, ClusterFailure>> + Send;
    /// Puts the finalizer `fhirexport.dev/cancel` on, or takes it off, on the resource version that was read.
    fn set_export_finalizer(
        &self,
        read: &FhirExport,
        on: bool,
    ) -> impl Future<Output = Result<FhirExport, ClusterFailure>> + Send;
    /// Puts the finalizer `fhirexport.dev/in-use` on a server, or takes it off.
    fn set_server_finalizer(
        &self,
        read: &FhirServer,
        on: bool,
    ) -> impl Future<Output = Result<FhirServer, ClusterFailure>> + Send;
    /// Writes the status of a schedule, likewise.
    fn write_schedule_status(
        &self,
        read: &FhirExportSchedule,
        status: &FhirExportScheduleStatus,
    ) -> impl Future<Output = Result<FhirExportSchedule, ClusterFailure>> + Send;
    /// Makes an export, unless there is an object of its name.
    fn create_export(
        &self,
        export: &FhirExport,
    ) -> impl Future<Output = Result<Creation, ClusterFailure>> + Send;
    /// Reads an export from the API server itself, for what the watches may not know yet.
    fn read_export(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<FhirExport>, ClusterFailure>> + Send;
    /// Deletes an export, with its uid and resource version as preconditions.
    fn delete_export(&self, read: &FhirExport) -> impl Future<Output = Result<(), ClusterFailure>> + Send;
    /// Publishes an event about an export. Never fails a run: what goes wrong is logged.
    fn publish(&self, about: &FhirExport, note: &Note) -> impl Future<Output = ()> + Send;
    /// Publishes an event about a schedule, likewise.
    fn publish_of_schedule(&self, about: &FhirExportSchedule, note: &Note)
    -> impl Future<Output = ()> + Send;
    /// The labels of a namespace.
    fn namespace_labels(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<std::collections::BTreeMap<String, String>, ClusterFailure>> + Send;
}

/// Requests to FHIR servers, with the credentials of a `FhirServer`.
pub trait Wire: Send + Sync {
    /// Makes sure that a request could be sent: credentials there, token in hand.
    fn authorize(&self, server: &Arc<FhirServer>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Sends one request.
    fn send(&self, server: &Arc<FhirServer>, request: &Request) -> impl Future<Output = Reply> + Send;
    /// Opens a file for reading: from the origins that files may come from only, redirects included, and with a
    /// token only where that may go. Waits for one of the places for downloads, which the body gives back.
    fn open(
        &self,
        server: &Arc<FhirServer>,
        file: &FileRequest,
    ) -> impl Future<Output = Result<FileAnswer, Failure>> + Send;
    /// A key of a Secret with the credential label.
    fn secret(
        &self,
        namespace: &str,
        key: &KeyRef,
    ) -> impl Future<Output = Result<SecretString, Failure>> + Send;
    /// How many origins ask for patience now: for metrics.
    fn throttled_origins(&self) -> usize {
        0
    }
}

/// The storage account of a `FhirServer`.
pub trait Container: Send + Sync {
    /// Whether the account can be listed: the container if one is named, else the account's containers.
    fn probe(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
    ) -> impl Future<Output = Result<(), StorageFailure>> + Send;
    /// Folders of jobs that began at or after `after`: in `container`, else containers `export-*`.
    fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> impl Future<Output = Result<Vec<JobFolder>, StorageFailure>> + Send;
    /// Counts the NDJSON files of a job so far.
    fn count_files(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> impl Future<Output = Result<Seen, StorageFailure>> + Send;
    /// Checks files; may take hours. `read` is told the number of files read so far.
    fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> impl Future<Output = Result<Vec<Checked>, StorageFailure>> + Send;
    /// Stores a small blob, unless one with the same content is there; answers its SHA-256 in hexadecimal.
    fn store(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        body: &[u8],
    ) -> impl Future<Output = Result<String, StorageFailure>> + Send;
    /// Reads a small blob; `None` when it is not there. One that is larger than `max` bytes is a failure.
    fn read(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        max: usize,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StorageFailure>> + Send;
    /// Reads a landed file from front to back, as it was before it was compressed; `take` is given each piece once. False
    /// if it is not there.
    fn read_through(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> impl Future<Output = Result<bool, StorageFailure>> + Send;
    /// What lies in the folder of a landing.
    fn ledger(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        folder: &str,
    ) -> impl Future<Output = Result<Ledger, StorageFailure>> + Send;
    /// Makes a container, unless it is there.
    fn make_container(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
    ) -> impl Future<Output = Result<(), StorageFailure>> + Send;
    /// The blocks of a blob that lie there uncommitted.
    fn staged(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        blob: &str,
    ) -> impl Future<Output = Result<Vec<BlockId>, StorageFailure>> + Send;
    /// Lays down one block, compressed if asked: each on its own, so that blocks can be gone on with.
    fn stage(
        &self,
        server: &Arc<FhirServer>,
        place: (&str, &str),
        id: &BlockId,
        body: Bytes,
        compression: Compression,
    ) -> impl Future<Output = Result<(), StorageFailure>> + Send;
    /// Makes a blob of these blocks and no others; false if a blob of that name is there already.
    fn commit(
        &self,
        server: &Arc<FhirServer>,
        place: (&str, &str),
        ids: &[BlockId],
        marks: &Marks,
        compression: Compression,
    ) -> impl Future<Output = Result<bool, StorageFailure>> + Send;
    /// Deletes files of a run's folder, at most so many, if it is the one that is meant; the manifest goes last.
    fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> impl Future<Output = Result<FolderDeletion, StorageFailure>> + Send;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Lets time pass: for tasks beside the reconcile.
    fn sleep(&self, time: std::time::Duration) -> impl Future<Output = ()> + Send;
}

/// Chance.
pub trait Randomness: Send + Sync {
    /// A number from 0 to 1, 1 excluded.
    fn unit(&self) -> f64;
}

/// What the watches of the API server know, as they last heard it. May lag behind.
pub trait Stores: Send + Sync {
    /// A server, by namespace and name.
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>>;
    /// The exports that name a server, of all watched namespaces, in no order.
    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>>;
    /// An export, by namespace and name.
    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>>;
    /// All exports of all watched namespaces, in no order.
    fn exports(&self) -> Vec<Arc<FhirExport>>;
    /// The exports whose controller is the object with this uid, in no order.
    fn children_of(&self, uid: &str) -> Vec<Arc<FhirExport>>;
    /// All schedules of all watched namespaces, in no order.
    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>>;
}

/// All that a reconcile touches.
pub trait World: Send + Sync + 'static {
    /// Writes to the API server.
    type Cluster: Cluster;
    /// Requests to FHIR servers.
    type Wire: Wire;
    /// Storage accounts.
    type Container: Container;
    /// The time.
    type Clock: Clock;
    /// Chance.
    type Randomness: Randomness;
    /// What the watches know.
    type Stores: Stores;

    /// Writes to the API server.
    fn cluster(&self) -> &Self::Cluster;
    /// Requests to FHIR servers.
    fn wire(&self) -> &Self::Wire;
    /// Storage accounts.
    fn container(&self) -> &Self::Container;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// Chance.
    fn randomness(&self) -> &Self::Randomness;
    /// What the watches know.
    fn stores(&self) -> &Self::Stores;
    /// How patient the operator is.
    fn tuning(&self) -> &Tuning;
    /// What is remembered of the runs; made once, with `Runs::default()`.
    fn runs(&self) -> &Runs;
    /// Counts what has landed.
    fn note_landed(&self, files: u64, bytes: u64);
    /// Counts the wait before the next poll of a job.
    fn note_poll_wait(&self, _wait: std::time::Duration) {}
    /// Starts a task beside the reconciles; what is answered ends it.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> EndTask;
    /// Has an export reconciled soon: for tasks beside the reconcile, and for runs whose turn has come.
    fn wake_export(&self, namespace: &str, name: &str);
    /// Has a server reconciled soon.
    fn wake_server(&self, namespace: &str, name: &str);
    /// Has a schedule reconciled soon.
    fn wake_schedule(&self, namespace: &str, name: &str);
}
