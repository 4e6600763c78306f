//! The memory for parts of files: used again from part to part, and bounded for those that are on their way to the
//! store.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes that may be on their way to the store while more is read, over all files that are landed.
/// They come on top of one part for each file.
const READ_AHEAD: usize = 16 << 20;
/// The unit in which [`READ_AHEAD`] is counted, in bytes.
const UNIT: usize = 1 << 10;
/// A part up to this length in bytes has memory of its own, which grows with it. A longer one gets the memory of a
/// whole part at once.
const SMALL: usize = 256 << 10;

/// The memory for parts, shared by all files that are landed.
pub(in crate::controller) struct PartMemory {
    ahead: Arc<Semaphore>,
    spare: Mutex<Weak<Spare>>,
}

/// Memory of whole parts that is not used now. The kernel clears new memory page by page, which takes CPU time, so
/// a part that was stored leaves its memory to another one. There is at most as much spare memory as parts use now,
/// and all of it is freed when no part uses any.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Default for PartMemory {
    fn default() -> Self {
        Self { ahead: Arc::new(Semaphore::new(READ_AHEAD / UNIT)), spare: Mutex::default() }
    }
}

impl PartMemory {
    /// Returns the same bytes, which hold their share of the memory for reading ahead until the last copy of them is
    /// dropped. If there is no room now, returns the bytes unchanged as the error.
    pub(in crate::controller) fn hold(&self, bytes: Bytes) -> Result<Bytes, Bytes> {
        let units = u32::try_from(bytes.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        match Arc::clone(&self.ahead).try_acquire_many_owned(units) {
            Ok(room) => Ok(Bytes::from_owner(Held { bytes, _room: room })),
            Err(_) => Err(bytes),
        }
    }

    fn spare(&self) -> Arc<Spare> {
        let mut shared = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let spare = Arc::default();
            *shared = Arc::downgrade(&spare);
            spare
        })
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

/// A part that is being read.
#[derive(Default)]
pub(in crate::controller) struct Part {
    bytes: Vec<u8>,
    /// Where the memory goes after use, if it is that of a whole part.
    spare: Option<Arc<Spare>>,
}

impl Part {
    /// The number of bytes so far.
    pub(in crate::controller) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the next bytes of a part that holds at most `whole` bytes.
    pub(in crate::controller) fn push(&mut self, bytes: &[u8], whole: usize, memory: &PartMemory) {
        let length = self.bytes.len() + bytes.len();
        if length > self.bytes.capacity() {
            if length > SMALL && self.spare.is_none() {
                let spare = memory.spare();
                let mut larger = spare.take();
                larger.reserve_exact(whole);
                larger.append(&mut self.bytes);
                (self.bytes, self.spare) = (larger, Some(spare));
            } else {
                self.bytes.reserve(bytes.len());
            }
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the part out, and leaves an empty one.
    pub(in crate::controller) fn take(&mut self) -> Bytes {
        Bytes::from_owner(std::mem::take(self))
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            // Each part in use holds one reference.
            spare.put(std::mem::take(&mut self.bytes), Arc::strong_count(&spare) - 1);
        }
    }
}

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps the memory of a part that was stored, and the memory of at most `most` parts in all.
    fn put(&self, mut memory: Vec<u8>, most: usize) {
        memory.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(memory);
        spare.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_bounded() {
        let memory = PartMemory::default();
        let part = Bytes::from(vec![7; 4 << 20]);
        let mut held: Vec<_> = (0..4).map(|_| memory.hold(part.clone()).unwrap()).collect();
        assert_eq!(memory.hold(Bytes::from_static(b"x")).unwrap_err(), "x", "4 parts of 4 MiB are all");
        let copy = held.pop();
        drop(held.pop());
        assert!(memory.hold(part.clone()).is_ok_and(|held| held == part));
        drop(copy);
    }

    #[test]
    fn a_part_that_was_stored_leaves_its_memory_to_the_next_one() {
        let memory = PartMemory::default();
        let (mut one, mut other) = (Part::default(), Part::default());
        let piece = vec![7; 300 << 10];
        one.push(&piece[..10], 1 << 20, &memory);
        assert!(one.spare.is_none(), "a short part needs no memory of a whole one");
        one.push(&piece, 1 << 20, &memory);
        assert_eq!((one.len(), one.bytes.capacity()), (10 + piece.len(), 1 << 20));
        other.push(&piece, 1 << 20, &memory);
        let first = one.take();
        let address = first.as_ptr();
        assert_eq!((first.as_ref(), one.len()), ([&piece[..10], &piece[..]].concat().as_slice(), 0));
        drop(first);
        one.push(&piece, 1 << 20, &memory);
        assert_eq!((one.bytes.as_ptr(), one.bytes.capacity()), (address, 1 << 20));
        assert_eq!(one.take(), other.take(), "nothing of what was there before is left");
        assert!(memory.spare.lock().unwrap().upgrade().is_none(), "no part is left, so the memory is free");
    }

    #[test]
    fn no_more_memory_is_spare_than_is_in_use() {
        let memory = PartMemory::default();
        let mut parts: Vec<Part> = (0..5).map(|_| Part::default()).collect();
        for part in &mut parts {
            part.push(&vec![7; 300 << 10], 1 << 20, &memory);
        }
        let spare = memory.spare();
        let kept: Vec<usize> = (0..5)
            .map(|_| {
                parts.pop();
                spare.0.lock().unwrap().len()
            })
            .collect();
        // The reference of this test counts as a part in use.
        assert_eq!(kept, [1, 2, 3, 2, 1]);
    }
}
