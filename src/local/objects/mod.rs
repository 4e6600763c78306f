//! The objects, as an API server keeps them: with versions, generations, finalizers and owners. Each change is in the
//! state file before it is answered or seen by anybody.

mod object;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::refusal::Refusal;
use super::state::{Contents, StateFile};
use crate::api::VERSION;
use crate::offline::{Definitions, Fault};
use crate::show::{Key, ObjectKind};
pub use object::meta;
use object::{born, changed, deleted, differ, is_released, owners, set_version, with_status};

/// How many changes are kept for watches.
const REMEMBERED: usize = 1024;

/// How an object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// It is new.
    Added,
    /// It is another than before.
    Modified,
    /// It is gone.
    Deleted,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// How it changed.
    pub type_: ChangeType,
    /// The object that changed.
    pub key: Key,
    /// The object after the change, or as it last was if it is gone.
    pub object: Arc<Value>,
    version: u64,
}

/// What became of an object that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created,
    /// It is another than before.
    Configured,
    /// It is as before.
    Unchanged,
}

impl Applied {
    /// The word that `kubectl apply` says.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What has to hold for a deletion.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The version that the object must have.
    pub resource_version: Option<String>,
}

/// The objects of a state file.
pub struct Objects {
    all: Mutex<All>,
    definitions: Definitions,
    version: watch::Sender<u64>,
}

struct All {
    file: StateFile,
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// The last changes, oldest first.
    changes: VecDeque<Change>,
    /// The version up to which changes are no longer remembered.
    forgotten: u64,
    /// The objects that this process works on.
    scope: BTreeSet<Key>,
    /// The uids of these objects. What they own belongs to them, also when the owner is gone.
    owners: BTreeSet<String>,
}

