//! The places for downloads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::FhirServer;

/// Files of one server that are downloaded at once, unless its owner sets `limits.maxParallelDownloads`.
const PARALLEL: usize = 8;

/// The places for downloads: those of the operator, and those of each server.
pub struct Places {
    all: Arc<Semaphore>,
    servers: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
}

/// One place of the operator and one of a server. Dropping the permit gives both back.
pub struct Permit {
    _of_server: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// At most `all` downloads at once, and at least one.
    pub fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all.max(1))), servers: Mutex::default() }
    }

    /// Waits for a place of this server and one of the operator. Absent only when the operator ends.
    pub async fn take(&self, server: &FhirServer) -> Option<Permit> {
        let set = server.spec.limits.as_ref().and_then(|limits| limits.max_parallel_downloads);
        let limit = set.and_then(|n| usize::try_from(n).ok()).unwrap_or(PARALLEL).max(1);
        let of_server = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            let uid = server.uid().unwrap_or_default();
            let known = servers.entry(uid).or_insert_with(|| (limit, Arc::new(Semaphore::new(limit))));
            if known.0 != limit {
                *known = (limit, Arc::new(Semaphore::new(limit)));
            }
            Arc::clone(&known.1)
        };
        // The narrower one first: who waits for it takes no place of others. Neither is ever closed.
        let of_server = of_server.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Permit { _of_server: of_server, _of_all: of_all })
    }

    /// Forgets the places of a server that is gone.
    pub fn forget(&self, uid: &str) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
