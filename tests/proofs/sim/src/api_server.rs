//! The model of the API server: objects with resource versions, finalizers, deletions, namespaces, and the
//! log that watches read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir_export_operator::api::{
    FhirExport, FhirExportSchedule, FhirExportStatus, FhirServer, FhirServerStatus,
};
use fhir_export_operator::cluster::stores::{Key, key};
use fhir_export_operator::ports::ClusterFailure;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, ResourceExt};

use crate::state::State;

/// One change of an object.
#[derive(Clone, Debug)]
pub struct Logged<K> {
    /// The namespace and name of the object.
    pub key: Key,
    /// The object after the change; `None` if it was removed.
    pub object: Option<Arc<K>>,
}

/// The objects of one kind, and the log of their changes.
#[derive(Debug)]
pub struct Kind<K> {
    /// The current objects.
    pub objects: BTreeMap<Key, Arc<K>>,
    /// All changes so far, in order.
    pub log: Vec<Logged<K>>,
}

impl<K> Default for Kind<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), log: Vec::new() }
    }
}

/// The state of the API server.
#[derive(Debug, Default)]
pub struct ApiServer {
    version: u64,
    made: u64,
    /// `FhirExport`s.
    pub exports: Kind<FhirExport>,
    /// `FhirServer`s.
    pub servers: Kind<FhirServer>,
    /// `FhirExportSchedule`s.
    pub schedules: Kind<FhirExportSchedule>,
    /// The namespaces and names of the Secrets.
    pub secrets: BTreeSet<Key>,
    /// Namespaces that are being deleted.
    pub terminating: BTreeSet<String>,
}

/// A kind of object that the API server stores.
pub trait Stored: Resource<DynamicType = ()> + Clone + PartialEq {
    /// The objects of this kind.
    fn of(api: &mut ApiServer) -> &mut Kind<Self>;
}

impl Stored for FhirExport {
    fn of(api: &mut ApiServer) -> &mut Kind<Self> {
        &mut api.exports
    }
}

impl Stored for FhirServer {
    fn of(api: &mut ApiServer) -> &mut Kind<Self> {
        &mut api.servers
    }
}

impl Stored for FhirExportSchedule {
    fn of(api: &mut ApiServer) -> &mut Kind<Self> {
        &mut api.schedules
    }
}

impl ApiServer {
    /// Returns a resource version that no object has had.
    pub fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Creates an object. Returns false if the name is taken or the namespace is being deleted.
    pub fn create<K: Stored>(&mut self, mut object: K, now: jiff::Timestamp) -> bool {
        let at = key(&object);
        if self.terminating.contains(&at.0) || K::of(self).objects.contains_key(&at) {
            return false;
        }
        self.made += 1;
        let uid = format!("{:08x}-0000-4000-8000-000000000000", self.made);
        let meta = object.meta_mut();
        meta.uid = Some(uid);
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(whole(now)));
        self.put(object);
        true
    }

    /// Stores an object under a new resource version, and logs it.
    pub fn put<K: Stored>(&mut self, mut object: K) -> Arc<K> {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        let (at, object) = (key(&object), Arc::new(object));
        let kind = K::of(self);
        kind.objects.insert(at.clone(), Arc::clone(&object));
        kind.log.push(Logged { key: at, object: Some(Arc::clone(&object)) });
        object
    }

    fn remove<K: Stored>(&mut self, at: &Key) {
        self.version += 1;
        let kind = K::of(self);
        kind.objects.remove(at);
        kind.log.push(Logged { key: at.clone(), object: None });
    }

    /// Returns the object if its version is still the one that was read.
    pub fn current<K: Stored>(&mut self, read: &K) -> Result<Arc<K>, ClusterFailure> {
        let found = K::of(self).objects.get(&key(read)).cloned().ok_or(ClusterFailure::NotFound)?;
        let same = found.meta().resource_version == read.meta().resource_version;
        if same { Ok(found) } else { Err(ClusterFailure::Conflict) }
    }

    /// Edits an object. Returns false if it does not exist or `change` did not change it.
    pub fn edit<K: Stored>(&mut self, at: &Key, new_generation: bool, change: impl FnOnce(&mut K)) -> bool {
        let Some(found) = K::of(self).objects.get(at).cloned() else { return false };
        let mut object = K::clone(&found);
        change(&mut object);
        if object == *found {
            return false;
        }
        if new_generation {
            let meta = object.meta_mut();
            meta.generation = meta.generation.map(|generation| generation + 1);
        }
        self.put(object);
        true
    }

    /// Deletes an object, or marks it as deleted if it has finalizers. Returns true if it was removed at once.
    pub fn delete<K: Stored>(&mut self, at: &Key, now: jiff::Timestamp) -> bool {
        let Some(found) = K::of(self).objects.get(at).cloned() else { return false };
        if found.meta().finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.remove::<K>(at);
            return true;
        }
        if found.meta().deletion_timestamp.is_none() {
            self.edit::<K>(at, true, |object| object.meta_mut().deletion_timestamp = Some(Time(whole(now))));
        }
        false
    }

    /// Sets or removes a finalizer, on the version that was read. Returns the resulting object, and whether
    /// it was removed.
    pub fn set_finalizer<K: Stored>(
        &mut self,
        read: &K,
        finalizer: &str,
        on: bool,
    ) -> Result<(K, bool), ClusterFailure> {
        let has = read.finalizers().iter().any(|f| f == finalizer);
        if has == on {
            return Ok((read.clone(), false));
        }
        let mut object = K::clone(self.current(read)?.as_ref());
        if on && object.meta().deletion_timestamp.is_some() {
            let words = "no new finalizers can be added if the object is being deleted";
            return Err(ClusterFailure::Other(words.to_owned()));
        }
        let meta: &mut ObjectMeta = object.meta_mut();
        let list = meta.finalizers.get_or_insert_default();
        if on {
            list.push(finalizer.to_owned());
        } else {
            list.retain(|f| f != finalizer);
        }
        if list.is_empty() {
            meta.finalizers = None;
        }
        let gone = meta.finalizers.is_none() && meta.deletion_timestamp.is_some();
        if gone {
            self.remove::<K>(&key(&object));
            return Ok((object, true));
        }
        Ok((K::clone(&self.put(object)), false))
    }

    /// Drops namespaces that are being deleted and hold no more objects.
    pub fn finish_namespaces(&mut self) {
        let (exports, servers) = (&self.exports.objects, &self.servers.objects);
        self.terminating
            .retain(|namespace| exports.keys().chain(servers.keys()).any(|(of, _)| of == namespace));
    }
}

