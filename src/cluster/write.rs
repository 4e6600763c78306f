//! Writes to the API server: status, finalizers, creation and deletion of exports.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::NAME;
use super::call::{CallError, call};
use super::events::Events;
use super::merge::prune;
use crate::api::{
    CANCEL_FINALIZER, FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirExportStatus, FhirServer,
    FhirServerStatus, IN_USE_FINALIZER, Reason,
};
use crate::core::effect::Note;
use crate::metrics::{Kind, Metrics};
use crate::ports::Tenure;
use crate::ports::{Cluster, ClusterFailure, Creation};

/// How long the labels of a namespace are cached, because many exports of one namespace need them at once.
const LABELS_KEPT: Duration = Duration::from_secs(5);

type Labels = BTreeMap<String, String>;

/// Writes to the API server.
pub struct KubeCluster {
    client: Client,
    events: Events,
    metrics: Arc<Metrics>,
    labels: Mutex<HashMap<String, (Instant, Labels)>>,
    tenure: Tenure,
}

impl KubeCluster {
    /// Writes with `client`, and posts events in tasks of the runtime that this is called in. There should be one per
    /// process, because it folds repeated events.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            events: Events::new(client.clone(), &metrics),
            client,
            metrics,
            labels: Mutex::default(),
            tenure: Tenure::default(),
        }
    }

    /// Makes this writer write only while `tenure` lasts.
    #[must_use]
    pub fn within(mut self, tenure: Tenure) -> Self {
        self.tenure = tenure;
        self
    }

    /// Waits until every event that was published is posted, dropped or given up.
    pub async fn events_posted(&self) {
        self.events.posted().await;
    }

    /// Makes a call that writes. Each try first checks that this process may still act.
    async fn change<T, F, Fut>(&self, request: F) -> Result<T, CallError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        call(|| {
            self.tenure.look();
            request()
        })
        .await
    }

    fn api<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), object.meta().namespace.as_deref().unwrap_or_default())
    }

    /// Writes the status by server-side apply: fields that were written before and are absent now are
    /// removed. The resource version makes a stale write fail.
    async fn write_status<K>(&self, read: &K, status: &impl Serialize) -> Result<K, ClusterFailure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let body = Patch::Apply(json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": read.name_any(), "resourceVersion": version(read)? },
            "status": status,
        }));
        let (api, name) = (self.api(read), read.name_any());
        let parameters = PatchParams::apply(NAME).force();
        self.change(|| api.patch_status(&name, &parameters, &body))
            .await
            .map(pruned)
            .map_err(|e| e.failure(&format!("write the status of {}", describe(read))))
    }

    /// Adds or removes a finalizer by replacing the whole list, on the resource version that was read, so
    /// that other finalizers stay.
    async fn set_finalizer<K>(&self, read: &K, finalizer: &str, on: bool) -> Result<K, ClusterFailure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let wanted = match (read.finalizers().iter().any(|f| f == finalizer), on) {
            (true, true) | (false, false) => return Ok(read.clone()),
            (false, true) => [read.finalizers(), &[finalizer.to_string()]].concat(),
            (true, false) => read.finalizers().iter().filter(|f| *f != finalizer).cloned().collect(),
        };
        // Not a `test` of the version, whose failure would be reported as 422, like a real mistake. Replacing
        // the version with the one that was read makes the API server compare them and answer 409.
        let operations: Value = json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": version(read)? },
            { "op": "add", "path": "/metadata/finalizers", "value": wanted },
        ]);
        let (api, name) = (self.api(read), read.name_any());
        let parameters = PatchParams { field_manager: Some(NAME.into()), ..PatchParams::default() };
        let patch = serde_json::from_value(operations)
            .map_err(|e| ClusterFailure::Other(format!("The finalizer patch is invalid: {e}")))?;
        let patch = Patch::Json::<()>(patch);
        self.change(|| api.patch(&name, &parameters, &patch))
            .await
            .map(pruned)
            .map_err(|e| e.failure(&format!("change the finalizers of {}", describe(read))))
    }

    fn remembered(&self, namespace: &str) -> Option<Labels> {
        let mut all = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (at, _)| at.elapsed() < LABELS_KEPT);
        all.get(namespace).map(|(_, labels)| labels.clone())
    }
}

impl Cluster for KubeCluster {
    async fn write_export_status(
        &self,
        read: &FhirExport,
        status: &FhirExportStatus,
    ) -> Result<FhirExport, ClusterFailure> {
        let written = self.write_status(read, status).await?;
        self.metrics.status_written(Kind::FhirExport);
        self.metrics.export_moved(read, status);
        Ok(written)
    }

