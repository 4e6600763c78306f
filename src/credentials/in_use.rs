//! Identities by their key, so that each has one set of tokens.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{CredentialProblem, Identity};

/// How long an unused identity is kept, with its tokens.
const UNUSED: Duration = Duration::from_secs(2 * 3600);

/// Identities by key; those unused for two hours are dropped.
pub struct InUse<K>(Mutex<HashMap<K, Known>>);

struct Known {
    identity: Arc<Identity>,
    /// Digest of the secret that the identity was created with.
    made_with: Option<[u8; 32]>,
    used: Instant,
}

impl<K> Default for InUse<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> InUse<K> {
    /// The identity of `key`; a new one if it was not created with the secret whose digest is `made_with`.
    pub fn get(
        &self,
        key: K,
        made_with: Option<[u8; 32]>,
        make: impl FnOnce() -> Result<Identity, CredentialProblem>,
    ) -> Result<Arc<Identity>, CredentialProblem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.used.elapsed() < UNUSED);
        if let Some(known) = all.get_mut(&key).filter(|known| known.made_with == made_with) {
            known.used = Instant::now();
            return Ok(known.identity.clone());
        }
        let identity = Arc::new(make()?);
        all.insert(key, Known { identity: identity.clone(), made_with, used: Instant::now() });
        Ok(identity)
    }

    /// Whether the authority rejected the credential of `key` when it was last used.
    pub fn is_refused(&self, key: &K) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).is_some_and(|known| known.identity.is_refused())
    }
}