impl Objects {
    /// The objects of `file`, which held `contents`. Objects that cannot be named are left out.
    pub fn new(file: StateFile, contents: Contents, definitions: Definitions) -> Self {
        let objects = contents.objects.into_iter().filter_map(|object| Some((Key::of(&object)?, object)));
        let version = contents.resource_version;
        let all = All {
            file,
            version,
            objects: objects.collect(),
            changes: VecDeque::new(),
            forgotten: version,
            scope: BTreeSet::new(),
            owners: BTreeSet::new(),
        };
        Self { all: Mutex::new(all), definitions, version: watch::Sender::new(version) }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The definitions that objects are checked against.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The version of the last change.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Makes `keys`, and what objects among them own, the objects that this process works on. The others rest in the
    /// state file.
    pub fn work_on(&self, keys: impl IntoIterator<Item = Key>) {
        let mut all = self.all();
        all.scope = keys.into_iter().collect();
        let scoped = all.scope.iter().filter_map(|key| all.objects.get(key));
        all.owners = scoped.filter_map(|object| meta(object, "uid")).map(str::to_owned).collect();
    }

    /// The keys of all objects, whether or not this process works on them.
    pub fn keys(&self) -> Vec<Key> {
        self.all().objects.keys().cloned().collect()
    }

    /// An object, whether or not this process works on it.
    pub fn find(&self, key: &Key) -> Option<Value> {
        self.all().objects.get(key).cloned()
    }

    /// An object that this process works on.
    pub fn get(&self, key: &Key) -> Result<Value, Refusal> {
        let all = self.all();
        let object = all.objects.get(key).filter(|object| all.works_on(key, object));
        object.cloned().ok_or_else(|| not_found(key))
    }

    /// The objects of a kind that this process works on, in a namespace or in all, and the version of the list.
    pub fn list(&self, kind: ObjectKind, namespace: Option<&str>) -> (u64, Vec<Value>) {
        let all = self.all();
        let listed = all.objects.iter().filter(|(key, object)| {
            key.kind == kind && namespace.is_none_or(|n| n == key.namespace) && all.works_on(key, object)
        });
        (all.version, listed.map(|(_, object)| object.clone()).collect())
    }

    /// The changes of a kind after `version`, oldest first, and the version that they lead to.
    pub fn changes(
        &self,
        kind: ObjectKind,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<(u64, Vec<Change>), Refusal> {
        let all = self.all();
        if version < all.forgotten {
            return Err(Refusal::Expired(version));
        }
        let wanted = all.changes.iter().filter(|change| {
            let Change { key, object, .. } = change;
            change.version > version
                && key.kind == kind
                && namespace.is_none_or(|n| n == key.namespace)
                && all.works_on(key, object)
        });
        Ok((all.version, wanted.cloned().collect()))
    }

    /// Creates an object.
    pub fn create(&self, key: &Key, object: Value) -> Result<Value, Refusal> {
        let mut all = self.all();
        if all.objects.contains_key(key) {
            return Err(Refusal::AlreadyExists(key.clone()));
        }
        self.checked(key, &object, None)?;
        let new = born(object, &Uuid::new_v4().to_string(), Timestamp::now());
        self.commit(&mut all, key, ChangeType::Added, new)
    }

    /// Replaces an object except for its status by what `change` makes of it.
    pub fn update(
        &self,
        key: &Key,
        change: impl FnOnce(Value) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let mut all = self.all();
        let old = all.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        let wanted = change(old.clone())?;
        same_version(key, &old, meta(&wanted, "resourceVersion"))?;
        let new = changed(&old, wanted);
        if new.get("spec") != old.get("spec") {
            self.checked(key, &new, Some(&old))?;
        }
        self.replace(&mut all, key, &old, new)
    }

    /// Creates or replaces an object that was checked before, except for its status. Returns what became of it.
    pub fn apply(&self, key: &Key, object: Value) -> Result<Applied, Refusal> {
        let mut all = self.all();
        let Some(old) = all.objects.get(key).cloned() else {
            let new = born(object, &Uuid::new_v4().to_string(), Timestamp::now());
            self.commit(&mut all, key, ChangeType::Added, new)?;
            return Ok(Applied::Created);
        };
        let new = changed(&old, object);
        let applied = if differ(&old, &new) { Applied::Configured } else { Applied::Unchanged };
        self.replace(&mut all, key, &old, new)?;
        Ok(applied)
    }

    /// Replaces the status of an object of this version.
    pub fn write_status(&self, key: &Key, version: Option<&str>, status: Value) -> Result<Value, Refusal> {
        let mut all = self.all();
        let old = all.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        same_version(key, &old, version)?;
        let new = with_status(&old, status);
        self.replace(&mut all, key, &old, new)
    }

    /// Deletes an object: at once, or when its last finalizer is removed. What it owns is deleted with it.
    pub fn delete(&self, key: &Key, preconditions: &Preconditions) -> Result<Value, Refusal> {
        let mut all = self.all();
        let old = all.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        same_version(key, &old, preconditions.resource_version.as_deref())?;
        if preconditions.uid.as_deref().is_some_and(|uid| meta(&old, "uid") != Some(uid)) {
            return Err(Refusal::Conflict(key.clone()));
        }
        let new = deleted(&old, Timestamp::now());
        self.replace(&mut all, key, &old, new)
    }

    fn checked(&self, key: &Key, object: &Value, old: Option<&Value>) -> Result<(), Refusal> {
        let definition = self.definitions.find(key.kind.as_str(), VERSION);
        let faults = definition.map(|definition| definition.faults(object, old)).unwrap_or_default();
        if faults.is_empty() {
            return Ok(());
        }
        let said: Vec<String> = faults.iter().map(Fault::to_string).collect();
        Err(Refusal::Invalid(format!("{key} is invalid: {}", said.join("; "))))
    }

    fn replace(&self, all: &mut All, key: &Key, old: &Value, new: Value) -> Result<Value, Refusal> {
        if !differ(old, &new) {
            return Ok(old.clone());
        }
        if !is_released(&new) {
            return self.commit(all, key, ChangeType::Modified, new);
        }
        let gone = self.commit(all, key, ChangeType::Deleted, new)?;
        let owner = meta(&gone, "uid").unwrap_or_default();
        let owned = all.objects.iter().filter(|(_, object)| owners(object).any(|uid| uid == owner));
        let owned: Vec<(Key, Value)> = owned.map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in owned {
            let new = deleted(&object, Timestamp::now());
            self.replace(all, &key, &object, new)?;
        }
        Ok(gone)
    }

    /// Stores a change. Nothing has changed if the state file cannot be written.
    fn commit(&self, all: &mut All, key: &Key, type_: ChangeType, mut new: Value) -> Result<Value, Refusal> {
        let version = all.version.saturating_add(1);
        set_version(&mut new, version);
        let old = match type_ {
            ChangeType::Added | ChangeType::Modified => all.objects.insert(key.clone(), new.clone()),
            ChangeType::Deleted => all.objects.remove(key),
        };
        if let Err(e) = all.file.save(version, all.objects.values()) {
            match old {
                Some(old) => all.objects.insert(key.clone(), old),
                None => all.objects.remove(key),
            };
            return Err(Refusal::NotWritten(e.to_string()));
        }
        all.version = version;
        all.changes.push_back(Change { type_, key: key.clone(), object: Arc::new(new.clone()), version });
        if all.changes.len() > REMEMBERED
            && let Some(oldest) = all.changes.pop_front()
        {
            all.forgotten = oldest.version;
        }
        self.version.send_replace(version);
        Ok(new)
    }
}

impl All {
    fn works_on(&self, key: &Key, object: &Value) -> bool {
        self.scope.contains(key) || owners(object).any(|owner| self.owners.contains(owner))
    }
}

fn not_found(key: &Key) -> Refusal {
    Refusal::NotFound(key.to_string())
}

/// Fails unless `version` is that of the object. A request without a version takes any.
fn same_version(key: &Key, object: &Value, version: Option<&str>) -> Result<(), Refusal> {
    if version.is_none() || version == meta(object, "resourceVersion") {
        return Ok(());
    }
    Err(Refusal::Conflict(key.clone()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
