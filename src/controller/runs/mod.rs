//! In-memory state of runs between two reconciles: back-off, places, seats, claims, probes, and tasks beside the
//! reconcile. A restart loses it; status holds everything that must not be lost.

mod beside;
mod claims;
mod part_memory;
mod places;
mod probes;
mod versions;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

pub(super) use self::beside::{Beside, tell};
use self::claims::JobClaims;
pub(super) use self::part_memory::{Part, PartMemory};
use self::places::Places;
use self::probes::Probes;
pub(super) use self::probes::Probing;
use self::versions::{newer, uid_of};
use super::listings::Listings;
use super::lock::locked;
use crate::api::{FhirExport, FhirExportStatus};
use crate::core::effect::{Note, Observation};
use crate::core::export::Memory;
use crate::core::landing::LandState;
use crate::core::ledger::Verification;
use crate::core::seats::{Caller, Lane, SeatLimits, Seats};

/// In-memory state of all runs.
#[derive(Default)]
pub struct Runs {
    inner: Mutex<Inner>,
    listings: Listings,
    claims: JobClaims,
    probes: Probes,
    parts: PartMemory,
    /// Notified when no answer to a request is outstanding any more.
    settled: Notify,
}

#[derive(Default)]
struct Inner {
    runs: HashMap<String, Box<Run>>,
    places: Places,
    /// The seats for requests: who holds one, and who waits.
    seats: Seats,
    /// Uids of runs with a request whose answer must be written before the operator stops.
    owed: HashSet<String>,
}

/// The state in which a look at a run stopped, and with which the next one continues.
#[derive(Default)]
pub(super) struct Kept {
    /// The memory that decisions use.
    pub(super) memory: Memory,
    /// An observation that is not in the status yet. It is processed before anything else.
    pub(super) seen: Option<Observation>,
    /// What was decided and is not written yet, because the next effect only reads.
    pub(super) unwritten: Option<Box<Unwritten>>,
}

/// A status that was decided and is not written yet.
pub(super) struct Unwritten {
    /// The resource version that the decision was made on.
    pub(super) version: Option<String>,
    /// The status to write.
    pub(super) status: FhirExportStatus,
    /// The events to publish after it is written.
    pub(super) notes: Vec<Note>,
    /// Effects since the run last came to rest.
    pub(super) effects: usize,
}

#[derive(Default)]
struct Run {
    kept: Kept,
    /// Whether a request of the run is on its way. Nothing is decided about the run before its answer comes.
    out: bool,
    /// The object that this process wrote last, or read after a conflict. The watch may lag behind it.
    written: Option<Arc<FhirExport>>,
    /// Whether the watch has shown what was written, or something newer. Then `written` is the copy of the store.
    caught_up: bool,
    /// Whether the run has ended. Then only `written` is kept, until the watch shows it.
    ended: bool,
    verification: Option<Beside<Verification>>,
    landing: Option<Beside<LandState>>,
}

impl Runs {
    /// Creates empty state with these limits of seats.
    pub fn with_seats(limits: SeatLimits) -> Self {
        let inner = Inner { seats: Seats::new(limits), ..Inner::default() };
        Self { inner: Mutex::new(inner), ..Self::default() }
    }

    /// The newer of the object that the watch shows and the one that this process wrote.
    pub fn newest(&self, seen: &Arc<FhirExport>) -> Arc<FhirExport> {
        let mut inner = locked(&self.inner);
        let uid = uid_of(seen);
        let Some(run) = inner.runs.get(&uid) else { return seen.clone() };
        let newest = Arc::clone(newer(seen, run.written.as_ref()));
        if run.ended && Arc::ptr_eq(&newest, seen) {
            inner.runs.remove(&uid);
        }
        newest
    }

    /// The listings of group members that run beside the reconciles.
    pub(super) fn listings(&self) -> &Listings {
        &self.listings
    }

    /// The claims of runs to jobs.
    pub(super) fn claims(&self) -> &JobClaims {
        &self.claims
    }

    /// The probes of the servers.
    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The memory for parts of files that are landed.
    pub(super) fn part_memory(&self) -> &PartMemory {
        &self.parts
    }

    /// Takes the state of a run out. The caller must give it back with [`Self::keep`] or [`Self::goes_out`].
    /// Returns `None` while a request of the run is on its way.
    pub(super) fn recall(&self, uid: &str) -> Option<Kept> {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        (!run.out).then(|| std::mem::take(&mut run.kept))
    }

    /// Stores the state of a run. `owes` tells whether it holds an answer that must be written before the
    /// operator stops.
    pub(super) fn keep(&self, uid: &str, kept: Kept, owes: bool) {
        let mut inner = locked(&self.inner);
        inner.runs.entry(uid.to_owned()).or_default().kept = kept;
        self.settle(&mut inner, uid, owes);
    }

    /// Stores the state of a run whose request is about to be sent. Until [`Self::answered`],
    /// [`Self::recall`] returns `None`.
    pub(super) fn goes_out(&self, uid: &str, kept: Kept, owes: bool) {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        run.kept = kept;
        run.out = true;
        self.settle(&mut inner, uid, owes);
    }

