//! The stores of one process, which its watches fill: they lag behind the API server by any amount.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer};
use fhir_export_operator::cluster::stores::{Key, owner_of, server_key};
use fhir_export_operator::cluster::watch::Change;
use fhir_export_operator::ports::{JobKey, Stores};
use kube::Resource;

use crate::api_server::Kind;
use crate::state::locked;

/// The objects of one kind as a process knows them.
#[derive(Debug)]
pub struct Heard<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The number of entries of the log that the process has received.
    pub upto: usize,
}

impl<K> Default for Heard<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), upto: 0 }
    }
}

impl<K: Resource> Heard<K> {
    /// Receives the next entry of the log.
    pub fn hear(&mut self, kind: &Kind<K>) -> Option<Change<K>> {
        let entry = kind.log.get(self.upto)?;
        self.upto += 1;
        let old = match &entry.object {
            Some(object) => self.objects.insert(entry.key.clone(), Arc::clone(object)),
            None => self.objects.remove(&entry.key),
        };
        (old.is_some() || entry.object.is_some()).then(|| Change { old, new: entry.object.clone() })
    }

    /// Lists everything. Changes since the last entry show only in the result.
    pub fn list(&mut self, kind: &Kind<K>) -> Vec<Change<K>> {
        self.upto = kind.log.len();
        let old = std::mem::replace(&mut self.objects, kind.objects.clone());
        let mut changes: Vec<Change<K>> = kind
            .objects
            .iter()
            .map(|(at, new)| Change { old: old.get(at).cloned(), new: Some(Arc::clone(new)) })
            .filter(|change| {
                let version =
                    |object: &Option<Arc<K>>| object.as_ref().and_then(|o| o.meta().resource_version.clone());
                version(&change.old) != version(&change.new)
            })
            .collect();
        let gone = old.into_iter().filter(|(at, _)| !kind.objects.contains_key(at));
        changes.extend(gone.map(|(_, old)| Change { old: Some(old), new: None }));
        changes
    }

    /// Returns an object.
    pub fn get(&self, at: &Key) -> Option<Arc<K>> {
        self.objects.get(at).cloned()
    }

    /// The namespaces and names of the objects.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }
}

/// The objects of all kinds.
#[derive(Debug, Default)]
pub struct Cache {
    /// `FhirExport`s.
    pub exports: Mutex<Heard<FhirExport>>,
    /// `FhirServer`s.
    pub servers: Mutex<Heard<FhirServer>>,
    /// `FhirExportSchedule`s.
    pub schedules: Mutex<Heard<FhirExportSchedule>>,
    /// The number of exports that were returned in lists.
    pub listed: AtomicU64,
}

impl Cache {
    /// Returns the exports that satisfy `like`, and counts them as returned in a list.
    fn exports_like(&self, like: impl Fn(&FhirExport) -> bool) -> Vec<Arc<FhirExport>> {
        let heard = locked(&self.exports);
        let exports: Vec<_> = heard.all().filter(|export| like(export)).cloned().collect();
        self.listed.fetch_add(exports.len() as u64, Ordering::Relaxed);
        exports
    }
}

impl Stores for Cache {
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>> {
        locked(&self.servers).get(&(namespace.to_owned(), name.to_owned()))
    }

    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>> {
        let of = (namespace.to_owned(), name.to_owned());
        self.exports_like(|export| server_key(export) == of)
    }

    fn exports_with(&self, job: &JobKey) -> Vec<Arc<FhirExport>> {
        self.exports_like(|export| JobKey::of(export).as_ref() == Some(job))
    }

    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>> {
        locked(&self.exports).get(&(namespace.to_owned(), name.to_owned()))
    }

    fn exports(&self) -> Vec<Arc<FhirExport>> {
        self.exports_like(|_| true)
    }

    fn children_of(&self, uid: &str) -> Vec<Arc<FhirExport>> {
        self.exports_like(|export| owner_of(export).is_some_and(|owner| owner.uid == uid))
    }

    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>> {
        locked(&self.schedules).all().cloned().collect()
    }
}
