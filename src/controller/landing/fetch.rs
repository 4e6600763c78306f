//! One fetch of a file: its bytes become blocks, and a sum is made of them on the way.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{Either, Fuse, select};
use futures::stream::StreamExt;

use super::super::world::{Container, World};
use crate::api::{Compression, FhirServer};
use crate::core::landing::{
    Block, BlockId, FileKind, Issues, LandFile, LandPlan, MAX_BLOCKS, OutcomeReader, Sum, Tag, Tally,
    block_size,
};
use crate::core::ledger::StorageFailure;
use crate::core::wire::{FileHead, Pieces, Resume};

/// A file, as far as it is laid down.
pub(super) struct Fetch {
    tag: Tag,
    etag: Option<String>,
    resumable: bool,
    /// It could not be gone on with only since it came compressed.
    compressed: bool,
    ids: Vec<BlockId>,
    /// What is not yet a block.
    rest: BytesMut,
    /// Of the blocks.
    tally: Tally,
    outcomes: Option<OutcomeReader>,
    /// The first byte that is not blank.
    first: Option<u8>,
}

/// How a body ended.
pub(super) enum Poured {
    /// At its end.
    Whole,
    /// Before it.
    Broken,
    /// It holds more than a blob can.
    TooLong,
}

impl Fetch {
    /// From the start. `chance` tells this fetch from all others, where the server does not name the bytes.
    pub(super) fn anew(file: &LandFile, head: &FileHead, chance: (f64, f64)) -> Self {
        let tag = match &head.etag {
            Some(etag) if head.resumable => Tag::of_etag(&file.source, etag),
            _ => Tag::of_one_fetch(&file.source, chance.0, chance.1),
        };
        Self {
            tag,
            etag: head.etag.clone(),
            resumable: head.resumable,
            compressed: head.resumable_as_it_is && !head.resumable,
            ids: Vec::new(),
            rest: BytesMut::new(),
            tally: Tally::default(),
            outcomes: (file.kind == FileKind::Error).then(OutcomeReader::default),
            first: None,
        }
    }

    /// From the blocks that another process laid down. Error files are small, and read anew.
    pub(super) fn going_on(file: &LandFile, blocks: &[Block]) -> Option<Self> {
        let last = blocks.last().filter(|_| file.kind != FileKind::Error)?;
        Some(Self {
            tag: last.tag,
            etag: None,
            resumable: true,
            compressed: false,
            ids: blocks.iter().map(Block::id).collect(),
            rest: BytesMut::new(),
            tally: last.tally()?,
            outcomes: None,
            first: Some(b'{'),
        })
    }

    /// Bytes so far.
    pub(super) fn offset(&self) -> u64 {
        self.tally.bytes() + self.rest.len() as u64
    }

    /// Where to read on, if that is possible and worth it.
    pub(super) fn resume(&self) -> Option<Resume> {
        (self.resumable && self.offset() > 0)
            .then(|| Resume { offset: self.offset(), etag: self.etag.clone() })
    }

    /// Whether it could be read on had it not come compressed.
    pub(super) fn better_as_it_is(&self) -> bool {
        self.compressed
    }

    /// Whether a body goes on exactly where this ends, in the same bytes.
    pub(super) fn fits(&mut self, file: &LandFile, head: &FileHead) -> bool {
        let same = head.etag.as_ref().is_some_and(|etag| Tag::of_etag(&file.source, etag) == self.tag);
        let fits = same && head.offset == self.offset();
        if fits {
            self.etag.clone_from(&head.etag);
        }
        fits
    }

    /// Whether it can be NDJSON, by its first byte.
    pub(super) fn begins_well(&self) -> bool {
        self.first.is_none_or(|first| first == b'{')
    }

    /// Takes a body to its end. A block is laid down while the next one is read: no more than two of them are held.
    pub(super) async fn pour<W: World>(
        &mut self,
        world: &W,
        server: &Arc<FhirServer>,
        plan: &LandPlan,
        file: &LandFile,
        mut pieces: Pieces,
    ) -> Result<Poured, StorageFailure> {
        let mut staging: Staging<'_> = Fuse::terminated();
        let mut staged = true;
        loop {
            let piece = if staged {
                pieces.next().await
            } else {
                match select(pieces.next(), &mut staging).await {
                    Either::Left((piece, _)) => piece,
                    Either::Right((result, next)) => {
                        result?;
                        staged = true;
                        next.await
                    }
                }
            };
            let poured = match piece {
                Some(Ok(piece)) => {
                    self.take(&piece);
                    if !self.begins_well() {
                        Some(Poured::Broken)
                    } else if self.index() >= MAX_BLOCKS {
                        Some(Poured::TooLong)
                    } else {
                        None
                    }
                }
                Some(Err(_)) => Some(Poured::Broken),
                None => Some(Poured::Whole),
            };
            let size = usize::try_from(block_size(self.index())).unwrap_or(usize::MAX);
            while self.rest.len() >= size || matches!(poured, Some(Poured::Whole)) && !self.rest.is_empty() {
                if !staged {
                    (&mut staging).await?;
                }
                let (id, body) = self.cut(size);
                staging = lay_down(world, server, plan, file, id, body).fuse();
                staged = false;
            }
            if let Some(poured) = poured {
                if !staged {
                    staging.await?;
                }
                return Ok(poured);
            }
        }
    }

    fn index(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    fn take(&mut self, piece: &Bytes) {
        if self.first.is_none() {
            let mark = |byte: &&u8| !byte.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(byte);
            self.first = piece.iter().find(mark).copied();
        }
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.feed(piece);
        }
        self.rest.extend_from_slice(piece);
    }

    /// The next block, of what is not yet one.
    fn cut(&mut self, size: usize) -> (BlockId, Bytes) {
        let body = self.rest.split_to(size.min(self.rest.len())).freeze();
        self.tally.feed(&body);
        let id = Block::new(self.tag, self.index(), &self.tally).id();
        self.ids.push(id.clone());
        (id, body)
    }

    /// What it came to, and the blocks that it is made of.
    pub(super) fn finish(self) -> (Vec<BlockId>, Sum, Issues, Vec<String>) {
        let (issues, words) = self.outcomes.map(OutcomeReader::finish).unwrap_or_default();
        (self.ids, self.tally.finish(), issues, words)
    }
}

type Staging<'a> = Fuse<Pin<Box<dyn Future<Output = Result<(), StorageFailure>> + Send + 'a>>>;

fn lay_down<'a, W: World>(
    world: &'a W,
    server: &'a Arc<FhirServer>,
    plan: &'a LandPlan,
    file: &'a LandFile,
    id: BlockId,
    body: Bytes,
) -> Pin<Box<dyn Future<Output = Result<(), StorageFailure>> + Send + 'a>> {
    let compression: Compression = plan.compression;
    Box::pin(async move {
        let length = body.len() as u64;
        world.container().stage(server, (&plan.container, &file.blob), &id, body, compression).await?;
        world.note_landed(0, length);
        Ok(())
    })
}
