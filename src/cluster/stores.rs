//! The stores that the watches fill and the reconciles read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};

use super::merge::Change;
use crate::api::{FhirExport, FhirExportSchedule, FhirServer};
use crate::ports::{JobKey, Stores};

/// Namespace and name of an object.
pub type Key = (String, String);

/// The stores of all kinds, with indices of exports by server, by owner and by job.
#[derive(Clone)]
pub struct KubeStores {
    exports: Store<FhirExport>,
    servers: Store<FhirServer>,
    schedules: Store<FhirExportSchedule>,
    by_server: Index<Key>,
    /// Exports by the uid of their controlling owner.
    by_owner: Index<String>,
    by_job: Index<JobKey>,
}

type Index<K> = Arc<RwLock<HashMap<K, Exports>>>;

/// Some exports, at least one. Most jobs are those of a single export, and a set takes ten times the memory.
#[derive(Debug)]
enum Exports {
    One(Key),
    Many(BTreeSet<Key>),
}

impl Exports {
    fn insert(&mut self, new: Key) {
        match self {
            Self::One(one) if *one == new => {}
            Self::One(one) => *self = Self::Many(BTreeSet::from([std::mem::take(one), new])),
            Self::Many(many) => drop(many.insert(new)),
        }
    }

    /// Removes an export. Returns true if none is left.
    fn remove(&mut self, gone: &Key) -> bool {
        match self {
            Self::One(one) => one == gone,
            Self::Many(many) => {
                many.remove(gone);
                many.is_empty()
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl KubeStores {
    pub(super) fn new(
        exports: Store<FhirExport>,
        servers: Store<FhirServer>,
        schedules: Store<FhirExportSchedule>,
    ) -> Self {
        let (by_server, by_owner, by_job) = (Arc::default(), Arc::default(), Arc::default());
        Self { exports, servers, schedules, by_server, by_owner, by_job }
    }

    /// The store of exports, for kube's runtime.
    pub fn export_store(&self) -> Store<FhirExport> {
        self.exports.clone()
    }

    /// The store of servers, for kube's runtime.
    pub fn server_store(&self) -> Store<FhirServer> {
        self.servers.clone()
    }

    /// The store of schedules, for kube's runtime.
    pub fn schedule_store(&self) -> Store<FhirExportSchedule> {
        self.schedules.clone()
    }

    /// Updates the indices. An object of the same name may have been recreated with another server or owner, and a job
    /// comes and goes.
    pub(super) fn note(&self, change: &Change<FhirExport>) {
        keep(&self.by_server, change, |export| Some(server_key(export)));
        keep(&self.by_owner, change, |export| owner_of(export).map(|owner| owner.uid.clone()));
        keep(&self.by_job, change, JobKey::of);
    }

    fn named<K: Eq + Hash>(&self, index: &Index<K>, by: &K) -> Vec<Arc<FhirExport>> {
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        let keys = index.get(by).into_iter().flat_map(Exports::keys);
        keys.filter_map(|(namespace, name)| self.export(namespace, name)).collect()
    }
}

impl Stores for KubeStores {
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>> {
        self.servers.get(&ObjectRef::new(name).within(namespace))
    }

    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>> {
        self.named(&self.by_server, &(namespace.to_string(), name.to_string()))
    }

    fn exports_with(&self, job: &JobKey) -> Vec<Arc<FhirExport>> {
        self.named(&self.by_job, job)
    }

    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>> {
        self.exports.get(&ObjectRef::new(name).within(namespace))
    }

    fn exports(&self) -> Vec<Arc<FhirExport>> {
        self.exports.state()
    }

    fn children_of(&self, uid: &str) -> Vec<Arc<FhirExport>> {
        self.named(&self.by_owner, &uid.to_string())
    }

    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>> {
        self.schedules.state()
    }
}

fn keep<K: Eq + Hash>(index: &Index<K>, change: &Change<FhirExport>, by: impl Fn(&FhirExport) -> Option<K>) {
    let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
    if let Some((old, by)) = change.old.as_ref().and_then(|old| Some((old, by(old)?)))
        && index.get_mut(&by).is_some_and(|exports| exports.remove(&key(old.as_ref())))
    {
        index.remove(&by);
    }
    if let Some((new, by)) = change.new.as_ref().and_then(|new| Some((new, by(new)?))) {
        let new = key(new.as_ref());
        match index.entry(by) {
            Entry::Occupied(exports) => exports.into_mut().insert(new),
            Entry::Vacant(none) => drop(none.insert(Exports::One(new))),
        }
    }
}

/// The owner reference of an export with `controller: true`, if it has one.
pub fn owner_of(export: &FhirExport) -> Option<&OwnerReference> {
    export.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// Namespace and name of the server of a schedule's runs.
pub fn template_server_key(schedule: &FhirExportSchedule) -> Key {
    let reference = &schedule.spec.template.spec.server_ref;
    let namespace = reference.namespace.clone().or_else(|| schedule.namespace()).unwrap_or_default();
    (namespace, reference.name.clone())
}

/// Namespace and name of an object.
pub fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Namespace and name of an export's server.
pub fn server_key(export: &FhirExport) -> Key {
    let reference = &export.spec.server_ref;
    let namespace = reference.namespace.clone().or_else(|| export.namespace()).unwrap_or_default();
    (namespace, reference.name.clone())
}

#[cfg(test)]
#[path = "stores_tests.rs"]
mod tests;
