//! How often a file was fetched.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counters that bodies still on their way add to.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) whole: AtomicU32,
    pub(crate) ranges: AtomicU32,
    pub(crate) refused: AtomicU32,
    completed: AtomicU32,
    bytes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn read(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

impl Stats {
    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn completed(&self) {
        count(&self.completed);
    }

    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn completions(&self) -> u32 {
        read(&self.completed)
    }
}
