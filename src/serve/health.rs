//! The operator's readiness.

use std::sync::{Arc, PoisonError, RwLock};

/// The operator's readiness, shared by its parts. While it is not ready, it holds the reason, which `/readyz`
/// shows.
#[derive(Clone, Debug)]
pub struct Health(Arc<RwLock<Option<String>>>);

impl Health {
    /// Starts as not ready, for the reason `why`.
    pub fn starting(why: &str) -> Self {
        Self(Arc::new(RwLock::new(Some(why.to_string()))))
    }

    /// Marks the operator as not ready, for the reason `why`.
    pub fn not_ready(&self, why: &str) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }

    /// Marks the operator as ready.
    pub fn ready(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The reason why the operator is not ready, or `None` if it is.
    pub fn why_not(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
