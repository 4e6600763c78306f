//! Reads objects from front to back, whatever their size, and stores small ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use rusty_s3::Method;
use sha2::{Digest, Sha256};

use super::S3Storage;
use super::bucket::Bucket;
use super::call::{Call, Right};
use super::failure;
use super::object::Version;
use super::request::Opened;
use crate::api::FhirServer;
use crate::core::ledger::{Checked, StorageFailure, StorageFailureKind, VerifyPlan};
use crate::core::lines::LineCounter;
use crate::core::manifest::{hex, sha256_hex};
use crate::core::stored_manifest::Retrieved;
use crate::ports::{Committed, Target};
use crate::storage::at_rest::{Unpack, read, shorter};
use crate::storage::check::{chosen, looked_at, sizes};

/// How many tries in a row may bring no byte.
const FRUITLESS_TRIES: u32 = 5;
/// The first pause between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// How many files are read at once.
const PARALLEL: usize = 4;

/// An object that is read from front to back. A connection that breaks is made again, from the next byte on.
struct Download<'a> {
    key: &'a str,
    offset: u64,
    /// The version that the first bytes are of.
    etag: Option<String>,
    fruitless: u32,
}

/// How far reading came with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Whole,
    Broken,
    /// The object does not exist.
    Gone,
}

impl<'a> Download<'a> {
    fn new(key: &'a str) -> Self {
        Self::after(key, 0, None)
    }

    /// A download of the bytes after the first `offset`, of which there is at least one.
    fn after(key: &'a str, offset: u64, etag: Option<String>) -> Self {
        Self { key, offset, etag, fruitless: 0 }
    }

    /// Reads on until the end or until the connection breaks off, and passes each piece to `take` once.
    async fn read_on(
        &mut self,
        bucket: &Bucket,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Progress, StorageFailure> {
        let before = self.offset;
        let progress = self.stream(bucket, take).await?;
        if progress != Progress::Broken {
            return Ok(progress);
        }
        self.fruitless = if self.offset > before { 0 } else { self.fruitless + 1 };
        if self.fruitless >= FRUITLESS_TRIES {
            return Err(StorageFailure::transient(format!(
                "a download from the S3 store {} broke again and again; it is tried again",
                bucket.host()
            )));
        }
        tokio::time::sleep(PAUSE * (1 << self.fruitless)).await;
        Ok(progress)
    }

    async fn stream(
        &mut self,
        bucket: &Bucket,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Progress, StorageFailure> {
        let mut call = Call::get(&bucket.key(self.key)?);
        if self.offset > 0 {
            call = call.header("range", format!("bytes={}-", self.offset));
            if let Some(etag) = &self.etag {
                call = call.header("if-match", etag);
            }
        }
        let Ok(answer) = bucket.open(&call).await else { return Ok(Progress::Broken) };
        let mut opened = match answer {
            Ok(opened) => opened,
            Err(answer) if answer.code() == Some("NoSuchKey") => return Ok(Progress::Gone),
            Err(answer) if matches!(answer.status, 412 | 416) => return Err(changed(bucket)),
            Err(answer) if answer.is_passing() => return Ok(Progress::Broken),
            Err(answer) => return Err(failure::refused(bucket, &answer, Right::Read)),
        };
        if self.offset > 0 && opened.status != 206 {
            return Err(changed(bucket));
        }
        self.etag = header(&opened, "etag").or_else(|| self.etag.take());
        loop {
            match opened.piece().await {
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    take(&piece);
                }
                Ok(None) => return Ok(Progress::Whole),
                Err(_) => return Ok(Progress::Broken),
            }
        }
    }
}

fn header(opened: &Opened, name: &str) -> Option<String> {
    Some(opened.headers.get(name)?.to_str().ok()?.to_owned())
}

fn changed(bucket: &Bucket) -> StorageFailure {
    StorageFailure::transient(format!(
        "a file in the bucket {} changed while it was read; it is checked again",
        bucket.name()
    ))
}

impl S3Storage {
    /// Reads a download to its end. Returns false if the object does not exist. After a failure, `take` has had a part
    /// of it.
    async fn drain(
        &self,
        target: Target<'_>,
        download: Download<'_>,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        let state = tokio::sync::Mutex::new((download, take));
        loop {
            let progress = self
                .with_bucket(target.server, target.container, |bucket| {
                    let state = &state;
                    async move {
                        let (download, take) = &mut *state.lock().await;
                        download.read_on(&bucket, &mut **take).await
                    }
                })
                .await?;
            match progress {
                Progress::Broken => {}
                Progress::Whole => return Ok(true),
                Progress::Gone => return Ok(false),
            }
        }
    }

