//! The port to storage: what is asked of the container of a run.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::api::{Compression, FhirServer};
use crate::core::landing::{BlockId, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, VerifyPlan,
};

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
