//! Whether the operator lives, and whether it is ready.

use std::sync::{Arc, PoisonError, RwLock};

/// Why the operator is not ready, as `/readyz` tells it.
#[derive(Clone, Debug)]
pub struct Health(Arc<RwLock<Option<String>>>);

impl Health {
    /// Not ready, for this reason.
    pub fn starting(why: &str) -> Self {
        Self(Arc::new(RwLock::new(Some(why.to_string()))))
    }

    /// Not ready, for this reason.
    pub fn not_ready(&self, why: &str) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }

    /// Ready.
    pub fn ready(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why not, if not.
    pub fn why_not(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
