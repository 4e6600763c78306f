//! The locks of what reconciles and the tasks beside them share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock also after a panic: each value behind such a lock is complete whenever a panic may come.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
