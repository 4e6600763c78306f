//! Merges the watches of several scopes into one stream of changes and one store.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use tracing::error;

use super::readable::{PartlyRead, Readable};

/// A change of one object.
#[derive(Debug)]
pub struct Change<K> {
    /// The object before the change; absent if it was not known.
    pub old: Option<Arc<K>>,
    /// The object after the change; absent if it is gone.
    pub new: Option<Arc<K>>,
}

impl<K: Resource> Change<K> {
    /// The object that no longer exists, even if another one of the same name does.
    pub fn gone(&self) -> Option<&K> {
        let old = self.old.as_deref()?;
        let replaced = |new: &Arc<K>| new.meta().uid != old.meta().uid;
        self.new.as_ref().is_none_or(replaced).then_some(old)
    }
}

/// Maintains the store of one kind.
pub(super) struct Merge<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    store: Store<K>,
    scopes: Vec<Scope<K>>,
    unreadable: HashMap<ObjectRef<K>, String>,
}

struct Scope<K: Resource<DynamicType = ()>> {
    namespace: Option<String>,
    /// While the scope is being listed: the objects listed so far.
    listed: Option<HashSet<ObjectRef<K>>>,
    primed: bool,
}

impl<K> Merge<K>
where
    K: Resource<DynamicType = ()> + PartlyRead + Clone + 'static,
    ObjectRef<K>: Eq + Hash,
{
    /// Creates an empty store for these scopes; `None` stands for all namespaces.
    pub(super) fn new(scopes: &[Option<String>]) -> Self {
        let mut writer = Writer::default();
        // The store is readable from the start, though empty; `primed` says whether everything was listed.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let scope =
            |namespace: &Option<String>| Scope { namespace: namespace.clone(), listed: None, primed: false };
        Self {
            store: writer.as_reader(),
            writer,
            scopes: scopes.iter().map(scope).collect(),
            unreadable: HashMap::new(),
        }
    }

    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Whether every scope was listed completely at least once.
    pub(super) fn primed(&self) -> bool {
        self.scopes.iter().all(|scope| scope.primed)
    }

    /// Applies one event of the scope with that index, and returns what changed.
    pub(super) fn take(
        &mut self,
        scope: usize,
        event: Event<DeserializeGuard<Readable<K>>>,
    ) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                if let Some(scope) = self.scopes.get_mut(scope) {
                    scope.listed = Some(HashSet::new());
                }
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listed) = self.scopes.get_mut(scope).and_then(|s| s.listed.as_mut()) {
                    listed.insert(reference(&object));
                }
                self.apply(object)
            }
            Event::InitDone => self.forget_the_unlisted(scope),
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.remove(&reference(&object)),
        }
    }

    /// How many objects cannot be read, or only in part.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    fn apply(&mut self, object: DeserializeGuard<Readable<K>>) -> Vec<Change<K>> {
        let key = reference(&object);
        match object.0 {
            Ok(Readable(mut object)) => {
                match object.unread() {
                    Some(what) => self.note(&key, what.to_owned()),
                    None => drop(self.unreadable.remove(&key)),
                }
                prune(&mut object);
                let old = self.store.get(&key);
                self.writer.apply_watcher_event(&Event::Apply(object));
                vec![Change { old, new: self.store.get(&key) }]
            }
            Err(invalid) => {
                self.note(&key, invalid.error);
                // An unknown object is better than an outdated one.
                self.drop_from_store(&key)
            }
        }
    }

    /// Records and logs that an object cannot be read, once for each cause.
    fn note(&mut self, key: &ObjectRef<K>, cause: String) {
        if self.unreadable.get(key) != Some(&cause) {
            error!(
                kind = %K::kind(&()),
                name = key.name,
                namespace = key.namespace,
                "leaving an object alone that cannot be read whole: {cause}"
            );
            self.unreadable.insert(key.clone(), cause);
        }
    }

    fn remove(&mut self, key: &ObjectRef<K>) -> Vec<Change<K>> {
        self.unreadable.remove(key);
        self.drop_from_store(key)
    }

    fn drop_from_store(&mut self, key: &ObjectRef<K>) -> Vec<Change<K>> {
        let Some(old) = self.store.get(key) else { return Vec::new() };
        self.writer.apply_watcher_event(&Event::Delete((*old).clone()));
        vec![Change { old: Some(old), new: None }]
    }

    /// Removes the objects that are in the store but not in the new list, because they were deleted while the
    /// watch was interrupted.
    fn forget_the_unlisted(&mut self, scope: usize) -> Vec<Change<K>> {
        let Some(scope) = self.scopes.get_mut(scope) else { return Vec::new() };
        scope.primed = true;
        let Some(listed) = scope.listed.take() else { return Vec::new() };
        let namespace = scope.namespace.clone();
        let in_scope = |n: Option<&str>| namespace.is_none() || namespace.as_deref() == n;
        let gone: Vec<ObjectRef<K>> = self
            .store
            .state()
            .iter()
            .filter(|object| in_scope(object.meta().namespace.as_deref()))
            .map(|object| ObjectRef::from_obj(object.as_ref()))
            .filter(|key| !listed.contains(key))
            .collect();
        self.unreadable.retain(|key, _| listed.contains(key) || !in_scope(key.namespace.as_deref()));
        gone.iter().flat_map(|key| self.remove(key)).collect()
    }
}

