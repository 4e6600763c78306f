//! In-memory state of runs between two reconciles: back-off, places, claims, and tasks beside the reconcile. A
//! restart loses it; status holds everything that must not be lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::listings::Listings;
use crate::api::FhirExport;
use crate::core::admission::Served;
use crate::core::effect::Observation;
use crate::core::export::Memory;
use crate::core::landing::Landing;
use crate::core::ledger::Verification;
use crate::ports::EndTask;

/// How many of the most recent claims are kept even if their runs are gone.
const MAX_CLAIMS: u64 = 10_000;

/// In-memory state of all runs.
#[derive(Default)]
pub struct Runs {
    inner: Mutex<Inner>,
    listings: Listings,
}

#[derive(Default)]
struct Inner {
    runs: HashMap<String, Run>,
    /// Uids of runs that hold a place, although the watch may not show it yet.
    places: HashSet<String>,
    /// The run that a job belongs to and the number of that claim, by server URL and job id.
    claims: HashMap<(String, String), (String, u64)>,
    /// How many claims there were.
    claimed: u64,
    /// The last probe of each server, by uid: its generation, when it was probed, and when it is due again.
    probes: HashMap<String, (i64, Timestamp, Timestamp)>,
    /// When an export of each namespace last got a place on a server, by the server's uid. It is kept here
    /// because deleting exports would hide it.
    served: HashMap<String, Served>,
}

#[derive(Default)]
struct Run {
    memory: Memory,
    /// An observation whose status could not be written. It is processed again before anything else.
    unsaved: Option<Observation>,
    /// The object that this process wrote last; the watch may lag behind it.
    written: Option<Arc<FhirExport>>,
    /// The run has ended: only `written` is kept, until the watch shows it.
    ended: bool,
    verification: Option<Beside<Verification>>,
    landing: Option<Beside<Landing>>,
}

/// A task that runs beside the reconcile.
pub(super) struct Beside<T> {
    /// The attempt that the task belongs to.
    pub(super) attempt: i32,
    /// The progress or result of the task.
    pub(super) state: Arc<Mutex<T>>,
    /// Ends the task.
    pub(super) end: EndTask,
}

impl<T: Clone> Beside<T> {
    /// The state of the task of `attempt`. A task that has ended is removed; one of another attempt is ended.
    fn look(slot: &mut Option<Self>, attempt: i32, runs: impl Fn(&T) -> bool) -> Option<T> {
        let beside = slot.take()?;
        if beside.attempt != attempt {
            (beside.end)();
            return None;
        }
        let state = locked(&beside.state).clone();
        if runs(&state) {
            *slot = Some(beside);
        }
        Some(state)
    }

