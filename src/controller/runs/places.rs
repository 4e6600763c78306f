//! Which runs hold a place of each server, and which wait for one. This follows from what the watch shows,
//! from what this process wrote, and from the places that it gave out before either shows them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;

use super::super::lock::locked;
use super::versions::{newer, uid_of, version};
use super::{Inner, Runs};
use crate::api::FhirExport;
use crate::cluster::stores::{Key, key, server_key};
use crate::cluster::watch::Change;
use crate::core::admission::{Admission, Candidate, Limits};
use crate::core::export::{competes, holds_place, is_terminal};

/// The places of all servers.
#[derive(Default)]
pub(super) struct Places {
    /// Uids of runs that hold a place, even if the watch does not show it yet.
    held: HashSet<String>,
    /// The runs that have not ended, as the watch shows them, by uid.
    shown: HashMap<String, Arc<FhirExport>>,
    servers: HashMap<Key, ServerPlaces>,
}

/// The places of one server.
#[derive(Default)]
struct ServerPlaces {
    admission: Admission,
    /// Uids of runs that need the server to end properly.
    users: HashSet<String>,
    /// The uid of the server; `None` until a run has asked for a place.
    server: Option<String>,
}

impl Places {
    /// The newer of the object that the watch shows and the one that this process wrote.
    fn newest(&self, uid: &str, written: Option<&Arc<FhirExport>>) -> Option<Arc<FhirExport>> {
        Some(Arc::clone(newer(self.shown.get(uid)?, written)))
    }

    /// Updates what is known of a run from its newest object.
    fn note(&mut self, uid: &str, written: Option<&Arc<FhirExport>>) {
        let Some(newest) = self.newest(uid, written) else { return };
        let of_server = self.servers.entry(server_key(&newest)).or_default();
        if let Some(start) = newest.status.as_ref().and_then(|status| status.start_time) {
            of_server.admission.serve(&newest.namespace().unwrap_or_default(), start);
        }
        match candidate(&newest, self.held.contains(uid), false) {
            Some(candidate) => of_server.admission.set(candidate),
            None => drop(of_server.admission.remove(uid)),
        }
        if uses_server(&newest) {
            of_server.users.insert(uid.to_owned());
        } else {
            of_server.users.remove(uid);
        }
        let ended = |shown: &Arc<FhirExport>| shown.status.as_ref().is_some_and(is_terminal);
        if self.shown.get(uid).is_some_and(ended) {
            self.shown.remove(uid);
        }
    }

    /// Removes an object that no longer exists.
    fn hide(&mut self, gone: &FhirExport) {
        let uid = uid_of(gone);
        self.shown.remove(&uid);
        if let Some(of_server) = self.servers.get_mut(&server_key(gone)) {
            of_server.admission.remove(&uid);
            of_server.users.remove(&uid);
        }
    }

    /// Drops servers that no longer exist and that no run names.
    pub(super) fn retain(&mut self, alive: impl Fn(&str) -> bool) {
        self.servers.retain(|_, of_server| {
            let server = of_server.server.as_ref();
            !of_server.admission.is_empty() || server.is_some_and(|server| alive(server))
        });
    }

    /// The uids of runs that are recorded as holding a place.
    pub(super) fn held(&self) -> impl Iterator<Item = &String> {
        self.held.iter()
    }
}

/// The entry of an export in the queue of its server; `None` if it neither holds a place nor wants one.
/// `held` tells whether this process knows that it holds one. With `asks`, the export counts as wanting a
/// place even if its status still says that it was held or refused.
fn candidate(export: &FhirExport, held: bool, asks: bool) -> Option<Candidate> {
    let status = export.status.as_ref();
    let ended = status.is_some_and(is_terminal);
    let holds = status.is_some_and(holds_place) || (held && !ended);
    let spec = &export.spec;
    let wants = !ended
        && export.metadata.deletion_timestamp.is_none()
        && spec.suspend != Some(true)
        && spec.cancel != Some(true)
        && (asks || status.is_none_or(competes));
    (holds || wants).then(|| Candidate {
        uid: export.uid().unwrap_or_default(),
        namespace: export.namespace().unwrap_or_default(),
        created: export.metadata.creation_timestamp.as_ref().map(|t| t.0).unwrap_or_default(),
        group: spec.request.group_id.clone(),
        holds,
    })
}