fn reference<K: Resource<DynamicType = ()>>(object: &DeserializeGuard<Readable<K>>) -> ObjectRef<K> {
    ObjectRef::from_obj(object).into_kind_unchecked(())
}

/// Removes the parts of an object that nothing here reads and that make up most of its size.
pub(super) fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        // Even empty, a map that held something keeps its memory.
        if annotations.is_empty() {
            meta.annotations = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use kube::ResourceExt;

    use super::*;
    use crate::api::FhirExport;

    type Guarded = DeserializeGuard<Readable<FhirExport>>;

    fn export(namespace: &str, name: &str, level: &str) -> Guarded {
        let object = json!({
            "metadata": { "name": name, "namespace": namespace, "managedFields": [{ "manager": "x" }],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" } },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": level } },
        });
        serde_json::from_value(object).unwrap()
    }

    fn both() -> Merge<FhirExport> {
        Merge::new(&[Some("a".into()), Some("b".into())])
    }

    fn names(merge: &Merge<FhirExport>) -> Vec<String> {
        let mut names: Vec<String> = merge.store().state().iter().map(|e| e.name_any()).collect();
        names.sort();
        names
    }

    fn list(merge: &mut Merge<FhirExport>, scope: usize, objects: Vec<Guarded>) -> Vec<Change<FhirExport>> {
        let events = std::iter::once(Event::Init)
            .chain(objects.into_iter().map(Event::InitApply))
            .chain(std::iter::once(Event::InitDone));
        events.flat_map(|event| merge.take(scope, event)).collect()
    }

    #[test]
    fn all_scopes_must_be_listed() {
        let mut merge = both();
        list(&mut merge, 0, vec![export("a", "one", "System")]);
        assert!(!merge.primed());
        // A change in one scope while another is being listed is not lost.
        merge.take(0, Event::Apply(export("a", "two", "System")));
        list(&mut merge, 1, vec![export("b", "three", "System")]);
        assert!(merge.primed());
        assert_eq!(names(&merge), ["one", "three", "two"]);
    }

    #[test]
    fn what_went_away_unseen_is_noticed_in_its_scope_only() {
        let mut merge = both();
        list(&mut merge, 0, vec![export("a", "one", "System"), export("a", "two", "System")]);
        list(&mut merge, 1, vec![export("b", "three", "System")]);
        let changes = list(&mut merge, 0, vec![export("a", "two", "System")]);
        let gone: Vec<_> = changes.iter().filter_map(Change::gone).map(ResourceExt::name_any).collect();
        assert_eq!(gone, ["one"]);
        assert_eq!(names(&merge), ["three", "two"]);
        assert!(merge.primed());
    }

    #[test]
    fn what_becomes_unreadable_is_no_longer_known() {
        let mut merge = both();
        list(&mut merge, 0, vec![export("a", "one", "System"), export("a", "odd", "Everything")]);
        assert_eq!(names(&merge), ["one"]);
        let changes = merge.take(0, Event::Apply(export("a", "one", "Everything")));
        assert!(matches!(changes.as_slice(), [Change { old: Some(_), new: None }]));
        assert!(names(&merge).is_empty());
        assert!(merge.take(0, Event::Apply(export("a", "one", "Everything"))).is_empty());
        let changes = merge.take(0, Event::Apply(export("a", "one", "System")));
        assert!(matches!(changes.as_slice(), [Change { old: None, new: Some(_) }]));
        assert!(merge.take(0, Event::Delete(export("a", "odd", "Everything"))).is_empty());
        assert!(merge.unreadable.is_empty());
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let mut merge = both();
        merge.take(0, Event::Apply(export("a", "one", "System")));
        let one = merge.store().state().pop().unwrap();
        assert!(one.metadata.managed_fields.is_none());
        assert_eq!(one.annotations().keys().collect::<Vec<_>>(), ["kept"]);
    }
}
