//! The work behind one upload: it takes the parts in order, puts small ones together, stores them, and notes now and
//! then how far the upload is. It runs beside the download that fills the next part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::S3Storage;
use super::cut::SMALLEST;
use super::multipart::StoredPart;
use super::side::{Beside, Chain, Progress, Side, fresh_id};
use crate::api::{Compression, FhirServer};
use crate::core::landing::Checkpoint;
use crate::core::ledger::StorageFailure;
use crate::storage::at_rest;

/// By how many bytes the tail grows before how far an upload is gets noted again, unless a part was stored. In a bucket
/// with versions, each note is one.
const NOTED_EACH: usize = 2 << 20;

/// The object that an upload is to become.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) storage: S3Storage,
    pub(super) server: Arc<FhirServer>,
    pub(super) container: String,
    pub(super) key: String,
    pub(super) compression: Compression,
}

impl Object {
    pub(super) fn content_type(&self) -> &'static str {
        match self.compression {
            Compression::None => "application/fhir+ndjson",
            Compression::Gzip => "application/gzip",
        }
    }
}

/// An upload as far as it is stored.
pub(super) struct State {
    pub(super) object: Object,
    /// The id that tells this upload from all others.
    pub(super) id: String,
    /// The store's own id of the upload; `None` before its first part.
    pub(super) upload: Option<String>,
    /// Whether the upload has ended at the store, because another one has become the object.
    pub(super) ended: bool,
    /// Whether how far the upload is was noted at the store.
    pub(super) noted: bool,
    pub(super) parts: Vec<StoredPart>,
    chain: Chain,
    /// The bytes after the parts, as they are to be stored: too few for a part.
    pub(super) tail: Bytes,
    /// The number of bytes, before compression, that another process can continue after.
    pub(super) plain: u64,
    /// The length of the tail when how far the upload is was noted last; 0 after a part was stored.
    noted_tail: usize,
    /// How far the upload is, if that is not noted.
    pending: Option<Checkpoint>,
}

impl State {
    /// An upload from the first byte.
    pub(super) fn fresh(object: Object) -> Self {
        Self {
            object,
            id: fresh_id(),
            upload: None,
            ended: false,
            noted: false,
            parts: Vec::new(),
            chain: Chain::default(),
            tail: Bytes::new(),
            plain: 0,
            noted_tail: 0,
            pending: None,
        }
    }

    /// The upload of another process, of which the store has these parts; `None` if they are not those that its
    /// progress was noted after.
    pub(super) fn resumed(
        object: Object,
        id: &str,
        progress: Progress,
        parts: Vec<StoredPart>,
    ) -> Option<Self> {
        let chain = parts.iter().fold(Chain::default(), |chain, part| chain.with(&part.etag));
        let whole = parts.len() as u64 == progress.parts && progress.is_after(&chain);
        let plain = progress.checkpoint.bytes();
        whole.then(|| Self {
            object,
            id: id.to_owned(),
            upload: progress.upload,
            ended: false,
            noted: true,
            parts,
            chain,
            noted_tail: progress.tail.len(),
            tail: progress.tail,
            pending: None,
            plain,
        })
    }

