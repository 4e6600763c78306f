//! Watches the three kinds in the watched namespaces, and keeps the stores.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{info, warn};

use super::call::root_cause;
pub use super::merge::Change;
use super::merge::Merge;
use super::stores::KubeStores;
use crate::api::{FhirExport, FhirExportSchedule, FhirServer};

/// Objects in one answer of a list: small, since the peak of memory is one answer.
const PAGE: u32 = 50;

/// The watches, not running yet.
pub struct Watches {
    client: Client,
    scopes: Vec<Option<String>>,
    exports: Merge<FhirExport>,
    servers: Merge<FhirServer>,
    schedules: Merge<FhirExportSchedule>,
    stores: KubeStores,
    broken: Broken,
}

/// How many watches do not work now.
#[derive(Clone, Debug, Default)]
pub struct Broken(Arc<AtomicUsize>);

impl Broken {
    /// So many.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a kind was listed whole.
pub type Primed = watch::Receiver<bool>;

/// One watch.
pub struct Watching {
    /// To be driven for as long as the operator works; does not end.
    pub work: BoxFuture<'static, ()>,
    /// Whether its kind was listed whole.
    pub primed: Primed,
}

impl Watches {
    /// Of these namespaces; none: of all.
    pub fn new(client: Client, namespaces: &BTreeSet<String>) -> Self {
        let scopes: Vec<Option<String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let (exports, servers, schedules) = (Merge::new(&scopes), Merge::new(&scopes), Merge::new(&scopes));
        let stores = KubeStores::new(exports.store(), servers.store(), schedules.store());
        Self { client, scopes, exports, servers, schedules, stores, broken: Broken::default() }
    }

    /// How many of them do not work, from now on.
    pub fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// What the watches know.
    pub fn stores(&self) -> KubeStores {
        self.stores.clone()
    }

    /// The watches of exports, servers and schedules. Each change is handed over after the stores know it.
    pub fn start(
        self,
        mut exports_changed: impl FnMut(Change<FhirExport>) + Send + 'static,
        servers_changed: impl FnMut(Change<FhirServer>) + Send + 'static,
        schedules_changed: impl FnMut(Change<FhirExportSchedule>) + Send + 'static,
    ) -> [Watching; 3] {
        let stores = self.stores;
        let note = move |change: Change<FhirExport>| {
            stores.note(&change);
            exports_changed(change);
        };
        let place = Place { client: self.client, scopes: self.scopes, broken: self.broken };
        [
            watching(place.clone(), self.exports, note),
            watching(place.clone(), self.servers, servers_changed),
            watching(place, self.schedules, schedules_changed),
        ]
    }
}

/// Where is watched, and what counts the watches that do not work.
#[derive(Clone)]
struct Place {
    client: Client,
    scopes: Vec<Option<String>>,
    broken: Broken,
}

fn watching<K>(place: Place, merge: Merge<K>, changed: impl FnMut(Change<K>) + Send + 'static) -> Watching
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (tell, primed) = watch::channel(false);
    Watching { work: keep(place, merge, tell, changed).boxed(), primed }
}

async fn keep<K>(
    place: Place,
    mut merge: Merge<K>,
    primed: watch::Sender<bool>,
    mut changed: impl FnMut(Change<K>) + Send,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let Place { client, scopes, broken: all_broken } = place;
    let mut events = SelectAll::new();
    for (index, namespace) in scopes.iter().enumerate() {
        let api: Api<DeserializeGuard<K>> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let stream = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
        events.push(stream.map(move |event| (index, event)).boxed());
    }
    let mut broken: HashSet<usize> = HashSet::new();
    while let Some((index, event)) = events.next().await {
        let scope = scopes.get(index).and_then(Option::as_deref).unwrap_or("all namespaces");
        match event {
            Ok(event) => {
                if broken.remove(&index) {
                    all_broken.0.fetch_sub(1, Ordering::Relaxed);
                    info!(kind = %K::kind(&()), scope, "the watch works again");
                }
                merge.take(index, event).into_iter().for_each(&mut changed);
                primed.send_if_modified(|was| std::mem::replace(was, merge.primed()) != merge.primed());
            }
            // It is tried again, with back-off; once is enough to say so.
            Err(error) if broken.insert(index) => {
                all_broken.0.fetch_add(1, Ordering::Relaxed);
                warn!(kind = %K::kind(&()), scope, "the watch broke and is tried again: {}", root_cause(&error));
            }
            Err(_) => {}
        }
    }
}

/// Whether an export, or a server, must be looked at: its own status does not matter, since only we write it.
pub fn matters<K: Resource>(change: &Change<K>) -> bool {
    match (&change.old, &change.new) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => {
            let (old, new) = (old.meta(), new.meta());
            old.uid != new.uid
                || old.generation != new.generation
                || old.finalizers != new.finalizers
                || old.deletion_timestamp != new.deletion_timestamp
        }
    }
}

/// How kube's runtime names an object.
pub fn reference<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}
