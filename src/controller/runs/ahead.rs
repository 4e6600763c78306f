//! The bound on the memory for parts that are on their way to the store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes that may be on their way to the store while more is read, over all files that are landed.
/// They come on top of one part for each file.
const READ_AHEAD: usize = 16 << 20;
/// The unit in which [`READ_AHEAD`] is counted, in bytes.
const UNIT: usize = 1 << 10;

/// The memory for reading ahead: while a part is stored, the next one is read only if there is room for it.
pub(in crate::controller) struct ReadAhead(Arc<Semaphore>);

impl Default for ReadAhead {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READ_AHEAD / UNIT)))
    }
}

impl ReadAhead {
    /// Returns the same bytes, which hold their share of the memory until the last copy of them is dropped.
    /// If there is no room now, returns the bytes unchanged as the error.
    pub(in crate::controller) fn hold(&self, bytes: Bytes) -> Result<Bytes, Bytes> {
        let units = u32::try_from(bytes.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        match Arc::clone(&self.0).try_acquire_many_owned(units) {
            Ok(room) => Ok(Bytes::from_owner(Held { bytes, _room: room })),
            Err(_) => Err(bytes),
        }
    }
}

struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let ahead = ReadAhead::default();
        let part = Bytes::from(vec![7; 4 << 20]);
        let mut held: Vec<_> = (0..4).map(|_| ahead.hold(part.clone()).unwrap()).collect();
        assert_eq!(ahead.hold(Bytes::from_static(b"x")).unwrap_err(), "x", "4 parts of 4 MiB are all");
        let copy = held.pop();
        drop(held.pop());
        assert!(ahead.hold(part.clone()).is_ok_and(|held| held == part));
        drop(copy);
    }
}
