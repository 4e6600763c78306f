//! Bounds on concurrent downloads: a fair share for each server, and a minimum rate while others wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use tokio::sync::oneshot;

use crate::api::FhirServer;

/// The most files of one server that are downloaded at once, unless its `limits.maxParallelDownloads` says otherwise.
const PARALLEL: usize = 8;
/// The rate below which a download is broken off while another server waits.
const MIN_BYTES_PER_SECOND: u64 = 4 << 10;
/// The time over which the rate is measured. Only the time that the operator spends waiting for the server counts.
const MEASURED_OVER: Duration = Duration::from_secs(30);

/// Bounds on concurrent downloads: one for the whole operator, and one for each server.
#[derive(Clone)]
pub struct DownloadLimits(Arc<Inner>);

struct Inner {
    all: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of downloads of each server, by its uid.
    running: HashMap<String, usize>,
    total: usize,
    waiting: VecDeque<Waiter>,
}

/// A download that waits for its turn.
struct Waiter {
    server: String,
    /// The most downloads that its server may have.
    limit: usize,
    admit: oneshot::Sender<DownloadPermit>,
}

/// Permission for one download. Dropping it lets the next download start.
pub struct DownloadPermit {
    limits: DownloadLimits,
    server: String,
    /// The bytes since the rate was last measured, and the time that the server took for them.
    measured: (u64, Duration),
}

impl State {
    fn running(&self, server: &str) -> usize {
        self.running.get(server).copied().unwrap_or(0)
    }

    /// The next download that may start: of the servers that may have one more, that of the server with the
    /// fewest downloads, and among its downloads the one that came first.
    fn next(&mut self, all: usize) -> Option<Waiter> {
        if self.total >= all {
            return None;
        }
        let open = self.waiting.iter().enumerate();
        let open = open.filter(|(_, waiter)| self.running(&waiter.server) < waiter.limit);
        let (next, _) = open.min_by_key(|(nth, waiter)| (self.running(&waiter.server), *nth))?;
        let waiter = self.waiting.remove(next)?;
        *self.running.entry(waiter.server.clone()).or_default() += 1;
        self.total += 1;
        Some(waiter)
    }
}