/// Whether an export has started and needs its server to end properly.
fn uses_server(export: &FhirExport) -> bool {
    let started = |status| !is_terminal(status) && (status.job.is_some() || holds_place(status));
    export.status.as_ref().is_some_and(started)
}

impl Inner {
    /// Updates what is known of a run after the watch showed it, this process wrote it, or it got or gave
    /// back a place.
    pub(super) fn restand(&mut self, uid: &str) {
        let written = self.runs.get(uid).and_then(|run| run.written.as_ref());
        self.places.note(uid, written);
    }

    /// Drops the place that this process recorded for a run, so that only what the watch shows counts.
    pub(super) fn drop_place(&mut self, uid: &str) {
        self.places.held.remove(uid);
        self.restand(uid);
    }
}

impl Runs {
    /// Records what the watch shows of an export. If that is at least as new as what this process wrote, it
    /// replaces the written object, so that one copy stays in memory.
    pub(in crate::controller) fn shown(&self, change: &Change<FhirExport>) {
        let mut inner = locked(&self.inner);
        let stays = |old: &Arc<FhirExport>| {
            let same =
                |new: &Arc<FhirExport>| uid_of(new) == uid_of(old) && server_key(new) == server_key(old);
            change.new.as_ref().is_some_and(same)
        };
        if let Some(old) = change.old.as_ref().filter(|old| !stays(old)) {
            inner.places.hide(old);
        }
        let Some(new) = &change.new else { return };
        let uid = uid_of(new);
        if let Some(run) = inner.runs.get_mut(&uid)
            && let Some(written) = run.written.as_mut().filter(|written| version(written) <= version(new))
        {
            *written = Arc::clone(new);
            run.caught_up = true;
        }
        inner.places.shown.insert(uid.clone(), Arc::clone(new));
        inner.restand(&uid);
    }

    /// Whether this process has recorded that a run holds a place of its server.
    pub(in crate::controller) fn holds_place(&self, uid: &str) -> bool {
        locked(&self.inner).places.held.contains(uid)
    }

    /// Records whether a run holds a place. Returns true if the run just gave one back.
    pub(in crate::controller) fn note_place(&self, uid: &str, holds: bool) -> bool {
        let mut inner = locked(&self.inner);
        let held = &mut inner.places.held;
        let changed = if holds { held.insert(uid.to_owned()) } else { held.remove(uid) };
        if changed {
            inner.restand(uid);
        }
        changed && !holds
    }

    /// Whether a run that asks for a place of its server holds one or gets one now. `server_uid` is the uid of the
    /// server.
    pub(in crate::controller) fn gets_place(
        &self,
        server: &Key,
        server_uid: &str,
        limits: Limits,
        uid: &str,
    ) -> bool {
        let mut inner = locked(&self.inner);
        let inner = &mut *inner;
        let written = inner.runs.get(uid).and_then(|run| run.written.as_ref());
        let newest = inner.places.newest(uid, written);
        let held = inner.places.held.contains(uid);
        let Some(asking) = newest.and_then(|newest| candidate(&newest, held, true)) else { return false };
        let of_server = inner.places.servers.entry(server.clone()).or_default();
        of_server.server = Some(server_uid.to_owned());
        of_server.admission.admits(limits, asking)
    }

    /// Namespace and name of the runs that wait for a place of a server and get one now, in the order in which they get
    /// it.
    pub(in crate::controller) fn next_in(&self, server: &Key, limits: Limits) -> Vec<Key> {
        let inner = locked(&self.inner);
        let Some(of_server) = inner.places.servers.get(server) else { return Vec::new() };
        let next = of_server.admission.next(limits);
        next.filter_map(|next| Some(key(inner.places.shown.get(&next.uid)?.as_ref()))).collect()
    }

    /// How many runs have started and need a server to end properly.
    pub(in crate::controller) fn users_of(&self, server: &Key) -> usize {
        locked(&self.inner).places.servers.get(server).map_or(0, |of_server| of_server.users.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "places_tests.rs"]
mod tests;
