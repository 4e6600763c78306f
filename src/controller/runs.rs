//! What is remembered of runs between two looks: patience, places, claims, and the tasks beside the reconcile.
//! A restart forgets all of it; status holds everything that must not be lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::FhirExport;
use crate::core::admission::Served;
use crate::core::effect::Observation;
use crate::core::export::Memory;
use crate::core::landing::Landing;
use crate::core::ledger::Verification;
use crate::ports::EndTask;

/// So many jobs are remembered at least, of runs that are gone, too.
const MAX_CLAIMS: u64 = 10_000;

/// What is remembered of all runs.
#[derive(Default)]
pub struct Runs {
    inner: Mutex<Inner>,
    lists: futures::lock::Mutex<()>,
}

#[derive(Default)]
struct Inner {
    runs: HashMap<String, Run>,
    /// Uids that hold a place, though the watch may not show it yet.
    places: HashSet<String>,
    /// Which run a job belongs to, by server URL and job id, and which claim that was.
    claims: HashMap<(String, String), (String, u64)>,
    /// How many jobs were claimed.
    claimed: u64,
    /// When each server was probed and is to be next, by uid, and for which generation that holds.
    probes: HashMap<String, (i64, Timestamp, Timestamp)>,
    /// When each namespace last had a place of a server, by the server's uid: exports may be deleted to hide it.
    served: HashMap<String, Served>,
}

#[derive(Default)]
struct Run {
    memory: Memory,
    /// An observation whose status could not be written: it is taken up again before anything else.
    unsaved: Option<Observation>,
    /// What this process wrote last: the watch may lag behind it.
    written: Option<Arc<FhirExport>>,
    /// Only what was written is remembered still, until the watch shows that.
    ended: bool,
    verification: Option<Beside<Verification>>,
    landing: Option<Beside<Landing>>,
}

/// A task that goes on beside the reconcile.
pub(super) struct Beside<T> {
    /// Of which attempt it is.
    pub(super) attempt: i32,
    /// How it stands.
    pub(super) state: Arc<Mutex<T>>,
    /// Ends it.
    pub(super) end: EndTask,
}

impl<T: Clone> Beside<T> {
    /// How the task of an attempt stands; one that has ended is taken out, one of another attempt is ended.
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
    // A panic while this was held left values that are each whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resource versions of one resource grow (Kubernetes 1.35 and later say so).
fn version(object: &FhirExport) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn uid_of(object: &FhirExport) -> String {
    object.uid().unwrap_or_default()
}

impl Runs {
    /// The newer of what the watch shows and what this process wrote.
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

    /// Waits for the one place for lists of members.
    pub(super) async fn alone_with_lists(&self) -> futures::lock::MutexGuard<'_, ()> {
        self.lists.lock().await
    }

    /// Whether a run holds a place.
    pub(super) fn holds_place(&self, uid: &str) -> bool {
        locked(&self.inner).places.contains(uid)
    }

    /// Notes whether a run holds a place; true if it just gave one back.
    pub(super) fn note_place(&self, uid: &str, holds: bool) -> bool {
        let mut inner = locked(&self.inner);
        if holds {
            inner.places.insert(uid.to_owned());
            false
        } else {
            inner.places.remove(uid)
        }
    }

    /// Notes whose a job is; false if it is another run's.
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

    /// When each namespace last had a place of a server, by what its exports show now and showed before.
    pub(super) fn served(&self, server: &str, shown: &Served) -> Served {
        let mut inner = locked(&self.inner);
        let known = inner.served.entry(server.to_owned()).or_default();
        for (namespace, at) in shown {
            let last = known.entry(namespace.clone()).or_insert(*at);
            *last = (*at).max(*last);
        }
        known.clone()
    }

    /// Takes what is remembered of a run; it must be kept again.
    pub(super) fn recall(&self, uid: &str) -> (Memory, Option<Observation>) {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        (std::mem::take(&mut run.memory), run.unsaved.take())
    }