    /// Reads a file from its beginning, decompressed, and passes each piece to `take` once. Fails if the store does not
    /// give the file; what is wrong with the file itself is a result.
    pub async fn read_whole(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let (mut sink, mut decoded) = (Unpack::of(key, take), Ok(()));
        let mut unpack = |piece: &[u8]| {
            if decoded.is_ok() {
                decoded = sink.take(piece);
            }
        };
        if !self.drain(target, Download::new(key), &mut unpack).await? {
            return Ok(Retrieved::Missing);
        }
        let decoded = decoded.and_then(|()| sink.finish());
        Ok(read(target.container, key, decoded.is_ok()))
    }

    /// Reads the bytes of a file as they are stored, after the first `from`, and passes each piece to `take` once.
    /// Fails if the store does not give the file. A file that is shorter than `from` bytes is damaged.
    pub async fn read_rest(
        &self,
        target: Target<'_>,
        key: &str,
        from: u64,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let version = self
            .with_bucket(target.server, target.container, |bucket| async move { bucket.version(key).await })
            .await?;
        let Some(Version { size, etag }) = version else { return Ok(Retrieved::Missing) };
        if size < from {
            return Ok(shorter(target.container, key));
        }
        if size == from {
            return Ok(Retrieved::Whole);
        }
        let rest = Download::after(key, from, etag);
        Ok(if self.drain(target, rest, take).await? { Retrieved::Whole } else { Retrieved::Missing })
    }

    /// See [`ObjectStore::verify`](crate::ports::ObjectStore::verify).
    pub(super) async fn check(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        let listed = self
            .with_bucket(server, &plan.container, |bucket| async move { bucket.list(&plan.prefix).await })
            .await?;
        let wanted: HashSet<&str> = plan.files.iter().map(|file| file.blob.as_str()).collect();
        let found = listed.into_iter().filter(|(key, _)| wanted.contains(key.as_str()));
        let sizes = sizes(plan, found);
        let mut checked: Vec<Checked> = sizes.iter().map(|size| looked_at(*size)).collect();
        let mut files_read = checked.iter().filter(|file| file.lines.is_some()).count() as u64;
        let target = Target::new(server, &plan.container);
        let counts = chosen(plan, &sizes).into_iter().map(|(index, key, _)| async move {
            let (mut counter, mut bytes) = (LineCounter::default(), 0);
            let mut count = |piece: &[u8]| {
                bytes += piece.len() as u64;
                counter.feed(piece);
            };
            let found = self.drain(target, Download::new(&key), &mut count).await?;
            let lines = counter.finish();
            let (bytes, lines) = (Some(bytes).filter(|_| found), Some(lines).filter(|_| found));
            Ok::<_, StorageFailure>((index, Checked { bytes, lines }))
        });
        let mut counts = stream::iter(counts).buffer_unordered(PARALLEL);
        while let Some((index, counted)) = counts.try_next().await? {
            if let Some(file) = checked.get_mut(index) {
                *file = counted;
            }
            files_read += 1;
            progress(files_read);
        }
        Ok(checked)
    }
}

impl Bucket {
    /// The SHA-256 of an object in hexadecimal; `None` if it does not exist. Holds a piece of it in memory at a time.
    pub(super) async fn sha256(&self, key: &str) -> Result<Option<String>, StorageFailure> {
        let (mut download, mut hash) = (Download::new(key), Sha256::new());
        loop {
            let progress = download.read_on(self, &mut |piece: &[u8]| hash.update(piece)).await?;
            match progress {
                Progress::Broken => {}
                Progress::Whole => return Ok(Some(hex(&hash.finalize()))),
                Progress::Gone => return Ok(None),
            }
        }
    }

    /// Stores a small object unless one exists. One with the same content is a success. Returns its SHA-256 in
    /// hexadecimal.
    pub(super) async fn store_small(&self, key: &str, body: &[u8]) -> Result<String, StorageFailure> {
        let call = Call::new(Method::Put, Right::Write, &self.key(key)?);
        let call = call.header("content-type", "application/json").body(body.to_vec());
        let same = match self.create(call).await? {
            Committed::Now => true,
            Committed::AlreadyThere => match self.whole(key, body.len()).await {
                Ok(there) => there.as_deref() == Some(body),
                // It is longer.
                Err(failure) if failure.kind == StorageFailureKind::Permanent => false,
                Err(failure) => return Err(failure),
            },
        };
        if same {
            return Ok(sha256_hex(body));
        }
        Err(StorageFailure::permanent(format!(
            "the file {key} in the bucket {} is there already with other content, and is not overwritten: move it away",
            self.name()
        )))
    }
}
