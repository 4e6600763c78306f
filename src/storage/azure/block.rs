//! Ids of blocks. A block's id is its checkpoint: it says which content the block is of, its index, and the hash state
//! and line count after it, so another process can continue from the list of uncommitted blocks alone.
//!
//! The ids of one blob all have one length, at most 64 bytes before base64. They are: 8 bytes content, 4 bytes index
//! (big endian), 41 bytes state. The last block has the highest bit of the index set, and a hash of its bytes as its
//! state, so that equal ids mean equal bytes. The previous release wrote zeros as the state of a last block; such a
//! block is skipped, and laid down again.

use sha2::{Digest, Sha256};

use crate::core::landing::{Checkpoint, Content};

/// How many blocks a blob can have (public documentation of Put Block List).
const MAX_BLOCKS: u32 = 50_000;
const STAND: usize = Checkpoint::STAND_LEN;
const ID_LEN: usize = Content::LEN + 4 + STAND;
/// Marks the index of a last block.
const LAST: u32 = 1 << 31;

const MIB: u64 = 1 << 20;
/// The first blocks are small, which bounds the memory; later ones are larger, which bounds their number. 8 GiB fit
/// into the small ones and 171 GiB altogether. Uncommitted blocks are read by these sizes: changing them would join
/// blocks of different offsets after an update.
const SMALL: u64 = MIB;
const LARGE: u64 = 4 * MIB;
const SMALL_BLOCKS: u32 = 8192;
const SMALL_BYTES: u64 = SMALL_BLOCKS as u64 * SMALL;

/// Where a block begins, in bytes before compression.
fn offset_of(index: u32) -> u64 {
    let small = index.min(SMALL_BLOCKS);
    u64::from(small) * SMALL + u64::from(index - small) * LARGE
}

/// The size of the block that begins at `offset`, unless it is the last; `None` past the last block that a blob can
/// have, or if no block begins there.
pub(super) fn part_size(offset: u64) -> Option<usize> {
    let (before, offset, size) = if offset < SMALL_BYTES {
        (0, offset, SMALL)
    } else {
        (u64::from(SMALL_BLOCKS), offset - SMALL_BYTES, LARGE)
    };
    let fits = offset.is_multiple_of(size) && before + offset / size < u64::from(MAX_BLOCKS);
    usize::try_from(size).ok().filter(|_| fits)
}

/// The id of a block, as Azure keeps it before base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockId(pub(super) Vec<u8>);

