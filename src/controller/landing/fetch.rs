//! One fetch of a file: its bytes become blocks, and a sum is made of them on the way.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{Either, Fuse, select};
use futures::stream::StreamExt;

use super::super::world::World;
use crate::api::{Compression, FhirServer};
use crate::core::landing::{
    Block, BlockId, FileKind, Issues, LandFile, LandPlan, MAX_BLOCKS, OutcomeReader, Sum, Tag, Tally,
    block_size,
};
use crate::core::ledger::StorageFailure;
use crate::core::wire::{FileHead, Resume};
use crate::ports::Container;
use crate::ports::Pieces;

/// What a refusal begins with that came with status 200, without its blanks.
const REFUSAL: &[u8] = br#"{"resourceType":"OperationOutcome""#;
/// So much of a file is looked at for that.
const BEGINNING: usize = 64;

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
    /// The first bytes that are not blank.
    beginning: Vec<u8>,
    /// What it holds may be OperationOutcomes.
    of_outcomes: bool,
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
            beginning: Vec::new(),
            of_outcomes: file.kind == FileKind::Error || file.is_of("OperationOutcome"),
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
            beginning: b"{".to_vec(),
            of_outcomes: true,
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

    /// Whether it can be the file, by its first bytes: JSON, and not a server's refusal in the place of data.
    pub(super) fn begins_well(&self) -> bool {
        let beginning = self.beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.beginning);
        let json = beginning.first().is_none_or(|first| *first == b'{' || *first == 0xEF);
        json && (self.of_outcomes || !beginning.starts_with(REFUSAL))
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
                Some(Ok(mut piece)) => {
                    self.see(&piece);
                    while !piece.is_empty() && self.begins_well() && self.index() < MAX_BLOCKS {
                        self.fill(&mut piece);
                        if self.rest.len() == self.size() {
                            if !staged {
                                (&mut staging).await?;
                            }
                            let (id, body) = self.cut();
                            staging = lay_down(world, server, plan, file, id, body).fuse();
                            staged = false;
                        }
                    }
                    match piece.is_empty() {
                        true => continue,
                        false if self.begins_well() => Poured::TooLong,
                        false => Poured::Broken,
                    }
                }
                Some(Err(_)) => Poured::Broken,
                None => Poured::Whole,
            };
            if !staged {
                staging.await?;
            }
            if matches!(poured, Poured::Whole) && !self.rest.is_empty() {
                let (id, body) = self.cut();
                lay_down(world, server, plan, file, id, body).await?;
            }
            return Ok(poured);
        }
    }

    /// How much the next block holds.
    fn size(&self) -> usize {
        usize::try_from(block_size(self.index())).unwrap_or(usize::MAX)
    }

    /// Takes of a piece what the next block still has room for. A block is of one allocation that is just large enough.
    fn fill(&mut self, piece: &mut Bytes) {
        let size = self.size();
        let part = piece.split_to(piece.len().min(size - self.rest.len()));
        if self.rest.capacity() < self.rest.len() + part.len() {
            // Small files stay small; whoever had a block fills another one.
            let wanted =
                if self.ids.is_empty() { (2 * self.rest.len()).max(part.len()).min(size) } else { size };
            self.rest.reserve(wanted - self.rest.len().min(wanted));
        }
        self.rest.extend_from_slice(&part);
    }

    fn index(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    fn see(&mut self, piece: &Bytes) {
        let room = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend(piece.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(room));
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.feed(piece);
        }
    }

    /// The next block, of what is not yet one.
    fn cut(&mut self) -> (BlockId, Bytes) {
        let body = self.rest.split().freeze();
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
