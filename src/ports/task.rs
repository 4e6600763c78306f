//! Tasks that run beside the reconciles.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// Ends a task at its next await point.
pub type EndTask = Box<dyn FnOnce() + Send>;

/// The tasks that work for one object beside its reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportTask {
    /// Copies the files of a Bulk Data server into the container.
    Landing,
    /// Checks the files that an Azure server wrote.
    Verification,
    /// Sends a request of an export.
    Request,
    /// Probes a FhirServer.
    Probe,
}

/// A task ended by a panic. The panic hook has written its message to the process's stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs a task to its end, and returns a panic in it as an error. State that the task shares with others must
/// be consistent at each of its await points.
pub async fn guarded<T>(task: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|_| Panicked)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_wherever_it_happens() {
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        assert_eq!(guarded::<()>(async { panic!("at once") }).await, Err(Panicked));
        let later = async {
            tokio::task::yield_now().await;
            panic!("after an await")
        };
        assert_eq!(guarded::<()>(later).await, Err(Panicked));
    }
}
