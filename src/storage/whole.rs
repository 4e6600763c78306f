//! Reading a landed file from front to back, whatever its size.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::write::MultiGzDecoder;

use super::BlobStorage;
use super::download::{Download, Progress};
use super::{failure, listing};
use crate::api::FhirServer;
use crate::core::ledger::StorageFailure;

/// Where pieces go, with or without having been compressed.
enum Sink<'a> {
    Plain(Pieces<'a>),
    Gzip(Box<MultiGzDecoder<Pieces<'a>>>),
}

struct Pieces<'a>(&'a mut (dyn FnMut(&[u8]) + Send));

impl Write for Pieces<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        (self.0)(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink<'_> {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(pieces) => pieces.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.finish().map(|_| ()),
        }
    }
}

impl BlobStorage {
    /// See [`Container::read_through`](crate::ports::Container::read_through).
    pub(super) async fn whole(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
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
        let pieces = Pieces(take);
        let compressed = std::path::Path::new(path).extension().is_some_and(|ending| ending == "gz");
        let sink =
            if compressed { Sink::Gzip(Box::new(MultiGzDecoder::new(pieces))) } else { Sink::Plain(pieces) };
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
                    return decoded.map(|()| true).map_err(|_| {
                        failure::permanent(format!(
                            "the blob {container}/{path} is not what landed: it cannot be decompressed"
                        ))
                    });
                }
                Progress::Gone => return Ok(false),
                Progress::Archived => {
                    return Err(failure::permanent(format!(
                        "the blob {container}/{path} is in the archive tier; keep files out of it until runs are taken in"
                    )));
                }
            }
        }
    }
}
