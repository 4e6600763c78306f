//! Bounds on concurrent downloads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::FhirServer;

/// How many files of one server are downloaded at once, unless its `limits.maxParallelDownloads` says otherwise.
const PARALLEL: usize = 8;

/// Bounds on concurrent downloads: one for the whole operator, and one for each server.
pub struct DownloadLimits {
    all: Arc<Semaphore>,
    servers: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
}

/// Permission for one download. Dropping it lets the next download start.
pub struct DownloadPermit {
    _of_server: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl DownloadLimits {
    /// Bounds concurrent downloads of the whole operator to `all`, at least 1.
    pub fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all.max(1))), servers: Mutex::default() }
    }

    /// Waits until the server's bound and the operator's bound both admit another download. `None` only if the operator
    /// is ending.
    pub async fn take(&self, server: &FhirServer) -> Option<DownloadPermit> {
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
        // The server's own bound comes first: whoever waits for it takes nothing away from other servers. Neither
        // semaphore is ever closed.
        let of_server = of_server.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(DownloadPermit { _of_server: of_server, _of_all: of_all })
    }

    /// Drops the bound of a server that was deleted.
    pub fn forget(&self, uid: &str) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
