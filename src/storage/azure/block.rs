//! Ids of blocks. A block's id is its checkpoint: it holds the content that the block is cut from, its index,
//! how its upload is cut, and the hash state and line count after it. So another process can continue from
//! the list of uncommitted blocks alone.
//!
//! All ids of one blob have the same length, at most 64 bytes before base64: 8 bytes content, 4 bytes index
//! (big endian), 41 bytes state. The highest bit of the index marks the last block, whose state is a hash of
//! its bytes, so that equal ids mean equal bytes. The next bit says how the upload is cut. Older releases
//! wrote zeros as the state of a last block; such a block is skipped and uploaded again.

use sha2::{Digest, Sha256};

use crate::core::landing::{Checkpoint, Content};

/// The largest number of blocks in a blob (public documentation of Put Block List).
const MAX_BLOCKS: u32 = 50_000;
const STAND: usize = Checkpoint::STAND_LEN;
const ID_LEN: usize = Content::LEN + 4 + STAND;
/// The bit that marks the index of a last block.
const LAST: u32 = 1 << 31;
/// The bit that marks the index of a block of an evenly cut upload. No index reaches it: see [`MAX_BLOCKS`].
const EVEN: u32 = 1 << 30;

const MIB: u64 = 1 << 20;
/// The size of a block in bytes.
const BLOCK: u64 = 4 * MIB;
/// The number of 1 MiB blocks in an upload that is cut in steps.
const SMALL_BLOCKS: u32 = 8192;
const SMALL_BYTES: u64 = SMALL_BLOCKS as u64 * MIB;

/// How an upload is cut into blocks. The offset of a block follows from its index, so an upload is cut to its
/// end as it was begun, and blocks that are cut differently are never joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Blocks of 1 MiB, and of 4 MiB after 8 GiB; 171 GiB altogether. Older releases cut like this, and
    /// their ids have no mark for it.
    InSteps,
    /// Blocks of 4 MiB; 195 GiB altogether. New uploads are cut like this.
    Evenly,
}

impl Cut {
    /// The bits that mark the index of a block.
    fn mark(self) -> u32 {
        match self {
            Self::InSteps => 0,
            Self::Evenly => EVEN,
        }
    }

    /// The offset of a block, in bytes before compression.
    pub(super) fn offset_of(self, index: u32) -> u64 {
        match self {
            Self::InSteps => {
                let small = index.min(SMALL_BLOCKS);
                u64::from(small) * MIB + u64::from(index - small) * BLOCK
            }
            Self::Evenly => u64::from(index) * BLOCK,
        }
    }

    /// The size of the block that begins at `offset`, unless it is the last one. `None` if a blob has no room
    /// for a block there, or if no block begins there.
    pub(super) fn part_size(self, offset: u64) -> Option<usize> {
        let (before, offset, size) = match self {
            Self::InSteps if offset < SMALL_BYTES => (0, offset, MIB),
            Self::InSteps => (u64::from(SMALL_BLOCKS), offset - SMALL_BYTES, BLOCK),
            Self::Evenly => (0, offset, BLOCK),
        };
        let fits = offset.is_multiple_of(size) && before + offset / size < u64::from(MAX_BLOCKS);
        usize::try_from(size).ok().filter(|_| fits)
    }
}

/// The id of a block, as Azure keeps it before base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockId(pub(super) Vec<u8>);

impl BlockId {
    /// The id of block `index`, which ends at `after`. `None` if the block does not end there.
    pub(super) fn new(cut: Cut, index: u32, after: &Checkpoint) -> Option<Self> {
        let ends = after.bytes() == cut.offset_of(index.checked_add(1)?);
        ends.then(|| Self::of(after.content(), index | cut.mark(), after.stand()))
    }

    /// The id of the last block, whose bytes are `stored`.
    pub(super) fn last(content: Content, index: u32, stored: &[u8]) -> Self {
        let mut state = [0; STAND];
        for (to, from) in state.iter_mut().zip(Sha256::digest(stored)) {
            *to = from;
        }
        Self::of(content, index | LAST, &state)
    }

    fn of(content: Content, index: u32, state: &[u8; STAND]) -> Self {
        let mut id = Vec::with_capacity(ID_LEN);
        id.extend_from_slice(&content.to_bytes());
        id.extend_from_slice(&index.to_be_bytes());
        id.extend_from_slice(state);
        Self(id)
    }

