//! Reads a landed file from front to back, whatever its size.

use super::BlobStorage;
use super::download::{Download, Progress};
use super::listing;
use crate::core::ledger::StorageFailure;
use crate::ports::Target;
use crate::storage::at_rest::{Unpack, not_what_landed};

impl BlobStorage {
    /// See [`ObjectStore::read_through`](crate::ports::ObjectStore::read_through).
    pub(super) async fn whole(
        &self,
        target: Target<'_>,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        let Target { server, container } = target;
        let size = self
            .with_account(server, |account| async move {
                let mut found = None;
                listing::blobs(&account, container, path, self.page, |name, size| {
                    if name == path {
                        found = Some(size);
                    }
                })
                .await?;
                Ok(found)
            })
            .await?;
        let Some(size) = size else { return Ok(false) };
        let sink = Unpack::of(path, take);
        let state = tokio::sync::Mutex::new((Download::new(container, path, size), sink, Ok(())));
        loop {
            let progress = self
                .with_account(server, |account| {
                    let state = &state;
                    async move {
                        let (download, sink, decoded) = &mut *state.lock().await;
                        let mut take = |piece: &[u8]| {
                            if decoded.is_ok() {
                                *decoded = sink.take(piece);
                            }
                        };
                        download.read_on(&account, &mut take).await
                    }
                })
                .await?;
            match progress {
                Progress::Broken => {}
                Progress::Whole => {
                    let (_, sink, decoded) = state.into_inner();
                    let decoded = decoded.and_then(|()| sink.finish());
                    return decoded.map(|()| true).map_err(|_| not_what_landed(container, path));
                }
                Progress::Gone => return Ok(false),
                Progress::Archived => {
                    return Err(StorageFailure::permanent(format!(
                        "the blob {container}/{path} is in the archive tier; keep files out of it until runs are \
                         taken in"
                    )));
                }
            }
        }
    }
}
