//! A cache of credentials, so that a thousand waiting exports cause one request instead of a thousand.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{CredentialProblem, CredentialSource, Federated};
use crate::api::KeyRef;

/// How long [`CachedSource`] keeps what it has read.
#[derive(Clone, Copy, Debug)]
pub struct CacheTimes {
    /// How long a credential is used before it is read again.
    pub found: Duration,
    /// How long a failed read is remembered before the next one.
    pub missing: Duration,
    /// How recently something must have been read for [`CachedSource::forget`] to keep it, so that many
    /// rejected requests at once cause only one read.
    pub spared: Duration,
}

impl Default for CacheTimes {
    fn default() -> Self {
        Self {
            found: Duration::from_secs(60),
            missing: Duration::from_secs(5),
            spared: Duration::from_secs(1),
        }
    }
}

/// A [`CredentialSource`] that caches another one. Concurrent callers share one read per object.
/// ServiceAccount tokens are not cached here, because the access tokens that they are exchanged for are
/// cached.
pub struct CachedSource {
    inner: Arc<dyn CredentialSource>,
    times: CacheTimes,
    keys: Remembered<(String, KeyRef), SecretString>,
    secrets: Remembered<(String, String), BTreeMap<String, SecretString>>,
    config_maps: Remembered<(String, String, String), String>,
}

impl CachedSource {
    /// Creates an empty cache over `inner`, with the default times.
    pub fn new(inner: Arc<dyn CredentialSource>) -> Self {
        Self::with_times(inner, CacheTimes::default())
    }

    /// Creates an empty cache over `inner`, with the given times.
    pub fn with_times(inner: Arc<dyn CredentialSource>, times: CacheTimes) -> Self {
        Self {
            inner,
            times,
            keys: Remembered::default(),
            secrets: Remembered::default(),
            config_maps: Remembered::default(),
        }
    }

    /// Drops the Secret `name` from the cache, because a server rejected its content. The next use reads it
    /// again.
    pub async fn forget(&self, namespace: &str, name: &str) {
        let spared = self.times.spared;
        self.keys.forget(|(ns, key)| ns == namespace && key.name == name, spared).await;
        self.secrets.forget(|(ns, secret)| ns == namespace && secret == name, spared).await;
    }
}

#[async_trait]
impl CredentialSource for CachedSource {
    async fn secret_key(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem> {
        let at = (namespace.to_owned(), key.clone());
        self.keys.get(at, self.times, || self.inner.secret_key(namespace, key)).await
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        let at = (namespace.to_owned(), name.to_owned());
        self.secrets.get(at, self.times, || self.inner.secret(namespace, name)).await
    }

    async fn config_map_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<String, CredentialProblem> {
        let at = (namespace.to_owned(), name.to_owned(), key.to_owned());
        self.config_maps.get(at, self.times, || self.inner.config_map_key(namespace, name, key)).await
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        of: &Federated,
    ) -> Result<SecretString, CredentialProblem> {
        self.inner.service_account_token(namespace, name, of).await
    }
}

/// The number of entries above which expired ones are dropped.
const MANY: usize = 1024;

struct Read<V> {
    at: Instant,
    result: Result<V, CredentialProblem>,
}

impl<V> Read<V> {
    fn is_current(&self, times: CacheTimes) -> bool {
        let good_for = if self.result.is_ok() { times.found } else { times.missing };
        self.at.elapsed() < good_for
    }
}

/// A cached credential. Its lock is held during a read, so that concurrent callers share that read.
type Slot<V> = Arc<tokio::sync::Mutex<Option<Read<V>>>>;

struct Remembered<K, V>(Mutex<HashMap<K, Slot<V>>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn slot(&self, key: K, times: CacheTimes) -> Slot<V> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MANY && !slots.contains_key(&key) {
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(read) => read.as_ref().is_some_and(|read| read.is_current(times)),
                Err(_) => true,
            });
        }
        slots.entry(key).or_default().clone()
    }

    async fn get<F, R>(&self, key: K, times: CacheTimes, read: F) -> Result<V, CredentialProblem>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<V, CredentialProblem>>,
    {
        let slot = self.slot(key, times);
        let mut slot = slot.lock().await;
        if let Some(known) = slot.as_ref().filter(|known| known.is_current(times)) {
            return known.result.clone();
        }
        let result = read().await;
        *slot = Some(Read { at: Instant::now(), result: result.clone() });
        result
    }

    async fn forget(&self, concerns: impl Fn(&K) -> bool, spared: Duration) {
        let concerned: Vec<Slot<V>> = {
            let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().filter(|(key, _)| concerns(key)).map(|(_, slot)| slot.clone()).collect()
        };
        for slot in concerned {
            slot.lock().await.take_if(|read| read.at.elapsed() >= spared);
        }
    }
}
