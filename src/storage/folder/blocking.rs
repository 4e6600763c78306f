//! File operations, off the threads that must not block.

use crate::core::ledger::StorageFailure;

/// Runs file operations on a thread where they may block.
pub(super) async fn blocking<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T, StorageFailure> + Send + 'static,
) -> Result<T, StorageFailure> {
    tokio::task::spawn_blocking(operation).await.unwrap_or_else(|_| {
        Err(StorageFailure::transient("a file operation was broken off; it is tried again".to_owned()))
    })
}
