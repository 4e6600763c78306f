//! The API server as a client: creates and deletes objects, and watches all of them, so that the last state of a
//! deleted object is known too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fhir_export_operator::api::{FhirExport, FhirExportStatus, FhirServer};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use stage::{Kubernetes, wait_for};
use tokio::task::JoinSet;

use crate::plan::{Planned, Site};
use crate::servers::Servers;
use crate::stores::Stores;
use crate::{Error, Result};

/// How long requests are repeated: the time in which the API server can start twice.
const INSISTS_FOR: Duration = Duration::from_secs(120);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// An export as it was last seen.
#[derive(Debug, Clone)]
pub struct Known {
    /// The object.
    pub object: FhirExport,
    /// The status in which the export was first seen to have ended.
    ended: Option<FhirExportStatus>,
    /// Whether the status was seen to change afterwards, but for the generations in it.
    pub changed_after_end: bool,
}

/// An event about an object.
#[derive(Debug, Clone)]
pub struct Noted {
    /// The uid of the object.
    pub about: String,
    /// The reason.
    pub reason: String,
    /// The message.
    pub note: String,
}

/// All objects that were seen, by uid.
#[derive(Debug, Default)]
pub struct Seen {
    exports: Mutex<BTreeMap<String, Known>>,
    events: Mutex<BTreeMap<String, Noted>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// All exports that were seen.
    pub fn exports(&self) -> Vec<Known> {
        lock(&self.exports).values().cloned().collect()
    }

    /// All events that were seen.
    pub fn events(&self) -> Vec<Noted> {
        lock(&self.events).values().cloned().collect()
    }

    /// Records the current state of an export.
    pub fn export(&self, object: FhirExport) {
        let Some(uid) = object.uid() else { return };
        let status = but_for_generations(object.status.clone().unwrap_or_default());
        let mut exports = lock(&self.exports);
        let before = exports.get(&uid);
        // A watch may deliver an older version than a list already did.
        if before.is_some_and(|known| version(&known.object) > version(&object)) {
            return;
        }
        let mut ended = before.and_then(|known| known.ended.clone());
        let mut changed_after_end = before.is_some_and(|known| known.changed_after_end);
        changed_after_end |= ended.as_ref().is_some_and(|ended| *ended != status);
        if ended.is_none() && status.completion_time.is_some() {
            ended = Some(status);
        }
        exports.insert(uid, Known { object, ended, changed_after_end });
    }

    fn event(&self, event: Event) {
        let (Some(uid), Some(about)) = (event.uid(), event.regarding.and_then(|regarding| regarding.uid))
        else {
            return;
        };
        let (reason, note) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        lock(&self.events).insert(uid, Noted { about, reason, note });
    }
}

/// A status without the generations, which follow the spec after the end as well: an owner may cancel what is complete.
fn but_for_generations(mut status: FhirExportStatus) -> FhirExportStatus {
    status.observed_generation = None;
    status.conditions.iter_mut().for_each(|condition| condition.observed_generation = None);
    status
}

