//! What the watches know, for the reconciles.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};

use super::merge::Change;
use crate::api::{FhirExport, FhirServer};
use crate::controller::world::Stores;

/// A namespace and a name.
pub type Key = (String, String);

/// Both stores, and which export names which server.
#[derive(Clone)]
pub struct KubeStores {
    exports: Store<FhirExport>,
    servers: Store<FhirServer>,
    by_server: Arc<RwLock<HashMap<Key, BTreeSet<Key>>>>,
}

impl KubeStores {
    pub(super) fn new(exports: Store<FhirExport>, servers: Store<FhirServer>) -> Self {
        Self { exports, servers, by_server: Arc::default() }
    }

    /// The store of exports, for kube's runtime.
    pub fn export_store(&self) -> Store<FhirExport> {
        self.exports.clone()
    }

    /// The store of servers, for kube's runtime.
    pub fn server_store(&self) -> Store<FhirServer> {
        self.servers.clone()
    }

    /// Keeps the index: an object of the same name may have been made anew with another server.
    pub(super) fn note(&self, change: &Change<FhirExport>) {
        let mut index = self.by_server.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = &change.old {
            let server = server_key(old);
            if let Some(exports) = index.get_mut(&server) {
                exports.remove(&key(old.as_ref()));
                if exports.is_empty() {
                    index.remove(&server);
                }
            }
        }
        if let Some(new) = &change.new {
            index.entry(server_key(new)).or_default().insert(key(new.as_ref()));
        }
    }
}

impl Stores for KubeStores {
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>> {
        self.servers.get(&ObjectRef::new(name).within(namespace))
    }

    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>> {
        let index = self.by_server.read().unwrap_or_else(PoisonError::into_inner);
        let keys = index.get(&(namespace.to_string(), name.to_string()));
        keys.into_iter().flatten().filter_map(|(namespace, name)| self.export(namespace, name)).collect()
    }

    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>> {
        self.exports.get(&ObjectRef::new(name).within(namespace))
    }

    fn exports(&self) -> Vec<Arc<FhirExport>> {
        self.exports.state()
    }
}

/// Where an object is.
pub fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Where the server of an export is.
pub fn server_key(export: &FhirExport) -> Key {
    let reference = &export.spec.server_ref;
    let namespace = reference.namespace.clone().or_else(|| export.namespace()).unwrap_or_default();
    (namespace, reference.name.clone())
}