    async fn write_server_status(
        &self,
        read: &FhirServer,
        status: &FhirServerStatus,
    ) -> Result<FhirServer, ClusterFailure> {
        let written = self.write_status(read, status).await?;
        self.metrics.status_written(Kind::FhirServer);
        Ok(written)
    }

    async fn write_schedule_status(
        &self,
        read: &FhirExportSchedule,
        status: &FhirExportScheduleStatus,
    ) -> Result<FhirExportSchedule, ClusterFailure> {
        let written = self.write_status(read, status).await?;
        self.metrics.status_written(Kind::FhirExportSchedule);
        Ok(written)
    }

    async fn create_export(&self, export: &FhirExport) -> Result<Creation, ClusterFailure> {
        let (api, name) = (self.api(export), export.name_any());
        let parameters = PostParams { field_manager: Some(NAME.into()), ..PostParams::default() };
        match self.change(|| api.create(&parameters, export)).await {
            Ok(made) => Ok(Creation::Made(Box::new(pruned(made)))),
            // If it was deleted in the meantime, the next reconcile creates it.
            Err(CallError::AlreadyExists) => {
                let there = self.read_export(&export.namespace().unwrap_or_default(), &name).await?;
                Ok(Creation::Exists(Box::new(there.ok_or(ClusterFailure::Conflict)?)))
            }
            Err(CallError::Forbidden(words) | CallError::Refused(words)) => Ok(Creation::Refused(words)),
            Err(e) => Err(e.failure(&format!("create {}", describe(export)))),
        }
    }

    async fn read_export(&self, namespace: &str, name: &str) -> Result<Option<FhirExport>, ClusterFailure> {
        let api: Api<FhirExport> = Api::namespaced(self.client.clone(), namespace);
        let read = call(|| api.get_opt(name)).await;
        Ok(read.map_err(|e| e.failure(&format!("read FhirExport {namespace}/{name}")))?.map(pruned))
    }

    async fn set_export_finalizer(&self, read: &FhirExport, on: bool) -> Result<FhirExport, ClusterFailure> {
        self.set_finalizer(read, CANCEL_FINALIZER, on).await
    }

    async fn set_server_finalizer(&self, read: &FhirServer, on: bool) -> Result<FhirServer, ClusterFailure> {
        self.set_finalizer(read, IN_USE_FINALIZER, on).await
    }

    async fn delete_export(&self, read: &FhirExport) -> Result<(), ClusterFailure> {
        let preconditions = Preconditions { uid: read.uid(), resource_version: Some(version(read)?) };
        let parameters = DeleteParams::background().preconditions(preconditions);
        let (api, name) = (self.api(read), read.name_any());
        match self.change(|| api.delete(&name, &parameters)).await {
            Ok(_) | Err(CallError::NotFound) => Ok(()),
            Err(e) => Err(e.failure(&format!("delete {}", describe(read)))),
        }
    }

    async fn publish(&self, about: &FhirExport, note: &Note) {
        if note.reason == Reason::CancelUnconfirmed {
            self.metrics.cancel_unconfirmed();
        }
        self.tenure.look();
        let state = about.status.as_ref().and_then(FhirExportStatus::state_word);
        self.events.publish(about, state, note);
    }

    async fn publish_of_schedule(&self, about: &FhirExportSchedule, note: &Note) {
        self.tenure.look();
        self.events.publish(about, None, note);
    }

    async fn namespace_labels(&self, namespace: &str) -> Result<Labels, ClusterFailure> {
        if let Some(labels) = self.remembered(namespace) {
            return Ok(labels);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let read = call(|| api.get_metadata(namespace))
            .await
            .map_err(|e| e.failure(&format!("read the labels of namespace {namespace}")))?;
        let labels = read.metadata.labels.unwrap_or_default();
        let mut all = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(namespace.to_string(), (Instant::now(), labels.clone()));
        Ok(labels)
    }
}

fn version<K: Resource>(read: &K) -> Result<String, ClusterFailure> {
    // Without a resource version the write would overwrite whatever happened in the meantime.
    read.resource_version()
        .ok_or_else(|| ClusterFailure::Other("An object without resourceVersion cannot be written.".into()))
}

fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}

fn pruned<K: Resource>(mut object: K) -> K {
    prune(&mut object);
    object
}
