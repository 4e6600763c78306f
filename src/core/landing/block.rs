//! Blocks of a blob that is being landed. A block's id says which fetch it is of, its place, and where the sum of
//! the file stood after it: so another process can go on after it, without reading it back.

use super::tally::{STAND_LEN, Tally};

/// Azure's own limit for one blob.
pub const MAX_BLOCKS: u32 = 50_000;

const TAG_LEN: usize = 8;
/// Ids of one blob all have one length (Azure: at most 64 bytes before base64).
const ID_LEN: usize = TAG_LEN + 4 + STAND_LEN;

const MIB: u64 = 1 << 20;
/// Small blocks bound the memory, larger ones the number: 8 GiB in the first kind, 171 GiB altogether.
const SIZES: [(u32, u64); 2] = [(8192, MIB), (u32::MAX, 4 * MIB)];

/// How many bytes of the file a block holds, unless it is the last.
pub fn block_size(index: u32) -> u64 {
    let mut left = index;
    for (number, size) in SIZES {
        if left < number {
            return size;
        }
        left -= number;
    }
    4 * MIB
}

/// Where a block begins.
fn offset_of(index: u32) -> u64 {
    let mut left = u64::from(index);
    let mut offset = 0;
    for (number, size) in SIZES {
        let of_these = left.min(u64::from(number));
        offset += of_these * size;
        left -= of_these;
    }
    offset
}

/// Which content a block is of: two blocks of one tag are of the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag([u8; TAG_LEN]);

impl Tag {
    /// Of a file that can be read on: its source and its strong ETag name its bytes.
    pub fn of_etag(source: &str, etag: &str) -> Self {
        Self::hashed(&[b"etag", source.as_bytes(), etag.as_bytes()])
    }

    /// Of a file that cannot: of this one fetch. `chance` is from 0 to 1.
    pub fn of_one_fetch(source: &str, chance: f64, other: f64) -> Self {
        Self::hashed(&[b"once", source.as_bytes(), &chance.to_be_bytes(), &other.to_be_bytes()])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut tag = [0; TAG_LEN];
        for (to, from) in tag.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(tag)
    }
}

/// The id of a block, as Azure keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockId(pub Vec<u8>);

/// What the id of a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which content it is of.
    pub tag: Tag,
    /// Its place, from 0.
    pub index: u32,
    /// Where the sum stood after it; absent for the last block, after which nothing comes.
    stand: Option<[u8; STAND_LEN]>,
}

impl Block {
    /// A block after which `tally` stands.
    pub fn new(tag: Tag, index: u32, tally: &Tally) -> Self {
        let whole = tally.bytes() == offset_of(index.saturating_add(1));
        Self { tag, index, stand: tally.stand().filter(|_| whole) }
    }

    /// Its id.
    pub fn id(&self) -> BlockId {
        let mut id = Vec::with_capacity(ID_LEN);
        id.extend_from_slice(&self.tag.0);
        id.extend_from_slice(&self.index.to_be_bytes());
        id.extend_from_slice(&self.stand.unwrap_or([0; STAND_LEN]));
        BlockId(id)
    }

    /// Reads an id; `None` if it is not of a landing.
    pub fn read(id: &[u8]) -> Option<Self> {
        let (tag, rest) = id.split_at_checked(TAG_LEN)?;
        let (index, stand) = rest.split_at_checked(4)?;
        let stand: [u8; STAND_LEN] = stand.try_into().ok()?;
        Some(Self {
            tag: Tag(tag.try_into().ok()?),
            index: u32::from_be_bytes(index.try_into().ok()?),
            stand: Some(stand).filter(|stand| stand.iter().any(|byte| *byte != 0)),
        })
    }

    /// The sum as it stood after this block.
    pub fn tally(&self) -> Option<Tally> {
        Tally::standing(self.stand.as_ref()?, offset_of(self.index.checked_add(1)?))
    }
}

/// Of the blocks that lie uncommitted, the longest row from the start that is of one content and can be gone on with.
/// Blocks of different fetches are never mixed.
pub fn chain(ids: &[BlockId]) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        ids.iter().filter_map(|id| Block::read(&id.0)).filter(|block| block.stand.is_some()).collect();
    blocks.sort_by_key(|block| (block.tag, block.index));
    blocks.dedup();
    let mut best: Vec<Block> = Vec::new();
    let mut row: Vec<Block> = Vec::new();
    for block in blocks {
        let next = u32::try_from(row.len()).unwrap_or(u32::MAX);
        let fits = block.index == next && row.last().is_none_or(|last| last.tag == block.tag);
        if fits {
            row.push(block);
        } else {
            row = if block.index == 0 { vec![block] } else { Vec::new() };
        }
        if row.len() > best.len() {
            best.clone_from(&row);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tag: Tag, upto: u32) -> Vec<Block> {
        let mut tally = Tally::default();
        let filling = vec![b'a'; 1 << 20];
        (0..upto)
            .map(|index| {
                tally.feed(&filling);
                Block::new(tag, index, &tally)
            })
            .collect()
    }

    #[test]
    fn sizes_and_offsets_agree() {
        let mut offset = 0;
        for index in 0..MAX_BLOCKS {
            assert_eq!(offset_of(index), offset, "{index}");
            assert!(block_size(index).is_multiple_of(64));
            offset += block_size(index);
        }
        assert_eq!(offset >> 30, 171);
    }

    #[test]
    fn ids_carry_all_that_is_needed_to_go_on() {
        let tag = Tag::of_etag("source", "\"1\"");
        let blocks = row(tag, 3);
        for block in &blocks {
            let id = block.id();
            assert!(id.0.len() == ID_LEN && ID_LEN <= 64);
            assert_eq!(Block::read(&id.0).as_ref(), Some(block));
        }
        let mut on = blocks[1].tally().unwrap();
        assert_eq!(on.bytes(), 2 << 20);
        on.feed(&vec![b'a'; 1 << 20]);
        assert_eq!(on.stand(), blocks[2].tally().unwrap().stand());
        let mut last = blocks[2].tally().unwrap();
        last.feed(b"abc");
        let last = Block::new(tag, 3, &last);
        assert_eq!(last.tally().map(|t| t.bytes()), None);
        assert_eq!(Block::read(&last.id().0), Some(last));
        assert_eq!(Block::read(b"someone-elses"), None);
    }

    #[test]
    fn rows_are_never_mixed() {
        let (one, other) = (Tag::of_etag("s", "1"), Tag::of_one_fetch("s", 0.1, 0.2));
        let (long, short) = (row(one, 3), row(other, 2));
        let ids = |blocks: &[Block]| -> Vec<BlockId> { blocks.iter().rev().map(Block::id).collect() };
        let both = [ids(&short), ids(&long), vec![BlockId(b"x".to_vec())]].concat();
        assert_eq!(chain(&both), long);
        let gap = [ids(&long[1..]), ids(&short)].concat();
        assert_eq!(chain(&gap), short);
        assert_eq!(chain(&ids(&[long[0].clone(), long[2].clone()])), long[..1]);
        assert_eq!(chain(&[]), []);
    }
}
