//! A checkpoint of an upload: what another process needs in order to continue after the parts that are
//! stored, without reading them back.

use super::tally::{STAND_LEN, Tally};
use sha2::{Digest, Sha256};

/// Length of [`Content`] in bytes.
const CONTENT_LEN: usize = 8;

/// Identifies the bytes that the parts of an upload are cut from. Parts of two uploads may be joined only if their
/// contents are equal (invariant parts-of-one-fetch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content([u8; CONTENT_LEN]);

impl Content {
    /// Length of the encoded form in bytes.
    pub const LEN: usize = CONTENT_LEN;

    /// The content of a file whose server gives a strong ETag: source and ETag together name its bytes, so another
    /// fetch of the same ETag continues it.
    pub fn of_etag(source: &str, etag: &str) -> Self {
        Self::hashed(&[b"etag", source.as_bytes(), etag.as_bytes()])
    }

    /// The content of one fetch of a file whose server gives no strong ETag. No other fetch can continue it. `chance`
    /// and `other` are random numbers from 0 to 1 that tell this fetch from all others.
    pub fn of_one_fetch(source: &str, chance: f64, other: f64) -> Self {
        Self::hashed(&[b"once", source.as_bytes(), &chance.to_be_bytes(), &other.to_be_bytes()])
    }

    /// The bytes that a store keeps of this content.
    pub fn to_bytes(self) -> [u8; CONTENT_LEN] {
        self.0
    }

    /// Reads what [`to_bytes`](Self::to_bytes) returned.
    pub fn from_bytes(bytes: [u8; CONTENT_LEN]) -> Self {
        Self(bytes)
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut content = [0; CONTENT_LEN];
        for (to, from) in content.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(content)
    }
}

/// The state of an upload after one of its parts: the content, the number of bytes before compression, the state of
/// their SHA-256 and their line count. A store keeps it with the part and does not look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    content: Content,
    bytes: u64,
    stand: [u8; STAND_LEN],
}

impl Checkpoint {
    /// Length of the encoded form in bytes.
    pub const LEN: usize = CONTENT_LEN + 8 + STAND_LEN;
    /// Length of [`stand`](Self::stand) in bytes.
    pub const STAND_LEN: usize = STAND_LEN;

    /// The checkpoint after the bytes that `tally` has seen. `None` unless their number is a positive multiple of 64.
    pub fn after(content: Content, tally: &Tally) -> Option<Self> {
        Some(Self { content, bytes: tally.bytes(), stand: tally.stand()? })
    }

    /// The content that the parts so far are cut from.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The number of bytes in the parts so far, before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The tally of the parts so far. `None` if the checkpoint was not made by [`after`](Self::after).
    pub fn tally(&self) -> Option<Tally> {
        Tally::standing(&self.stand, self.bytes)
    }

    /// The hash state and line count, for a store that keeps content and position by other means.
    pub fn stand(&self) -> &[u8; STAND_LEN] {
        &self.stand
    }

    /// Reassembles a checkpoint from its three fields. `None` if no upload can continue from it.
    pub fn from_fields(content: Content, bytes: u64, stand: [u8; STAND_LEN]) -> Option<Self> {
        let checkpoint = Self { content, bytes, stand };
        let written = stand.iter().any(|byte| *byte != 0);
        (written && bytes > 0 && checkpoint.tally().is_some()).then_some(checkpoint)
    }

    /// Encodes the checkpoint in [`Checkpoint::LEN`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.content.0[..], &self.bytes.to_be_bytes()[..], &self.stand[..]].concat()
    }

    /// Reads what [`encode`](Self::encode) returned; `None` for anything else.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        let (content, rest) = encoded.split_at_checked(CONTENT_LEN)?;
        let (bytes, stand) = rest.split_at_checked(8)?;
        let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
        Self::from_fields(Content(content.try_into().ok()?), bytes, stand.try_into().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_and_continued() {
        let mut tally = Tally::default();
        tally.feed(&[b'a'; 640]);
        let checkpoint = Checkpoint::after(Content::of_etag("source", "\"1\""), &tally).unwrap();
        let encoded = checkpoint.encode();
        assert_eq!(encoded.len(), Checkpoint::LEN);
        let read = Checkpoint::decode(&encoded).unwrap();
        assert_eq!(read, checkpoint);
        let mut on = read.tally().unwrap();
        for tally in [&mut on, &mut tally] {
            tally.feed(b"{}\n");
        }
        assert_eq!(on.finish(), tally.finish());
    }

    #[test]
    fn what_is_no_checkpoint() {
        let mut tally = Tally::default();
        let content = Content::of_one_fetch("s", 0.1, 0.2);
        assert_eq!(Checkpoint::after(content, &tally), None);
        tally.feed(&[b'a'; 65]);
        assert_eq!(Checkpoint::after(content, &tally), None);
        assert_eq!(Checkpoint::from_fields(content, 64, [0; STAND_LEN]), None);
        assert_eq!(Checkpoint::from_fields(content, 63, [1; STAND_LEN]), None);
        assert_eq!(Checkpoint::decode(b"short"), None);
        assert_eq!(Checkpoint::decode(&[0; Checkpoint::LEN + 1]), None);
    }

    #[test]
    fn contents_differ_with_source_etag_and_fetch() {
        let all = [
            Content::of_etag("s", "1"),
            Content::of_etag("s", "2"),
            Content::of_etag("s1", ""),
            Content::of_one_fetch("s", 0.1, 0.2),
            Content::of_one_fetch("s", 0.1, 0.3),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one), "{one:?}");
        }
    }
}