    fn end(slot: &mut Option<Self>) {
        if let Some(beside) = slot.take() {
            (beside.end)();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves values that are each complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The resource version as a number. Resource versions of one resource increase (guaranteed by Kubernetes
/// 1.35 and later).
fn version(object: &FhirExport) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn uid_of(object: &FhirExport) -> String {
    object.uid().unwrap_or_default()
}

impl Runs {
    /// The newer of the object that the watch shows and the one that this process wrote.
    pub fn newest(&self, seen: &Arc<FhirExport>) -> Arc<FhirExport> {
        let mut inner = locked(&self.inner);
        let uid = uid_of(seen);
        let Some(run) = inner.runs.get(&uid) else { return seen.clone() };
        if let Some(written) = run.written.as_ref().filter(|w| version(w) > version(seen)) {
            return written.clone();
        }
        if run.ended {
            inner.runs.remove(&uid);
        }
        seen.clone()
    }

    /// The listings of group members that run beside the reconciles.
    pub(super) fn listings(&self) -> &Listings {
        &self.listings
    }

    /// Whether a run holds a place of its server.
    pub(super) fn holds_place(&self, uid: &str) -> bool {
        locked(&self.inner).places.contains(uid)
    }

    /// Records whether a run holds a place. Returns true if it just released one.
    pub(super) fn note_place(&self, uid: &str, holds: bool) -> bool {
        let mut inner = locked(&self.inner);
        if holds {
            inner.places.insert(uid.to_owned());
            false
        } else {
            inner.places.remove(uid)
        }
    }

    /// Claims a job for a run. Returns false if another run has claimed it.
    pub(super) fn claim(&self, server_url: &str, job_id: &str, uid: &str) -> bool {
        let mut inner = locked(&self.inner);
        let key = (server_url.to_owned(), job_id.to_owned());
        let next = inner.claimed + 1;
        let (owner, nth) = inner.claims.entry(key).or_insert_with(|| (uid.to_owned(), next));
        let (ours, new) = (owner == uid, *nth == next);
        if new {
            inner.claimed = next;
        }
        ours
    }

    /// When an export of each namespace last got a place on a server, from what its exports show now and
    /// showed earlier.
    pub(super) fn served(&self, server: &str, shown: &Served) -> Served {
        let mut inner = locked(&self.inner);
        let known = inner.served.entry(server.to_owned()).or_default();
        for (namespace, at) in shown {
            let last = known.entry(namespace.clone()).or_insert(*at);
            *last = (*at).max(*last);
        }
        known.clone()
    }

    /// Takes the state of a run out. The caller must give it back with [`Self::keep`].
    pub(super) fn recall(&self, uid: &str) -> (Memory, Option<Observation>) {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        (std::mem::take(&mut run.memory), run.unsaved.take())
    }

    /// Stores the state of a run.
    pub(super) fn keep(&self, uid: &str, memory: Memory, unsaved: Option<Observation>) {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        run.memory = memory;
        run.unsaved = unsaved;
    }

    /// Records an object that this process wrote.
    pub(super) fn wrote(&self, object: &FhirExport) {
        let mut inner = locked(&self.inner);
        inner.runs.entry(uid_of(object)).or_default().written = Some(Arc::new(object.clone()));
    }

    /// The state of the verification of a run's attempt, if there is one.
    pub(super) fn look_at_verification(&self, uid: &str, attempt: i32) -> Option<Verification> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.verification;
        Beside::look(slot, attempt, |state| matches!(state, Verification::Running { .. }))
    }

    /// Records a verification that was started, and ends an earlier one.
    pub(super) fn verification_started(&self, uid: &str, beside: Beside<Verification>) {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.entry(uid.to_owned()).or_default().verification;
        Beside::end(slot);
        *slot = Some(beside);
    }

    /// The state of the landing of a run's attempt, if there is one.
    pub(super) fn look_at_landing(&self, uid: &str, attempt: i32) -> Option<Landing> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.landing;
        Beside::look(slot, attempt, |state| matches!(state, Landing::Running(_)))
    }

    /// Records a landing that was started, and ends an earlier one.
    pub(super) fn landing_started(&self, uid: &str, beside: Beside<Landing>) {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.entry(uid.to_owned()).or_default().landing;
        Beside::end(slot);
        *slot = Some(beside);
    }

    /// Ends the landing of a run, if there is one.
    pub(super) fn stop_landing(&self, uid: &str) {
        if let Some(run) = locked(&self.inner).runs.get_mut(uid) {
            Beside::end(&mut run.landing);
        }
    }

    /// How long the last probe of a server remains valid; `None` if a new one is due.
    pub(super) fn probe_due_in(&self, uid: &str, generation: i64, now: Timestamp) -> Option<Duration> {
        let inner = locked(&self.inner);
        let probe = inner.probes.get(uid);
        // After the clock was set back, the probe would remain valid for longer by as much.
        let (.., due) = probe.filter(|(of, at, due)| *of == generation && *at <= now && *due > now)?;
        Duration::try_from(due.duration_since(now)).ok()
    }

    /// Records a probe of a server, which is valid for `wait`.
    pub(super) fn probed(&self, uid: &str, generation: i64, now: Timestamp, wait: Duration) {
        let due = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        locked(&self.inner).probes.insert(uid.to_owned(), (generation, now, due.unwrap_or(now)));
    }

    /// Drops the state of a run that has ended, and ends its tasks. Its last written object is kept until the
    /// watch shows it, because acting on an earlier status would repeat what was done.
    pub(super) fn ended(&self, uid: &str) {
        let written = locked(&self.inner).runs.get(uid).and_then(|run| run.written.clone());
        self.forget(uid);
        if written.is_some() {
            let run = Run { written, ended: true, ..Run::default() };
            locked(&self.inner).runs.insert(uid.to_owned(), run);
        }
    }

    /// Drops the state of a run that was deleted, and ends its tasks.
    pub fn forget(&self, uid: &str) {
        let mut inner = locked(&self.inner);
        if let Some(mut run) = inner.runs.remove(uid) {
            Beside::end(&mut run.verification);
            Beside::end(&mut run.landing);
        }
        inner.places.remove(uid);
    }

    /// Drops the state of all runs and servers that are not alive. It must be called from time to time,
    /// because not every deletion is seen.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) {
        let gone: Vec<String> = {
            let inner = locked(&self.inner);
            let known = inner.runs.keys().chain(&inner.places);
            known.filter(|uid| !alive(uid)).cloned().collect()
        };
        for uid in &gone {
            self.forget(uid);
        }
        self.listings.retain(&alive);
        let mut inner = locked(&self.inner);
        inner.probes.retain(|uid, _| alive(uid));
        inner.served.retain(|uid, _| alive(uid));
        // The job of a deleted run is still in the container, and no other run may claim it.
        let oldest = inner.claimed.saturating_sub(MAX_CLAIMS);
        inner.claims.retain(|_, (owner, nth)| *nth > oldest || alive(owner));
    }
}

/// Updates the state of a task.
pub(super) fn tell<T>(state: &Mutex<T>, now: T) {
    *locked(state) = now;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

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
        runs.ended("u");
        for seen in ["3", "6"] {
            assert_eq!(version(&runs.newest(&export(seen))), 7);
        }
        // In the meantime there was another reconcile.
        let _ = runs.recall("u");
        runs.ended("u");
        assert_eq!(version(&runs.newest(&export("6"))), 7);
        assert_eq!(version(&runs.newest(&export("8"))), 8);
        assert!(locked(&runs.inner).runs.is_empty());
        // Nothing is kept of a run that this process did not write.
        let _ = runs.recall("u");
        runs.ended("u");
        assert!(locked(&runs.inner).runs.is_empty());
    }

    #[test]
    fn the_job_of_a_run_that_is_gone_is_nobody_s() {
        let runs = Runs::default();
        assert!(runs.claim("https://x", "1", "one") && runs.claim("https://x", "1", "one"));
        runs.forget("one");
        runs.retain(|_| false);
        assert!(!runs.claim("https://x", "1", "two"));
        for job in 0..MAX_CLAIMS {
            assert!(runs.claim("https://y", &job.to_string(), "three"));
        }
        runs.retain(|uid| uid == "three");
        assert!(runs.claim("https://x", "1", "two"), "the oldest is forgotten in the end");
    }
}
