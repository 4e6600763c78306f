//! The port to storage: the operations on the store that a `FhirServer` names.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::api::{Compression, FhirServer};
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, VerifyPlan,
};

/// Where objects lie: the store that a `FhirServer` names, and a container (bucket, directory) in it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The `FhirServer` that names the store and the credentials for it.
    pub server: &'a Arc<FhirServer>,
    /// The name of the container.
    pub container: &'a str,
}

impl<'a> Target<'a> {
    /// A container in the store of `server`.
    pub fn new(server: &'a Arc<FhirServer>, container: &'a str) -> Self {
        Self { server, container }
    }
}

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The object exists now, with the bytes and marks of this upload.
    Now,
    /// An object with this key existed before and was left as it is. It may be this upload's own, if the answer to an
    /// earlier commit was lost: compare the marks.
    AlreadyThere,
}

/// An upload of one object: parts in order, then one commit. After a failure, or if one of its futures was
/// dropped, the upload is over: begin or resume another one. Dropping an upload stops the parts that are not
/// stored yet.
pub trait Upload: Send {
    /// The size in bytes, before compression, of the part that begins at `offset`, unless it is the last one;
    /// a multiple of 64. `None` if the object can hold no part at that offset. An upload that another process
    /// began may have parts of other sizes than a new one.
    fn part_size(&self, offset: u64) -> Option<usize>;

    /// Takes the next part, with the checkpoint from which another process can continue after it. The part holds
    /// exactly [`part_size`](Self::part_size) bytes. It is compressed on its own if the object is compressed. The store
    /// may still be writing the part when this returns, and keeps `body` until it is written; a failure to write it is
    /// returned by a later call.
    fn part(
        &mut self,
        body: Bytes,
        after: &Checkpoint,
    ) -> impl Future<Output = Result<(), StorageFailure>> + Send;

    /// Waits until all parts are stored.
    ///
    /// # Errors
    ///
    /// Returns the failure of a part that could not be stored.
    fn settle(&mut self) -> impl Future<Output = Result<(), StorageFailure>> + Send;

    /// How many bytes, before compression, are known to be stored: those of the parts from the first one on without a
    /// gap. Another process can continue after them.
    fn stored(&self) -> u64;

    /// Waits until all parts are stored, and creates the object from them and `last`, which may be empty and is at most
    /// one part long. Never overwrites an object. An object that fits into `last` costs one request if the store allows
    /// that.
    fn commit(
        self,
        last: Bytes,
        marks: &Marks,
    ) -> impl Future<Output = Result<Committed, StorageFailure>> + Send;
}

/// The stores of `FhirServer`s.
pub trait ObjectStore: Send + Sync {
    /// An upload into this store.
    type Upload: Upload + 'static;

    /// Checks that the store can be listed: the container if one is named, otherwise the store's containers.
    fn probe(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
    ) -> impl Future<Output = Result<(), StorageFailure>> + Send;

    /// Finds the folders of jobs that began at or after `after`: in `container`, else containers `export-*`.
    fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> impl Future<Output = Result<Vec<JobFolder>, StorageFailure>> + Send;

    /// Counts the NDJSON files that a job has written so far.
    fn count_files(
        &self,
        target: Target<'_>,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> impl Future<Output = Result<Seen, StorageFailure>> + Send;

    /// Checks the files of a plan; this may take hours. `read` is given the number of files read so far.
    fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> impl Future<Output = Result<Vec<Checked>, StorageFailure>> + Send;

    /// Stores a small object, unless one with the same content exists; returns its SHA-256 in hexadecimal. An
    /// object with other content is left as it is, and the call fails.
    fn store(
        &self,
        target: Target<'_>,
        key: &str,
        body: &[u8],
    ) -> impl Future<Output = Result<String, StorageFailure>> + Send;

    /// Reads a small object; `None` if it does not exist. Fails if it is larger than `max` bytes.
    fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StorageFailure>> + Send;

    /// Reads a landed file from front to back, decompressed, and passes each piece to `take` once. Returns
    /// false if the file does not exist.
    fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> impl Future<Output = Result<bool, StorageFailure>> + Send;

    /// Lists the folder of a landing: committed objects with their marks, and keys of started uploads.
    fn ledger(
        &self,
        target: Target<'_>,
        folder: &str,
    ) -> impl Future<Output = Result<Ledger, StorageFailure>> + Send;

    /// The marks of the committed object `key` in the folder of a landing; `None` if it does not exist, or if no
    /// landing wrote it.
    fn marks(
        &self,
        target: Target<'_>,
        folder: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<Marks>, StorageFailure>> + Send {
        marks_of_ledger(self, target, folder, key)
    }

    /// Creates a container, unless it exists.
    fn make_container(&self, target: Target<'_>) -> impl Future<Output = Result<(), StorageFailure>> + Send;

    /// Begins an upload of `content` from its first byte. Sends nothing yet.
    fn begin(
        &self,
        target: Target<'_>,
        key: &str,
        content: Content,
        compression: Compression,
    ) -> Self::Upload;

    /// Continues the upload of another process after the last part that can be continued; `None` if there is none.
    /// Parts of different contents are never mixed.
    fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> impl Future<Output = Result<Option<(Self::Upload, Checkpoint)>, StorageFailure>> + Send;

    /// Deletes files of a run's folder, at most as many as the plan allows, if it is the folder that the plan
    /// means. The manifest is deleted last.
    fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> impl Future<Output = Result<FolderDeletion, StorageFailure>> + Send;
}

async fn marks_of_ledger<S: ObjectStore + ?Sized>(
    store: &S,
    target: Target<'_>,
    folder: &str,
    key: &str,
) -> Result<Option<Marks>, StorageFailure> {
    let landed = store.ledger(target, folder).await?.landed;
    Ok(landed.into_iter().find(|entry| entry.blob == key).and_then(|entry| entry.marks))
}