    /// Stores the observation of a request for the next look, or `None` if the request panicked. If the run
    /// is gone, frees its seat, and returns the callers that got one and must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn answered(&self, uid: &str, seen: Option<Observation>) -> Vec<Caller> {
        let mut inner = locked(&self.inner);
        match inner.runs.get_mut(uid) {
            Some(run) => {
                run.out = false;
                run.kept.seen = seen;
                Vec::new()
            }
            None => inner.seats.leave(uid),
        }
    }

    fn settle(&self, inner: &mut Inner, uid: &str, owes: bool) {
        if owes {
            inner.owed.insert(uid.to_owned());
        } else if inner.owed.remove(uid) && inner.owed.is_empty() {
            self.settled.notify_waiters();
        }
    }

    /// Whether an answer to a request of this run must still be written before the operator stops.
    pub fn owes(&self, uid: &str) -> bool {
        locked(&self.inner).owed.contains(uid)
    }

    /// Whether no answer is left that must be written before the operator stops.
    pub fn is_settled(&self) -> bool {
        locked(&self.inner).owed.is_empty()
    }

    /// Holds back all further requests, because the operator was told to stop.
    pub fn stop(&self) {
        locked(&self.inner).seats.close();
    }

    /// Waits until no answer is left that must be written before the operator stops.
    pub async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if self.is_settled() {
                return;
            }
            settled.await;
        }
    }

    /// Gives `caller` a seat in `lane`. Returns false if it must wait; it is woken when it gets one. Also
    /// returns the callers that got a seat that became free, and that must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn take_seat(&self, caller: &Caller, lane: &Lane) -> (bool, Vec<Caller>) {
        locked(&self.inner).seats.take(caller, lane)
    }

    /// Takes a seat back. Returns the callers that got one and must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn leave_seat(&self, uid: &str) -> Vec<Caller> {
        locked(&self.inner).seats.leave(uid)
    }

    /// How many requests wait for a seat.
    pub fn waiting_requests(&self) -> usize {
        locked(&self.inner).seats.waiting()
    }

    /// Records an object as the API server has it: this process wrote it, or read it after a conflict. It
    /// replaces an earlier one even if that has a higher resource version: after a restore of etcd, versions
    /// are lower.
    pub(super) fn wrote(&self, object: &FhirExport) {
        let mut inner = locked(&self.inner);
        let uid = uid_of(object);
        let run = inner.runs.entry(uid.clone()).or_default();
        run.written = Some(Arc::new(object.clone()));
        run.caught_up = false;
        inner.restand(&uid);
    }

    /// Drops the state of a run that has ended, and ends its tasks. Its last written object is kept until the
    /// watch shows it, because acting on an earlier status would repeat what was done. Returns the callers
    /// that must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn ended(&self, uid: &str) -> Vec<Caller> {
        let mut inner = locked(&self.inner);
        let known = inner.runs.get(uid).map(|run| (run.written.clone(), run.caught_up));
        let seated = self.forget_in(&mut inner, uid);
        if let Some((written, caught_up)) = known.filter(|(written, _)| written.is_some()) {
            let run = Run { written, caught_up, ended: true, ..Run::default() };
            inner.runs.insert(uid.to_owned(), Box::new(run));
            inner.restand(uid);
        }
        seated
    }

    /// Drops the state of a run that was deleted, and ends its tasks. A request that is on its way keeps its
    /// seat until its answer comes. Returns the callers that got a seat and must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn forget(&self, uid: &str) -> Vec<Caller> {
        self.forget_in(&mut locked(&self.inner), uid)
    }

    fn forget_in(&self, inner: &mut Inner, uid: &str) -> Vec<Caller> {
        let run = inner.runs.remove(uid);
        inner.drop_place(uid);
        self.settle(inner, uid, false);
        let Some(mut run) = run else { return Vec::new() };
        Beside::end(&mut run.verification);
        Beside::end(&mut run.landing);
        if run.out { Vec::new() } else { inner.seats.leave(uid) }
    }

    /// Drops the state of all runs and servers that no longer exist. Call it from time to time, because the
    /// watch does not show every deletion. Returns the callers that got a seat and must be woken.
    #[must_use = "whoever got a seat has to be woken"]
    pub(super) fn retain(&self, alive: impl Fn(&str) -> bool) -> Vec<Caller> {
        let gone: Vec<String> = {
            let inner = locked(&self.inner);
            let known = inner.runs.keys().chain(inner.places.held());
            known.filter(|uid| !alive(uid)).cloned().collect()
        };
        let mut seated = Vec::new();
        for uid in &gone {
            seated.extend(self.forget(uid));
        }
        self.listings.retain(&alive);
        self.claims.retain(&alive);
        self.probes.retain(&alive);
        let mut inner = locked(&self.inner);
        // The watch has shown the end, so no look needs the written object any more.
        inner.runs.retain(|_, run| !(run.ended && run.caught_up));
        inner.places.retain(alive);
        seated
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "footprint_tests.rs"]
mod footprint;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::versions::version;
    use super::*;

    fn export(version: &str) -> Arc<FhirExport> {
        let object = json!({
            "metadata": { "name": "one", "uid": "u", "resourceVersion": version },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn an_end_is_remembered_until_the_watch_shows_it() {
        let runs = Runs::default();
        runs.wrote(&export("7"));
        let _ = runs.ended("u");
        for seen in ["3", "6"] {
            assert_eq!(version(&runs.newest(&export(seen))), 7);
        }
        // Another reconcile takes place in between.
        let _ = runs.recall("u");
        let _ = runs.ended("u");
        assert_eq!(version(&runs.newest(&export("6"))), 7);
        assert_eq!(version(&runs.newest(&export("8"))), 8);
        assert!(locked(&runs.inner).runs.is_empty());
        // Nothing is kept of a run that this process did not write.
        let _ = runs.recall("u");
        let _ = runs.ended("u");
        assert!(locked(&runs.inner).runs.is_empty());
    }
}