impl BlockId {
    /// The id of block `index`, which ends at `after`. `None` if the block does not end there.
    pub(super) fn new(index: u32, after: &Checkpoint) -> Option<Self> {
        let ends = after.bytes() == offset_of(index.checked_add(1)?);
        ends.then(|| Self::of(after.content(), index, after.stand()))
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

    /// Reads index and checkpoint of a block; `None` if nobody can continue after it.
    fn read(&self) -> Option<(u32, Checkpoint)> {
        let (content, rest) = self.0.split_at_checked(Content::LEN)?;
        let (index, stand) = rest.split_at_checked(4)?;
        let index = u32::from_be_bytes(index.try_into().ok()?);
        let content = Content::from_bytes(content.try_into().ok()?);
        let bytes = offset_of(index.checked_add(1).filter(|next| *next <= MAX_BLOCKS)?);
        Some((index, Checkpoint::from_fields(content, bytes, stand.try_into().ok()?)?))
    }
}

/// Of uncommitted blocks, the longest row from the start of a file that is of one content and can be continued, with
/// the checkpoint after it. Blocks of different contents are never mixed (invariant parts-of-one-fetch).
pub(super) fn chain(ids: Vec<BlockId>) -> Option<(Vec<BlockId>, Checkpoint)> {
    let mut blocks: Vec<(Content, u32, Checkpoint, BlockId)> = ids
        .into_iter()
        .filter_map(|id| id.read().map(|(index, checkpoint)| (checkpoint.content(), index, checkpoint, id)))
        .collect();
    blocks.sort_by(|one, other| (one.0, one.1, &one.3.0).cmp(&(other.0, other.1, &other.3.0)));
    blocks.dedup_by(|one, other| one.3 == other.3);
    let mut best: &[(Content, u32, Checkpoint, BlockId)] = &[];
    for of_one_content in blocks.chunk_by(|one, other| one.0 == other.0) {
        let long = of_one_content.iter().zip(0..).take_while(|(block, index)| block.1 == *index).count();
        let row = of_one_content.get(..long).unwrap_or_default();
        if row.len() > best.len() {
            best = row;
        }
    }
    let checkpoint = best.last()?.2.clone();
    Some((best.iter().map(|block| block.3.clone()).collect(), checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::landing::Tally;

    fn row(content: Content, upto: u32, filling: u8) -> Vec<BlockId> {
        let mut tally = Tally::default();
        let filling = vec![filling; 1 << 20];
        let id = |index| {
            tally.feed(&filling);
            BlockId::new(index, &Checkpoint::after(content, &tally).unwrap()).unwrap()
        };
        (0..upto).map(id).collect()
    }

    fn ids_of(chain: Option<(Vec<BlockId>, Checkpoint)>) -> Vec<BlockId> {
        chain.map(|(ids, _)| ids).unwrap_or_default()
    }

    #[test]
    fn sizes_and_offsets_agree() {
        let mut offset = 0;
        for index in 0..MAX_BLOCKS {
            assert_eq!(offset_of(index), offset, "{index}");
            let size = part_size(offset).unwrap();
            assert!(size.is_multiple_of(64));
            offset += size as u64;
        }
        assert_eq!((offset >> 30, part_size(offset), part_size(1)), (171, None, None));
    }

    #[test]
    fn ids_are_those_of_the_previous_release() {
        let content = Content::of_etag("source", "\"1\"");
        let mut tally = Tally::default();
        tally.feed(&vec![b'a'; 1 << 20]);
        let id = BlockId::new(0, &Checkpoint::after(content, &tally).unwrap()).unwrap();
        assert!(id.0.len() == 53 && ID_LEN == 53);
        let expected = [&content.to_bytes()[..], &[0; 4], &tally.stand().unwrap()].concat();
        assert_eq!(id.0, expected);
        // A last block of the previous release has no state: nobody continues after it.
        let old_last = BlockId::of(content, 1, &[0; STAND]);
        assert_eq!(ids_of(chain(vec![old_last, id.clone()])), [id]);
    }

    #[test]
    fn a_block_ends_where_its_checkpoint_is() {
        let mut tally = Tally::default();
        tally.feed(&[b'a'; 64]);
        let checkpoint = Checkpoint::after(Content::of_etag("s", "1"), &tally).unwrap();
        assert_eq!(BlockId::new(0, &checkpoint), None);
    }

    #[test]
    fn rows_are_never_mixed() {
        let (one, other) = (Content::of_etag("s", "1"), Content::of_one_fetch("s", 0.1, 0.2));
        let (long, short) = (row(one, 3, b'a'), row(other, 2, b'b'));
        let turned = |blocks: &[BlockId]| -> Vec<BlockId> { blocks.iter().rev().cloned().collect() };
        let both = [turned(&short), turned(&long), vec![BlockId(b"someone else's".to_vec())]].concat();
        assert_eq!(ids_of(chain(both)), long);
        assert_eq!(ids_of(chain([turned(&long[1..]), turned(&short)].concat())), short);
        assert_eq!(ids_of(chain(vec![long[0].clone(), long[2].clone()])), long[..1]);
        let with_last = [turned(&long), vec![BlockId::last(one, 3, b"{}")]].concat();
        let (ids, checkpoint) = chain(with_last).unwrap();
        assert_eq!((ids, checkpoint.bytes()), (long.clone(), 3 << 20));
        assert_eq!(ids_of(chain(vec![BlockId::last(one, 0, b"{}")])), []);
        assert_eq!(chain(Vec::new()), None);
    }

    #[test]
    fn last_blocks_of_other_bytes_have_other_ids() {
        let content = Content::of_etag("s", "1");
        assert_ne!(BlockId::last(content, 1, b"a"), BlockId::last(content, 1, b"b"));
        assert_eq!(BlockId::last(content, 1, b"a").0.len(), ID_LEN);
    }
}
