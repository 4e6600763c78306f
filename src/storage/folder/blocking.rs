//! Runs file operations off the threads that must not block.

use crate::core::ledger::StorageFailure;

/// Runs a file operation on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T, StorageFailure> + Send + 'static,
) -> Result<T, StorageFailure> {
    tokio::task::spawn_blocking(operation).await.unwrap_or_else(|_| {
        Err(StorageFailure::transient("a file operation was broken off; it is tried again".to_owned()))
    })
}
