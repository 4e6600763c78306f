//! Tasks that run beside the reconciles.

/// Ends a task at its next await point.
pub type EndTask = Box<dyn FnOnce() + Send>;
