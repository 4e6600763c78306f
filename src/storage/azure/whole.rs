//! Reads a landed file from front to back, whatever its size.

use super::BlobStorage;
use super::download::{Download, Progress};
use super::listing;
use crate::core::ledger::StorageFailure;
use crate::core::stored_manifest::Retrieved;
use crate::ports::Target;
use crate::storage::at_rest::{Unpack, read, shorter, was_there};

impl BlobStorage {
    /// See [`ObjectStore::read_through`](crate::ports::ObjectStore::read_through).
    pub(super) async fn whole(
        &self,
        target: Target<'_>,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        was_there(self.read_whole(target, path, take).await?)
    }

    /// Reads a file from its beginning, decompressed, and passes each piece to `take` once. Fails if the store does not
    /// give the file; what is wrong with the file itself is a result.
    pub async fn read_whole(
        &self,
        target: Target<'_>,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let Some(size) = self.size_of(target, path).await? else { return Ok(Retrieved::Missing) };
        let mut sink = Unpack::of(path, take);
        let mut decoded = Ok(());
        let mut unpack = |piece: &[u8]| {
            if decoded.is_ok() {
                decoded = sink.take(piece);
            }
        };
        if !self.drain(target, Download::new(target.container, path, size), &mut unpack).await? {
            return Ok(Retrieved::Missing);
        }
        let decoded = decoded.and_then(|()| sink.finish());
        Ok(read(target.container, path, decoded.is_ok()))
    }

    /// Reads the bytes of a file as they are stored, after the first `from`, and passes each piece to `take` once.
    /// Fails if the store does not give the file. A file that is shorter than `from` bytes is damaged.
    pub async fn read_rest(
        &self,
        target: Target<'_>,
        path: &str,
        from: u64,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let Some(size) = self.size_of(target, path).await? else { return Ok(Retrieved::Missing) };
        if size < from {
            return Ok(shorter(target.container, path));
        }
        let rest = Download::after(target.container, path, size, from);
        Ok(if self.drain(target, rest, take).await? { Retrieved::Whole } else { Retrieved::Missing })
    }

    /// The size of a file in bytes; `None` if it does not exist.
    async fn size_of(&self, target: Target<'_>, path: &str) -> Result<Option<u64>, StorageFailure> {
        self.with_account(target.server, |account| async move {
            let mut found = None;
            listing::blobs(&account, target.container, path, self.page, |name, size| {
                if name == path {
                    found = Some(size);
                }
            })
            .await?;
            Ok(found)
        })
        .await
    }

    /// Reads a download to its end. Returns false if the file has gone.
    async fn drain(
        &self,
        target: Target<'_>,
        download: Download<'_>,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        let path = download.blob();
        let state = tokio::sync::Mutex::new((download, take));
        loop {
            let progress = self
                .with_account(target.server, |account| {
                    let state = &state;
                    async move {
                        let (download, take) = &mut *state.lock().await;
                        download.read_on(&account, &mut **take).await
                    }
                })
                .await?;
            match progress {
                Progress::Broken => {}
                Progress::Whole => return Ok(true),
                Progress::Gone => return Ok(false),
                Progress::Archived => {
                    let container = target.container;
                    return Err(StorageFailure::permanent(format!(
                        "the blob {container}/{path} is in the archive tier, where it cannot be read: rehydrate it by \
                         setting its tier to Hot or Cool, which takes hours, then try again"
                    )));
                }
            }
        }
    }
}
