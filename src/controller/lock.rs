//! The locks around what reconciles share with the tasks beside them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, even after a panic while it was held: each value behind such a lock is complete wherever
/// code may panic.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
