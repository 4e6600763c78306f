//! What is computed of a file during its download: SHA-256, lines, bytes. Between two parts the state can be
//! stored in 41 bytes, and another process can continue from it.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use crate::core::lines::LineCounter;
use crate::core::manifest::hex;

/// The block size of SHA-256 in bytes: at a multiple of it the hash's buffer is empty.
const WORD: u64 = 64;
/// The length in bytes of the hash state, without the part that follows from the number of bytes.
const STATE: usize = 32;
/// The length in bytes of a stored state.
pub const STAND_LEN: usize = STATE + 8 + 1;

/// Size, line count and hash of a whole file, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The size in bytes.
    pub bytes: u64,
    /// The number of non-empty lines.
    pub lines: u64,
    /// The SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The running sums of the part of a file that was read.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    hash: Sha256,
    lines: LineCounter,
    bytes: u64,
}

impl Tally {
    /// Adds the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.lines.feed(piece);
        self.bytes += piece.len() as u64;
    }

    /// The number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sums of the whole file, once it has ended.
    pub fn finish(self) -> Sum {
        let sha256 = hex(&self.hash.finalize());
        Sum { bytes: self.bytes, lines: self.lines.finish(), sha256 }
    }

    /// The state to store. `None` unless the number of bytes so far is a positive multiple of 64.
    pub fn stand(&self) -> Option<[u8; STAND_LEN]> {
        let (lines, begun) = self.lines.stand()?;
        if self.bytes == 0 || !self.bytes.is_multiple_of(WORD) {
            return None;
        }
        let state = self.hash.serialize();
        let mut stand = [0; STAND_LEN];
        let fields = state.iter().take(STATE).copied().chain(lines.to_be_bytes()).chain([u8::from(begun)]);
        for (to, from) in stand.iter_mut().zip(fields) {
            *to = from;
        }
        Some(stand)
    }

    /// Continues from a state that [`stand`](Self::stand) returned after `bytes` bytes. `None` if
    /// `bytes` is not a multiple of 64.
    pub fn standing(stand: &[u8; STAND_LEN], bytes: u64) -> Option<Self> {
        let (state, rest) = stand.split_at_checked(STATE)?;
        let (lines, begun) = rest.split_at_checked(8)?;
        let words = bytes.is_multiple_of(WORD).then_some(bytes / WORD)?;
        let mut serialized = SerializedState::<Sha256>::default();
        // The state, the number of words, and an empty buffer.
        let fields = state.iter().copied().chain(words.to_le_bytes());
        for (to, from) in serialized.iter_mut().zip(fields) {
            *to = from;
        }
        let hash = Sha256::deserialize(&serialized).ok()?;
        let lines = u64::from_be_bytes(lines.try_into().ok()?);
        Some(Self { hash, lines: LineCounter::standing(lines, begun.first() == Some(&1)), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn going_on_is_like_never_having_stopped(
            bytes in proptest::collection::vec(proptest::sample::select(b"\n\n\r {}\xEF\xBB\xBFab".to_vec()), 64..2000),
            words in 1_usize..30,
        ) {
            let at = (words * 64).min(bytes.len() / 64 * 64);
            let mut whole = Tally::default();
            whole.feed(&bytes);
            let mut first = Tally::default();
            first.feed(&bytes[..at]);
            let stand = first.stand().unwrap();
            let mut second = Tally::standing(&stand, at as u64).unwrap();
            second.feed(&bytes[at..]);
            let sum = second.finish();
            prop_assert_eq!(&sum.sha256, &crate::core::manifest::sha256_hex(&bytes));
            prop_assert_eq!(sum, whole.finish());
        }
    }

    #[test]
    fn there_is_nothing_to_write_down_in_the_middle_of_a_word() {
        let mut tally = Tally::default();
        assert_eq!(tally.stand(), None);
        tally.feed(&[b'a'; 63]);
        assert_eq!(tally.stand(), None);
        tally.feed(b"a");
        assert!(tally.stand().is_some());
        assert!(Tally::standing(&[0; STAND_LEN], 63).is_none());
    }
}
