//! Reads a blob as a stream, and continues where the connection broke off.

use std::num::NonZero;
use std::time::Duration;

use azure_core::http::Etag;
use azure_core::http::headers::HeaderName;
use azure_storage_blob::models::{BlobClientDownloadOptions, HttpRange};
use futures::StreamExt;

use super::account::Account;
use super::failure;
use super::signature::Right;
use crate::core::ledger::{StorageFailure, StorageFailureKind};

const CONTENT_RANGE: HeaderName = HeaderName::from_static("content-range");
/// The largest number of consecutive tries that bring no byte.
const FRUITLESS_TRIES: u32 = 4;
/// The largest number of tries altogether.
const TRIES: u32 = 64;
const PAUSE: Duration = Duration::from_millis(250);

/// One blob, read from front to back.
pub(super) struct Download<'a> {
    container: &'a str,
    blob: &'a str,
    size: u64,
    offset: u64,
    etag: Option<Etag>,
    tries: u32,
    fruitless: u32,
}

/// How far a download has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The blob was read whole.
    Whole,
    /// The connection broke off; the next step continues from there.
    Broken,
    /// The blob no longer exists.
    Gone,
    /// The blob is in the archive tier: only its size is known.
    Archived,
}

impl<'a> Download<'a> {
    /// A blob of which nothing was read yet. `size` is its length in bytes according to the listing.
    pub(super) fn new(container: &'a str, blob: &'a str, size: u64) -> Self {
        Self::after(container, blob, size, 0)
    }

    /// A blob whose first `offset` bytes, at most `size`, were read before.
    pub(super) fn after(container: &'a str, blob: &'a str, size: u64, offset: u64) -> Self {
        Self { container, blob, size, offset, etag: None, tries: 0, fruitless: 0 }
    }

    /// The name of the blob.
    pub(super) fn blob(&self) -> &'a str {
        self.blob
    }

    /// Reads on until the end or until the connection breaks off, and passes each piece to `take` once. Holds
    /// no more than one piece in memory.
    pub(super) async fn read_on(
        &mut self,
        account: &Account,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Progress, StorageFailure> {
        if self.offset == self.size {
            return Ok(Progress::Whole);
        }
        let before = self.offset;
        let result = self.stream(account, take).await;
        self.tries += 1;
        self.fruitless = if self.offset > before { 0 } else { self.fruitless + 1 };
        match result {
            Ok(Progress::Broken) if self.tries < TRIES && self.fruitless < FRUITLESS_TRIES => {
                tokio::time::sleep(PAUSE * (1 << self.fruitless)).await;
                Ok(Progress::Broken)
            }
            Ok(Progress::Broken) => Err(StorageFailure::transient(format!(
                "a download from the storage account {} broke again and again; it is tried again",
                account.name()
            ))),
            other => other,
        }
    }

    async fn stream(
        &mut self,
        account: &Account,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Progress, StorageFailure> {
        let client = account.container(self.container, Right::Read)?.blob_client(self.blob);
        let rest = self.size - self.offset;
        let options = BlobClientDownloadOptions {
            if_match: self.etag.clone(),
            range: Some(HttpRange::new(self.offset, rest)),
            // One request for all that is left: its body is streamed, whereas several would be buffered.
            partition_size: NonZero::new(usize::try_from(rest).unwrap_or(usize::MAX)),
            parallel: NonZero::new(1),
            ..BlobClientDownloadOptions::default()
        };
        let mut answer = match client.download(Some(options)).await {
            Ok(answer) => answer,
            Err(error) => return self.refused(account, &error),
        };
        let total =
            answer.headers.get_optional_str(&CONTENT_RANGE).and_then(|range| range.rsplit('/').next());
        if total.is_some_and(|total| total != self.size.to_string()) {
            return Err(changed(account));
        }
        self.etag = answer.properties.etag.take().or(self.etag.take());
        while let Some(piece) = answer.body.next().await {
            let Ok(piece) = piece else { return Ok(Progress::Broken) };
            self.offset += piece.len() as u64;
            if self.offset > self.size {
                return Err(changed(account));
            }
            take(&piece);
        }
        Ok(if self.offset == self.size { Progress::Whole } else { Progress::Broken })
    }

    fn refused(&self, account: &Account, error: &azure_core::Error) -> Result<Progress, StorageFailure> {
        match (error.http_status().map(u16::from), failure::code(error)) {
            (Some(404), Some("BlobNotFound")) => Ok(Progress::Gone),
            (Some(409), Some("BlobArchived" | "BlobBeingRehydrated")) => Ok(Progress::Archived),
            (Some(412 | 416), _) => Err(changed(account)),
            _ => {
                let failure = account.failure(error, Some(self.container), Right::Read);
                // After part of the blob has come, the account works: a passing failure is treated
                // like a broken connection.
                let goes_on = self.offset > 0
                    && matches!(failure.kind, StorageFailureKind::Transient { retry_after: None });
                if goes_on { Ok(Progress::Broken) } else { Err(failure) }
            }
        }
    }
}

fn changed(account: &Account) -> StorageFailure {
    StorageFailure::transient(format!(
        "a file in the storage account {} changed while it was read; it is checked again",
        account.name()
    ))
}