    /// Stores the next part of the file, or keeps it until there is enough for a part of the object.
    async fn take(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        if self.ended {
            return Ok(());
        }
        let packed = at_rest::pack(body, self.object.compression).await?;
        let next = self.followed_by(packed);
        let stored = next.len() >= SMALLEST;
        if stored {
            self.tail = Bytes::new();
            self.store(next).await?;
        } else {
            self.tail = next;
        }
        self.pending = Some(after.clone());
        if stored || !self.noted || self.tail.len() >= self.noted_tail + NOTED_EACH {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Notes how far the upload is, if that is not noted.
    async fn catch_up(&mut self) -> Result<(), StorageFailure> {
        let Some(after) = self.pending.take() else { return Ok(()) };
        if !self.ended {
            self.note(&after).await?;
        }
        self.plain = after.bytes();
        Ok(())
    }

    /// The tail with more bytes after it.
    pub(super) fn followed_by(&self, packed: Bytes) -> Bytes {
        if self.tail.is_empty() { packed } else { [self.tail.as_ref(), packed.as_ref()].concat().into() }
    }

    /// Stores a part of the object.
    pub(super) async fn store(&mut self, body: Bytes) -> Result<(), StorageFailure> {
        let upload = self.begun().await?;
        let (object, number) = (&self.object, self.parts.len() as u64 + 1);
        let (key, upload) = (object.key.as_str(), upload.as_str());
        let part = object
            .storage
            .with_bucket(&object.server, &object.container, |bucket| {
                let body = body.clone();
                async move { bucket.store_part(key, upload, number, body).await }
            })
            .await;
        match part {
            Ok(Some(part)) => {
                self.chain = self.chain.with(&part.etag);
                self.parts.push(part);
                Ok(())
            }
            Ok(None) => self.give_up(begun_anew(key)).await,
            Err(failure) => self.give_up(failure).await,
        }
    }

    /// Ends the upload if its object exists, so that nothing of it is needed any more; otherwise fails.
    async fn give_up(&mut self, failure: StorageFailure) -> Result<(), StorageFailure> {
        let (object, key) = (&self.object, self.object.key.as_str());
        let exists = object
            .storage
            .with_bucket(&object.server, &object.container, |bucket| async move { bucket.origin(key).await })
            .await;
        self.ended = exists.is_ok_and(|exists| exists.is_some());
        if self.ended { Ok(()) } else { Err(failure) }
    }

    async fn begun(&mut self) -> Result<String, StorageFailure> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let (object, id) = (&self.object, self.id.as_str());
        let (key, content_type) = (object.key.as_str(), object.content_type());
        object.storage.prove(&object.server, &object.container).await?;
        let upload = object
            .storage
            .with_bucket(&object.server, &object.container, |bucket| async move {
                bucket.initiate(key, id, content_type).await
            })
            .await?;
        Ok(self.upload.insert(upload).clone())
    }

    /// Notes at the store how far the upload is, so that another process can continue it.
    async fn note(&mut self, after: &Checkpoint) -> Result<(), StorageFailure> {
        let (object, parts) = (&self.object, self.parts.len() as u64);
        let (upload, compression) = (self.upload.clone(), object.compression);
        let progress =
            Progress::new(upload, parts, &self.chain, after.clone(), compression, self.tail.clone());
        let beside = Beside::new(&object.key, &self.id, Side::Upload).key();
        let (key, body) = (beside.as_str(), Bytes::from(progress.encode()));
        object
            .storage
            .with_bucket(&object.server, &object.container, |bucket| {
                let body = body.clone();
                async move { bucket.overwrite(key, body).await }
            })
            .await?;
        self.noted = true;
        self.noted_tail = self.tail.len();
        Ok(())
    }
}

/// The failure of an upload that has ended, without an object in its place.
pub(super) fn begun_anew(key: &str) -> StorageFailure {
    StorageFailure::transient(format!("an upload of {key} ended before; it is begun again"))
}

/// What an upload is told to do.
enum Job {
    Part(Bytes, Checkpoint),
    /// To say when everything before is done.
    Settle(oneshot::Sender<()>),
}

/// The work of one upload. Dropping it stops it.
pub(super) struct Lane {
    jobs: mpsc::Sender<Job>,
    stored: Arc<AtomicU64>,
    work: JoinSet<Result<State, StorageFailure>>,
}

impl Lane {
    pub(super) fn begin(mut state: State) -> Self {
        let stored = Arc::new(AtomicU64::new(state.plain));
        // One part waits while another is stored.
        let (jobs, mut next) = mpsc::channel(1);
        let mut work = JoinSet::new();
        let reached = Arc::clone(&stored);
        work.spawn(async move {
            while let Some(job) = next.recv().await {
                match job {
                    Job::Part(body, after) => state.take(body, &after).await?,
                    Job::Settle(settled) => {
                        state.catch_up().await?;
                        // Whoever wanted to know may be gone.
                        let _ = settled.send(());
                    }
                }
                reached.store(state.plain, Ordering::Relaxed);
            }
            Ok(state)
        });
        Self { jobs, stored, work }
    }

    /// How many bytes, before compression, another process can continue after.
    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Hands over the next part. Returns the failure of an earlier one.
    pub(super) async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        match self.jobs.send(Job::Part(body, after.clone())).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Waits until all parts are stored.
    pub(super) async fn settle(&mut self) -> Result<(), StorageFailure> {
        let (settled, done) = oneshot::channel();
        // If the work has ended, nobody sends an answer either.
        let _ = self.jobs.send(Job::Settle(settled)).await;
        match done.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Ends the work after all parts are stored.
    pub(super) async fn end(self) -> Result<State, StorageFailure> {
        let Self { jobs, mut work, .. } = self;
        drop(jobs);
        ended(work.join_next().await)
    }

    async fn failure(&mut self) -> StorageFailure {
        match ended(self.work.join_next().await) {
            Err(failure) => failure,
            // Its work ends only when it is told to, or with a failure.
            Ok(_) => stopping(),
        }
    }
}

fn ended(
    work: Option<Result<Result<State, StorageFailure>, tokio::task::JoinError>>,
) -> Result<State, StorageFailure> {
    match work {
        Some(Ok(ended)) => ended,
        // The task that lands the file catches the panic, counts it and reports it.
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Some(Err(_)) | None => Err(stopping()),
    }
}

fn stopping() -> StorageFailure {
    StorageFailure::transient("the operator is stopping")
}
