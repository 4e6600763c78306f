//! Counts the faults that were injected.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How often each kind of fault was injected.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, usize>>);

impl Tally {
    /// Counts one fault of the kind `what`.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// The counts of all kinds so far.
    pub fn all(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
