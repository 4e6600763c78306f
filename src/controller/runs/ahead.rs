//! The memory for reading files ahead of the store.

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many bytes may be read ahead, over all files that are landed. It comes on top of one part for each file.
const READ_AHEAD: usize = 16 << 20;
/// The unit in which they are counted, in bytes.
const UNIT: usize = 1 << 10;

/// The memory for reading ahead: while a part is stored, the next one is read only if there is room for it.
pub(in crate::controller) struct ReadAhead(Semaphore);

impl Default for ReadAhead {
    fn default() -> Self {
        Self(Semaphore::new(READ_AHEAD / UNIT))
    }
}

impl ReadAhead {
    /// Room for `bytes` until the permit is dropped; `None` if there is none now.
    pub(in crate::controller) fn take(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire_many(u32::try_from(bytes.div_ceil(UNIT)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let ahead = ReadAhead::default();
        let mut taken: Vec<_> = (0..4).map(|_| ahead.take(4 << 20)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(ahead.take(1).is_none(), "4 parts of 4 MiB are all");
        taken.pop();
        assert!(ahead.take(4 << 20).is_some());
    }
}