    /// Keeps what is remembered of a run.
    pub(super) fn keep(&self, uid: &str, memory: Memory, unsaved: Option<Observation>) {
        let mut inner = locked(&self.inner);
        let run = inner.runs.entry(uid.to_owned()).or_default();
        run.memory = memory;
        run.unsaved = unsaved;
    }

    /// Notes what this process wrote.
    pub(super) fn wrote(&self, object: &FhirExport) {
        let mut inner = locked(&self.inner);
        inner.runs.entry(uid_of(object)).or_default().written = Some(Arc::new(object.clone()));
    }

    /// How the check of a run's attempt stands, if there is one.
    pub(super) fn look_at_verification(&self, uid: &str, attempt: i32) -> Option<Verification> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.verification;
        Beside::look(slot, attempt, |state| matches!(state, Verification::Running { .. }))
    }

    /// Notes a check that was started.
    pub(super) fn verification_started(&self, uid: &str, beside: Beside<Verification>) {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.entry(uid.to_owned()).or_default().verification;
        Beside::end(slot);
        *slot = Some(beside);
    }

    /// How the landing of a run's attempt stands, if there is one.
    pub(super) fn look_at_landing(&self, uid: &str, attempt: i32) -> Option<Landing> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.landing;
        Beside::look(slot, attempt, |state| matches!(state, Landing::Running(_)))
    }

    /// Notes a landing that was started.
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

    /// How long the last probe of a server is still believed; `None` when a new one is due.
    pub(super) fn probe_due_in(&self, uid: &str, generation: i64, now: Timestamp) -> Option<Duration> {
        let inner = locked(&self.inner);
        let probe = inner.probes.get(uid);
        // A clock that was set back meanwhile would believe it for as much longer.
        let (.., due) = probe.filter(|(of, at, due)| *of == generation && *at <= now && *due > now)?;
        Duration::try_from(due.duration_since(now)).ok()
    }

    /// Notes a probe of a server.
    pub(super) fn probed(&self, uid: &str, generation: i64, now: Timestamp, wait: Duration) {
        let due = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        locked(&self.inner).probes.insert(uid.to_owned(), (generation, now, due.unwrap_or(now)));
    }

    /// Forgets a run that has ended, and ends its tasks. How it ended is remembered until the watch shows it: to look at
    /// an earlier status would begin what is done anew.
    pub(super) fn ended(&self, uid: &str) {
        let written = locked(&self.inner).runs.get(uid).and_then(|run| run.written.clone());
        self.forget(uid);
        if written.is_some() {
            let run = Run { written, ended: true, ..Run::default() };
            locked(&self.inner).runs.insert(uid.to_owned(), run);
        }
    }

    /// Forgets a run that is gone, and ends its tasks.
    pub fn forget(&self, uid: &str) {
        let mut inner = locked(&self.inner);
        if let Some(mut run) = inner.runs.remove(uid) {
            Beside::end(&mut run.verification);
            Beside::end(&mut run.landing);
        }
        inner.places.remove(uid);
    }

    /// Forgets all runs and servers that are not alive; to be called now and then, since not every deletion is seen.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) {
        let gone: Vec<String> = {
            let inner = locked(&self.inner);
            let known = inner.runs.keys().chain(&inner.places);
            known.filter(|uid| !alive(uid)).cloned().collect()
        };
        for uid in &gone {
            self.forget(uid);
        }
        let mut inner = locked(&self.inner);
        inner.probes.retain(|uid, _| alive(uid));
        inner.served.retain(|uid, _| alive(uid));
        // The job of a run that is gone lies in the container still: nobody may take it for theirs.
        let oldest = inner.claimed.saturating_sub(MAX_CLAIMS);
        inner.claims.retain(|_, (owner, nth)| *nth > oldest || alive(owner));
    }
}

/// Writes the state of a task.
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
        // Looked at once more meanwhile.
        let _ = runs.recall("u");
        runs.ended("u");
        assert_eq!(version(&runs.newest(&export("6"))), 7);
        assert_eq!(version(&runs.newest(&export("8"))), 8);
        assert!(locked(&runs.inner).runs.is_empty());
        // What was not written here is not remembered.
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