fn version(export: &FhirExport) -> u64 {
    export.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// A client of the API server, with a record of the objects that were seen.
pub struct Cluster {
    /// All objects that were seen since the start.
    pub seen: Arc<Seen>,
    client: Client,
    _watches: JoinSet<()>,
}

impl Cluster {
    /// Installs the definitions and begins to watch.
    pub async fn open(kubernetes: &Kubernetes) -> Result<Self> {
        let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../crds");
        for arguments in [
            ["apply", "--server-side", "-f", definitions].as_slice(),
            &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"],
        ] {
            kubernetes.kubectl(arguments.iter().copied()).await?.run().await?.ok()?;
        }
        let client = kubernetes.client().await?;
        let seen = Arc::new(Seen::default());
        let mut watches = JoinSet::new();
        let exports = watcher(Api::all(client.clone()), watcher::Config::default());
        let to = Arc::clone(&seen);
        watches.spawn(follow(exports, move |export| to.export(export)));
        let events = watcher(Api::all(client.clone()), watcher::Config::default());
        let to = Arc::clone(&seen);
        watches.spawn(follow(events, move |event| to.event(event)));
        Ok(Self { seen, client, _watches: watches })
    }

    /// Creates a namespace with its Secrets and FhirServers.
    pub async fn prepare(&self, namespace: &str, servers: &Servers, stores: &Stores) -> Result<()> {
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &object).await?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        for (name, data) in servers.secrets().into_iter().chain(stores.secrets()) {
            let labels = json!({ "fhirexport.dev/credential": "true" });
            let secret: Secret = serde_json::from_value(
                json!({ "metadata": { "name": name, "labels": labels }, "stringData": data }),
            )?;
            secrets.create(&PostParams::default(), &secret).await?;
        }
        let api: Api<FhirServer> = Api::namespaced(self.client.clone(), namespace);
        for site in Site::ALL {
            let server: FhirServer = serde_json::from_value(json!({
                "apiVersion": "fhirexport.dev/v1alpha1",
                "kind": "FhirServer",
                "metadata": { "name": site.name() },
                "spec": servers.spec(site, &stores.spec(site, namespace)),
            }))?;
            api.create(&PostParams::default(), &server).await?;
        }
        Ok(())
    }

    fn exports(&self, namespace: &str) -> Api<FhirExport> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an export, and repeats the request while the API server is down.
    pub async fn create(&self, planned: &Planned) -> Result<()> {
        let export: FhirExport = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1",
            "kind": "FhirExport",
            "metadata": { "name": planned.name() },
            "spec": planned.spec,
        }))?;
        let api = self.exports(planned.namespace);
        let name = planned.name();
        insist("making an export", || async {
            match api.create(&PostParams::default(), &export).await {
                // The answer to an earlier try was lost; the export exists.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                made => drop(made?),
            }
            api.get(&name).await
        })
        .await
        // A watch that has just restarted may miss an export that is deleted soon.
        .map(|export| self.seen.export(export))
    }

    /// Deletes an export.
    pub async fn delete(&self, planned: &Planned) -> Result<()> {
        let api = self.exports(planned.namespace);
        insist("deleting an export", || async {
            match api.delete(&planned.name(), &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        })
        .await
    }

    /// Sets `spec.cancel` of an export.
    pub async fn cancel(&self, planned: &Planned) -> Result<()> {
        let api = self.exports(planned.namespace);
        let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
        insist("cancelling an export", || async {
            api.patch(&planned.name(), &PatchParams::default(), &patch).await.map(drop)
        })
        .await
    }

    /// Deletes a namespace, and waits until the objects in it are being deleted. The API server must not be restarted
    /// meanwhile: while it starts it does not serve the custom resources yet, and the namespace would be removed
    /// without them.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let exports = self.exports(name);
        insist("the kinds to be shown", || async { exports.list(&ListParams::default()).await.map(drop) })
            .await?;
        insist("deleting a namespace", || async {
            match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        })
        .await?;
        let marked = wait_for("a namespace to be emptied", INSISTS_FOR, || async {
            let all = exports.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let left = all.iter().filter(|export| export.metadata.deletion_timestamp.is_none()).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} are not being deleted")) }
        });
        marked.await.map_err(Error::from)
    }

    /// Whether a namespace exists.
    pub async fn has_namespace(&self, name: &str) -> Result<bool> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        insist("looking for a namespace", || async { api.get_opt(name).await.map(|found| found.is_some()) })
            .await
    }

    /// All exports as they are now. Records them and all events.
    pub async fn list(&self) -> Result<Vec<FhirExport>> {
        let api: Api<FhirExport> = Api::all(self.client.clone());
        let all = insist("listing exports", || async {
            api.list(&ListParams::default()).await.map(|list| list.items)
        })
        .await?;
        all.iter().cloned().for_each(|export| self.seen.export(export));
        let events: Api<Event> = Api::all(self.client.clone());
        let events = insist("listing events", || async {
            events.list(&ListParams::default()).await.map(|list| list.items)
        });
        events.await?.into_iter().for_each(|event| self.seen.event(event));
        Ok(all)
    }
}

/// Repeats `attempt` until it succeeds, for at most [`INSISTS_FOR`].
async fn insist<T, F, Fut>(what: &str, attempt: F) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, kube::Error>>,
{
    let done = wait_for(what, INSISTS_FOR, || async {
        match tokio::time::timeout(ANSWERED_WITHIN, attempt()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    });
    done.await.map_err(Error::from)
}

/// Passes every object of a watch to `take`. A watch that breaks off is restarted.
async fn follow<K: Send>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    take: impl Fn(K) + Send,
) {
    let mut stream = std::pin::pin!(stream.default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(
                watcher::Event::Apply(object)
                | watcher::Event::InitApply(object)
                | watcher::Event::Delete(object),
            ) => {
                take(object);
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
        }
    }
}
