//! Counts what was done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How often each kind of fault struck.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, usize>>);

impl Tally {
    /// Counts one.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
