//! The form of landed files at rest: unchanged, or compressed with each part as a gzip member of its own.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::{GzEncoder, MultiGzDecoder};

use crate::api::Compression;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::stored_manifest::Retrieved;

/// Compresses a part if `compression` says so. Each part is a gzip member of its own, so an upload can be
/// continued after any of them; gzip readers accept several members in one file. An empty part stays empty.
pub(super) async fn pack(body: Bytes, compression: Compression) -> Result<Bytes, StorageFailure> {
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip if body.is_empty() => Ok(body),
        Compression::Gzip => tokio::task::spawn_blocking(move || {
            let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 4), Level::default());
            gzip.write_all(&body).and_then(|()| gzip.finish()).map(Bytes::from)
        })
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| StorageFailure {
            kind: StorageFailureKind::Transient { retry_after: None },
            message: "a part could not be compressed; it is tried again".to_owned(),
        }),
    }
}

/// Passes on the pieces of a landed file, decompressed if its name says that it is compressed.
pub(super) enum Unpack<'a> {
    Plain(Pieces<'a>),
    Gzip {
        decoder: Box<MultiGzDecoder<Pieces<'a>>>,
        /// Whether no byte has come: an empty file is not a gzip member, and stays empty.
        empty: bool,
    },
}

/// The function that is given the pieces of a file.
pub(super) struct Pieces<'a>(&'a mut (dyn FnMut(&[u8]) + Send));

impl Write for Pieces<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        (self.0)(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Unpack<'a> {
    /// Creates the reader for the file with this key.
    pub(super) fn of(key: &str, take: &'a mut (dyn FnMut(&[u8]) + Send)) -> Self {
        let pieces = Pieces(take);
        let compressed = std::path::Path::new(key).extension().is_some_and(|ending| ending == "gz");
        if compressed {
            Self::Gzip { decoder: Box::new(MultiGzDecoder::new(pieces)), empty: true }
        } else {
            Self::Plain(pieces)
        }
    }

    /// Takes the next bytes of the file as it is stored.
    pub(super) fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(pieces) => pieces.write_all(piece),
            Self::Gzip { decoder, empty } => {
                *empty &= piece.is_empty();
                decoder.write_all(piece)
            }
        }
    }

    /// Ends the file. Fails if it is compressed and not complete.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Gzip { empty: true, .. } => Ok(()),
            Self::Gzip { decoder, empty: false } => decoder.finish().map(|_| ()),
        }
    }
}

/// The result for a file that ends before the part that is to be read.
pub(super) fn shorter(container: &str, key: &str) -> Retrieved {
    Retrieved::Damaged(format!("the file {container}/{key} is shorter than it was"))
}

/// The result for a file that was read to its end; `unpacked` says whether it could be decompressed.
pub(super) fn read(container: &str, key: &str, unpacked: bool) -> Retrieved {
    if unpacked { Retrieved::Whole } else { Retrieved::Damaged(not_what_landed(container, key).message) }
}

/// Whether a file was there, as `ObjectStore::read_through` says it. A damaged file is a failure that stays.
pub(super) fn was_there(retrieved: Retrieved) -> Result<bool, StorageFailure> {
    match retrieved {
        Retrieved::Whole => Ok(true),
        Retrieved::Missing => Ok(false),
        Retrieved::Damaged(why) => Err(StorageFailure::permanent(why)),
    }
}

/// The failure for a file that cannot be decompressed.
pub(super) fn not_what_landed(container: &str, key: &str) -> StorageFailure {
    StorageFailure {
        kind: StorageFailureKind::Permanent,
        message: format!("the file {container}/{key} is not what landed: it cannot be decompressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_damaged_file_is_a_failure() {
        assert_eq!(was_there(read("c", "f", true)), Ok(true));
        assert_eq!(was_there(Retrieved::Missing), Ok(false));
        assert_eq!(was_there(read("c", "f", false)), Err(not_what_landed("c", "f")));
        let shorter = was_there(shorter("c", "f")).unwrap_err();
        assert_eq!(shorter.message, "the file c/f is shorter than it was");
    }
}