/// The time in whole seconds, as Kubernetes stores it.
fn whole(now: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl State {
    /// The operator writes the status of an export.
    pub fn write_export_status(
        &mut self,
        read: &FhirExport,
        status: &FhirExportStatus,
    ) -> Result<FhirExport, ClusterFailure> {
        let before = self.api.current(read)?;
        self.check_write(&before, status);
        let mut object = FhirExport::clone(&before);
        object.status = Some(status.clone());
        if object == *before {
            return Ok(object);
        }
        let written = FhirExport::clone(&self.api.put(object));
        self.wrote(&written);
        Ok(written)
    }

    /// The operator writes the status of a server.
    pub fn write_server_status(
        &mut self,
        read: &FhirServer,
        status: &FhirServerStatus,
    ) -> Result<FhirServer, ClusterFailure> {
        let mut object = FhirServer::clone(self.api.current(read)?.as_ref());
        object.status = Some(status.clone());
        Ok(FhirServer::clone(&self.api.put(object)))
    }

    /// The operator adds or removes its finalizer of an export.
    pub fn set_export_finalizer(
        &mut self,
        read: &FhirExport,
        finalizer: &str,
        on: bool,
    ) -> Result<FhirExport, ClusterFailure> {
        self.check_finalizer(read, on);
        if let Ok(found) = self.api.current(read) {
            self.check_read(&found, "its finalizer is set or taken off");
        }
        let (object, gone) = self.api.set_finalizer(read, finalizer, on)?;
        if gone {
            self.gone(&object);
        }
        self.api.finish_namespaces();
        Ok(object)
    }

    /// The operator adds or removes its finalizer of a server.
    pub fn set_server_finalizer(
        &mut self,
        read: &FhirServer,
        finalizer: &str,
        on: bool,
    ) -> Result<FhirServer, ClusterFailure> {
        let (object, _) = self.api.set_finalizer(read, finalizer, on)?;
        self.api.finish_namespaces();
        Ok(object)
    }

    /// The operator deletes an export, with its uid and version as preconditions.
    pub fn delete_export(&mut self, read: &FhirExport) -> Result<(), ClusterFailure> {
        match self.api.current(read) {
            Ok(found) => {
                self.check_read(&found, "it is deleted");
                self.check_run_deletion(&found);
                let now = self.time.stamp();
                if self.api.delete::<FhirExport>(&key(found.as_ref()), now) {
                    self.gone(&found);
                }
                Ok(())
            }
            Err(ClusterFailure::NotFound) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}