impl DownloadLimits {
    /// Bounds concurrent downloads of the whole operator to `all`, at least 1.
    pub fn new(all: usize) -> Self {
        Self(Arc::new(Inner { all: all.max(1), state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most downloads that one server may have: a quarter of all, and at least one, is left to other servers.
    fn share(&self) -> usize {
        self.0.all.saturating_sub((self.0.all / 4).max(1)).max(1)
    }

    /// Waits until the server's bound and the operator's bound both admit another download. `None` if the
    /// operator is ending, or the server was deleted meanwhile.
    pub async fn take(&self, server: &FhirServer) -> Option<DownloadPermit> {
        let set = server.spec.limits.as_ref().and_then(|limits| limits.max_parallel_downloads);
        let limit = set.and_then(|n| usize::try_from(n).ok()).unwrap_or(PARALLEL).max(1);
        let (admit, admitted) = oneshot::channel();
        let waiter =
            Waiter { server: server.uid().unwrap_or_default(), limit: limit.min(self.share()), admit };
        self.state().waiting.push_back(waiter);
        self.admit();
        admitted.await.ok()
    }

    /// Starts as many of the waiting downloads as may start.
    fn admit(&self) {
        loop {
            let Some(Waiter { server, admit, .. }) = self.state().next(self.0.all) else { return };
            let permit = DownloadPermit { limits: self.clone(), server, measured: Default::default() };
            // If the download no longer waits, its permit comes back in the error and is released here.
            drop(admit.send(permit));
        }
    }

    /// Ends the waits of downloads from a server that was deleted.
    pub fn forget(&self, uid: &str) {
        self.state().waiting.retain(|waiter| waiter.server != uid);
    }
}

impl DownloadPermit {
    /// Records that the server took `waited` to send `bytes`. Returns false if the download is so slow that
    /// it must not keep others waiting: it has to be broken off, and continues later.
    pub fn keeps_pace(&mut self, bytes: usize, waited: Duration) -> bool {
        let (sum, took) = &mut self.measured;
        *sum = sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        *took += waited;
        if *took < MEASURED_OVER {
            return true;
        }
        let (sum, took) = std::mem::take(&mut self.measured);
        sum / took.as_secs().max(1) >= MIN_BYTES_PER_SECOND || !self.others_wait()
    }

    /// Whether a download of another server waits only because the operator's bound is reached.
    fn others_wait(&self) -> bool {
        let state = self.limits.state();
        let lacks_room = |waiter: &Waiter| {
            waiter.server != self.server
                && !waiter.admit.is_closed()
                && state.running(&waiter.server) < waiter.limit
        };
        state.waiting.iter().any(lacks_room)
    }
}

impl Drop for DownloadPermit {
    fn drop(&mut self) {
        {
            let mut state = self.limits.state();
            state.total = state.total.saturating_sub(1);
            if let Some(running) = state.running.get_mut(&self.server) {
                *running -= 1;
                if *running == 0 {
                    state.running.remove(&self.server);
                }
            }
        }
        self.limits.admit();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;

    fn server(uid: &str, parallel: Option<i32>) -> FhirServer {
        let limits = parallel.map(|parallel| json!({ "maxParallelDownloads": parallel }));
        serde_json::from_value(json!({
            "metadata": { "name": uid, "uid": uid },
            "spec": {
                "url": "https://x.example", "dialect": "BulkData", "auth": { "type": "None" }, "limits": limits,
            },
        }))
        .unwrap()
    }

    fn at_once(limits: &DownloadLimits, server: &FhirServer) -> Option<DownloadPermit> {
        limits.take(server).now_or_never().flatten()
    }

    #[test]
    fn one_server_leaves_room_for_others() {
        let limits = DownloadLimits::new(2);
        let (slow, other) = (server("slow", Some(16)), server("other", None));
        let first = at_once(&limits, &slow).unwrap();
        assert!(at_once(&limits, &slow).is_none(), "it may not have all");
        assert!(at_once(&limits, &other).is_some());
        drop(first);
        assert!(at_once(&limits, &slow).is_some());
        // With a single place, the place goes to any server that wants it.
        assert!(at_once(&DownloadLimits::new(1), &slow).is_some());
    }

    #[tokio::test]
    async fn the_server_with_the_fewest_downloads_is_next() {
        let limits = DownloadLimits::new(4);
        let (many, few) = (server("many", Some(16)), server("few", None));
        let mut running: Vec<_> = (0..3).map(|_| at_once(&limits, &many).unwrap()).collect();
        running.push(at_once(&limits, &server("third", None)).unwrap());
        let mut first = Box::pin(limits.take(&many));
        let mut second = Box::pin(limits.take(&few));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(running.pop());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.await.is_some());
        drop(running);
        assert!(first.await.is_some());
        let state = limits.state();
        assert_eq!((state.total, state.running.len(), state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn whoever_does_not_wait_any_more_takes_no_place() {
        let limits = DownloadLimits::new(1);
        let (one, two) = (server("one", None), server("two", None));
        let held = at_once(&limits, &one).unwrap();
        assert!(at_once(&limits, &two).is_none(), "given up at once");
        drop(held);
        assert!(at_once(&limits, &one).is_some());
    }

    #[tokio::test]
    async fn a_download_that_trickles_is_broken_off_while_another_server_waits() {
        let limits = DownloadLimits::new(1);
        let slow = server("slow", None);
        let mut trickling = at_once(&limits, &slow).unwrap();
        assert!(trickling.keeps_pace(1, Duration::from_secs(59)), "nobody waits");
        let mut same = Box::pin(limits.take(&slow));
        assert!(same.as_mut().now_or_never().is_none());
        assert!(trickling.keeps_pace(1, Duration::from_secs(59)), "only files of the same server wait");
        let other = server("other", None);
        let mut waits = Box::pin(limits.take(&other));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(trickling.keeps_pace(200 << 10, Duration::from_secs(31)), "fast enough");
        assert!(trickling.keeps_pace(1, Duration::from_secs(29)), "too early to tell");
        assert!(!trickling.keeps_pace(1, Duration::from_secs(1)));
    }
}