    /// Parses the position and the checkpoint of a block; `None` if no upload can continue after it.
    fn read(self) -> Option<Block> {
        let (content, rest) = self.0.split_at_checked(Content::LEN)?;
        let (index, stand) = rest.split_at_checked(4)?;
        let marked = u32::from_be_bytes(index.try_into().ok()?);
        let cut = if marked & EVEN == 0 { Cut::InSteps } else { Cut::Evenly };
        let index = marked & !EVEN;
        let content = Content::from_bytes(content.try_into().ok()?);
        let bytes = cut.offset_of(index.checked_add(1).filter(|next| *next <= MAX_BLOCKS)?);
        let checkpoint = Checkpoint::from_fields(content, bytes, stand.try_into().ok()?)?;
        Some(Block { content, cut, index, checkpoint, id: self })
    }
}

/// A block after which an upload can be continued.
struct Block {
    content: Content,
    cut: Cut,
    index: u32,
    checkpoint: Checkpoint,
    id: BlockId,
}

impl Block {
    fn place(&self) -> (Content, Cut, u32, &[u8]) {
        (self.content, self.cut, self.index, &self.id.0)
    }
}

/// The blocks of an upload that is continued.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// How the upload is cut.
    pub(super) cut: Cut,
    /// The ids of its blocks, from the first one on.
    pub(super) ids: Vec<BlockId>,
    /// The checkpoint after the last of them.
    pub(super) checkpoint: Checkpoint,
}

