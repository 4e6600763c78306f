//! Watches the three kinds in the watched namespaces, and fills the stores.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
use super::readable::{PartlyRead, Readable};
use super::stores::KubeStores;
use crate::api::{FhirExport, FhirExportSchedule, FhirServer, UNREAD_ANNOTATION};

/// The page size of lists. It is small, because peak memory grows with one page.
const PAGE: u32 = 50;

/// How long the API server keeps a watch open, in seconds; then the operator asks for the next one. Load balancers drop
/// connections on which nothing is sent, the one of AKS after 240 seconds, and do not always say so.
pub(super) const PERIOD: u32 = 120;

/// The watches before they run.
pub struct Watches {
    client: Client,
    scopes: Vec<Option<String>>,
    exports: Merge<FhirExport>,
    servers: Merge<FhirServer>,
    schedules: Merge<FhirExportSchedule>,
    stores: KubeStores,
    broken: Broken,
    unreadable: Unreadable,
}

/// How many watches are currently broken.
#[derive(Clone, Debug, Default)]
pub struct Broken(Arc<AtomicUsize>);

impl Broken {
    /// The number of broken watches.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many objects of each kind cannot be read, or only in part.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<Mutex<HashMap<String, usize>>>);

impl Unreadable {
    /// The number of such objects of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kind).copied().unwrap_or_default()
    }

    fn set(&self, kind: &str, count: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.to_owned(), count);
    }
}

/// Whether a kind was listed completely.
pub type Primed = watch::Receiver<bool>;

/// The watch of one kind.
pub struct Watching {
    /// The work of the watch, which must be polled for as long as the operator runs; it never completes.
    pub work: BoxFuture<'static, ()>,
    /// Whether the kind was listed completely.
    pub primed: Primed,
}

impl Watches {
    /// Prepares the watches of `namespaces`; an empty set stands for all namespaces.
    pub fn new(client: Client, namespaces: &BTreeSet<String>) -> Self {
        let scopes: Vec<Option<String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let (exports, servers, schedules) = (Merge::new(&scopes), Merge::new(&scopes), Merge::new(&scopes));
        let stores = KubeStores::new(exports.store(), servers.store(), schedules.store());
        Self {
            client,
            scopes,
            exports,
            servers,
            schedules,
            stores,
            broken: Broken::default(),
            unreadable: Unreadable::default(),
        }
    }

    /// A live count of the broken watches.
    pub fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// A live count of the objects that cannot be read.
    pub fn unreadable(&self) -> Unreadable {
        self.unreadable.clone()
    }

    /// The stores that the watches fill.
    pub fn stores(&self) -> KubeStores {
        self.stores.clone()
    }

    /// Starts the watches of exports, servers and schedules. Each change is handed over after the stores have
    /// applied it.
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
        let context = WatchContext {
            client: self.client,
            scopes: self.scopes,
            broken: self.broken,
            unreadable: self.unreadable,
        };
        [
            watching(context.clone(), self.exports, note),
            watching(context.clone(), self.servers, servers_changed),
            watching(context, self.schedules, schedules_changed),
        ]
    }
}

/// What all watches have in common: the client, the scopes, and the counts of broken watches and of objects that cannot
/// be read.
#[derive(Clone)]
struct WatchContext {
    client: Client,
    scopes: Vec<Option<String>>,
    broken: Broken,
    unreadable: Unreadable,
}

fn watching<K>(
    context: WatchContext,
    merge: Merge<K>,
    changed: impl FnMut(Change<K>) + Send + 'static,
) -> Watching
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: PartlyRead + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (tell, primed) = watch::channel(false);
    Watching { work: keep(context, merge, tell, changed).boxed(), primed }
}

async fn keep<K>(
    context: WatchContext,
    mut merge: Merge<K>,
    primed: watch::Sender<bool>,
    mut changed: impl FnMut(Change<K>) + Send,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: PartlyRead + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let WatchContext { client, scopes, broken: all_broken, unreadable } = context;
    let mut events = SelectAll::new();
    for (index, namespace) in scopes.iter().enumerate() {
        let api: Api<DeserializeGuard<Readable<K>>> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let stream =
            watcher(api, watcher::Config::default().page_size(PAGE).timeout(PERIOD)).default_backoff();
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
                unreadable.set(&K::kind(&()), merge.unreadable());
                primed.send_if_modified(|was| std::mem::replace(was, merge.primed()) != merge.primed());
            }
            // The watcher retries with back-off; one log line is enough.
            Err(error) if broken.insert(index) => {
                all_broken.0.fetch_add(1, Ordering::Relaxed);
                warn!(kind = %K::kind(&()), scope, "the watch broke, retrying: {}", root_cause(&error));
            }
            Err(_) => {}
        }
    }
}

/// Whether an object must be reconciled after a change. A changed status alone does not matter, since only
/// the operator writes it, unless it can be read again.
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
                || is_unread(old) != is_unread(new)
        }
    }
}

/// Whether this version of the operator can read the status only in part.
fn is_unread(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(UNREAD_ANNOTATION))
}

/// The reference by which kube's runtime names an object.
pub fn reference<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}