/// The row of uncommitted blocks that reaches farthest from the start of the file, is of one content, and can be
/// continued. Blocks of different contents, or cut differently, are never mixed (invariant parts-of-one-fetch).
pub(super) fn chain(ids: Vec<BlockId>) -> Option<Row> {
    let mut blocks: Vec<Block> = ids.into_iter().filter_map(BlockId::read).collect();
    blocks.sort_by(|one, other| one.place().cmp(&other.place()));
    blocks.dedup_by(|one, other| one.id == other.id);
    let rows = blocks.chunk_by(|one, other| (one.content, one.cut) == (other.content, other.cut));
    let whole = rows.filter_map(|row| {
        let places = row.iter().zip(row.iter().skip(1).map(Some).chain([None])).zip(0..);
        // Of two blocks of one index, nobody can tell which one goes on what is before them.
        let one = |block: &Block, next: Option<&Block>| next.is_none_or(|next| next.index != block.index);
        let long = places.take_while(|((block, next), index)| block.index == *index && one(block, *next));
        row.get(..long.count()).filter(|row| !row.is_empty())
    });
    let mut best: &[Block] = &[];
    for row in whole {
        let reaches = |row: &[Block]| row.last().map_or(0, |block| block.checkpoint.bytes());
        if reaches(row) > reaches(best) {
            best = row;
        }
    }
    let last = best.last()?;
    let ids = best.iter().map(|block| block.id.clone()).collect();
    Some(Row { cut: last.cut, ids, checkpoint: last.checkpoint.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::landing::Tally;

    fn row(cut: Cut, content: Content, upto: u32, filling: u8) -> Vec<BlockId> {
        let mut tally = Tally::default();
        let id = |index| {
            tally.feed(&vec![filling; cut.part_size(tally.bytes()).unwrap()]);
            BlockId::new(cut, index, &Checkpoint::after(content, &tally).unwrap()).unwrap()
        };
        (0..upto).map(id).collect()
    }

    fn ids_of(chain: Option<Row>) -> Vec<BlockId> {
        chain.map(|row| row.ids).unwrap_or_default()
    }

    #[test]
    fn sizes_and_offsets_agree() {
        for (cut, gib) in [(Cut::InSteps, 171), (Cut::Evenly, 195)] {
            let mut offset = 0;
            for index in 0..MAX_BLOCKS {
                assert_eq!(cut.offset_of(index), offset, "{cut:?} {index}");
                let size = cut.part_size(offset).unwrap();
                assert!(size.is_multiple_of(64));
                offset += size as u64;
            }
            assert_eq!((offset >> 30, cut.part_size(offset), cut.part_size(1)), (gib, None, None));
        }
    }

    #[test]
    fn ids_of_an_upload_in_steps_are_those_of_older_releases() {
        let content = Content::of_etag("source", "\"1\"");
        let mut tally = Tally::default();
        tally.feed(&vec![b'a'; 1 << 20]);
        let checkpoint = Checkpoint::after(content, &tally).unwrap();
        let id = BlockId::new(Cut::InSteps, 0, &checkpoint).unwrap();
        assert!(id.0.len() == 53 && ID_LEN == 53);
        let expected = [&content.to_bytes()[..], &[0; 4], &tally.stand().unwrap()].concat();
        assert_eq!(id.0, expected);
        // A last block of an older release has no state, so no upload continues after it.
        let old_last = BlockId::of(content, 1, &[0; STAND]);
        let row = chain(vec![old_last, id.clone()]).unwrap();
        assert_eq!(row, Row { cut: Cut::InSteps, ids: vec![id], checkpoint });
    }

    #[test]
    fn an_older_release_continues_no_block_that_is_cut_evenly() {
        let id = row(Cut::Evenly, Content::of_etag("s", "1"), 1, b'a').remove(0);
        assert_eq!(id.0.len(), ID_LEN, "the ids of a blob have one length");
        let index = u32::from_be_bytes(id.0[8..12].try_into().unwrap());
        assert!(index > MAX_BLOCKS, "older releases skip it as no block of theirs");
    }

    #[test]
    fn blocks_that_are_cut_differently_are_never_joined() {
        let content = Content::of_etag("s", "1");
        // The same content was begun by an older release and again by this one: the row that reaches farther counts.
        for (small, large, farther) in [(3, 1, Cut::Evenly), (5, 1, Cut::InSteps), (1, 2, Cut::Evenly)] {
            let rows = [row(Cut::InSteps, content, small, b'a'), row(Cut::Evenly, content, large, b'a')];
            let found = chain(rows.concat()).unwrap();
            let (ids, mib) = match farther {
                Cut::InSteps => (&rows[0], u64::from(small)),
                Cut::Evenly => (&rows[1], 4 * u64::from(large)),
            };
            assert_eq!((found.cut, &found.ids, found.checkpoint.bytes()), (farther, ids, mib << 20));
        }
        let (first, second) = (row(Cut::InSteps, content, 1, b'a'), row(Cut::Evenly, content, 2, b'a'));
        assert_eq!(ids_of(chain([first.clone(), second[1..].to_vec()].concat())), first);
    }

    #[test]
    fn a_block_ends_where_its_checkpoint_is() {
        let mut tally = Tally::default();
        tally.feed(&[b'a'; 64]);
        let checkpoint = Checkpoint::after(Content::of_etag("s", "1"), &tally).unwrap();
        assert_eq!(BlockId::new(Cut::Evenly, 0, &checkpoint), None);
        assert_eq!(BlockId::new(Cut::InSteps, 0, &checkpoint), None);
    }

    #[test]
    fn rows_are_never_mixed() {
        let (one, other) = (Content::of_etag("s", "1"), Content::of_one_fetch("s", 0.1, 0.2));
        let (long, short) = (row(Cut::Evenly, one, 3, b'a'), row(Cut::Evenly, other, 2, b'b'));
        let turned = |blocks: &[BlockId]| -> Vec<BlockId> { blocks.iter().rev().cloned().collect() };
        let both = [turned(&short), turned(&long), vec![BlockId(b"someone else's".to_vec())]].concat();
        assert_eq!(ids_of(chain(both)), long);
        assert_eq!(ids_of(chain([turned(&long[1..]), turned(&short)].concat())), short);
        assert_eq!(ids_of(chain(vec![long[0].clone(), long[2].clone()])), long[..1]);
        let with_last = [turned(&long), vec![BlockId::last(one, 3, b"{}")]].concat();
        let found = chain(with_last).unwrap();
        assert_eq!((found.ids, found.checkpoint.bytes()), (long.clone(), 12 << 20));
        assert_eq!(ids_of(chain(vec![BlockId::last(one, 0, b"{}")])), []);
        assert_eq!(chain(Vec::new()), None);
    }

    #[test]
    fn what_follows_is_not_guessed_where_two_blocks_claim_one_index() {
        let content = Content::of_etag("s", "1");
        // The same file was read twice, and came otherwise the second time.
        let (one, other) = (row(Cut::Evenly, content, 3, b'a'), row(Cut::Evenly, content, 2, b'b'));
        let second = [one.clone(), other[1..].to_vec()].concat();
        assert_eq!(ids_of(chain(second)), one[..1]);
        assert_eq!(chain([one, other].concat()), None, "the first one already");
    }

    #[test]
    fn last_blocks_of_other_bytes_have_other_ids() {
        let content = Content::of_etag("s", "1");
        assert_ne!(BlockId::last(content, 1, b"a"), BlockId::last(content, 1, b"b"));
        assert_eq!(BlockId::last(content, 1, b"a").0.len(), ID_LEN);
    }
}
