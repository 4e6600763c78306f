//! What is measured in: a control plane, the servers of the benchmark, and for each run an operator of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhir_export_operator::api::{FhirExport, FhirServer, crds};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;
use stage::{Folder, Kubernetes, KubernetesOptions, Process, ProcessOptions, WELL_KNOWN_KEY, wait_for};
use tokio::time::timeout;

use crate::origin::Origin;
use crate::shape::{self, Shape};
use crate::sink::Sink;
use crate::{Error, Result};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);

/// All that runs during all measurements.
pub struct World {
    client: Client,
    /// The server of the files.
    pub origin: Origin,
    /// The storage account.
    pub sink: Sink,
    operator: PathBuf,
    kubernetes: Kubernetes,
    folder: Folder,
}

impl World {
    /// Starts everything but the operator, which is the program `operator`. The store answers after `latency`.
    pub async fn start(operator: PathBuf, longest: u64, latency: Duration) -> Result<Self> {
        if !operator.exists() {
            return Err(Error::Other(format!("{} is not there: make bench builds it", operator.display())));
        }
        let folder = Folder::new("bench")?;
        let made = folder.path().join("made.ndjson");
        shape::make(&made, longest)?;
        let (origin, sink) = (Origin::start(&made)?, Sink::start(latency)?);
        let kubernetes = Kubernetes::start(KubernetesOptions::default()).await?;
        let client = kubernetes.client().await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in crds().map_err(|error| Error::Other(error.to_string()))? {
            definitions.create(&PostParams::default(), &definition).await?;
        }
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "storage", "labels": {"fhirexport.dev/credential": "true"}},
            "stringData": {"key": WELL_KNOWN_KEY}}))?;
        Api::default_namespaced(client.clone()).create(&PostParams::default(), &secret).await?;
        Ok(Self { client, origin, sink, operator, kubernetes, folder })
    }

    /// The bytes that all files are the beginning of.
    pub fn made(&self) -> PathBuf {
        self.folder.path().join("made.ndjson")
    }

    /// The program that is measured.
    pub fn program(&self) -> &Path {
        &self.operator
    }

    /// Starts an operator, whose log has this name. It polls at once.
    pub fn operator(&self, name: &str) -> Result<Process> {
        Ok(Process::start(
            &ProcessOptions::new(&self.operator, self.folder.path().join(format!("{name}.log")))
                .arg("run")
                .arg("--no-leader-elect")
                .arg("--metrics-addr=127.0.0.1:0")
                .arg("--health-addr=127.0.0.1:0")
                .arg("--poll-floor-seconds=0.02")
                .arg("--poll-ceiling-seconds=0.05")
                .env("KUBECONFIG", self.kubernetes.admin_kubeconfig())
                .env_remove("RUST_BACKTRACE"),
        )?)
    }

    /// Creates a server, which serves a shape, and waits until the operator says that it is ready.
    pub async fn connect(&self, name: &str, shape: &Shape, gzip: bool) -> Result<()> {
        let url = format!("http://{}/{}/fhir", self.origin.address, shape.name());
        let server: FhirServer = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "metadata": {"name": name},
            "spec": {
                "url": url, "allowInsecureHTTP": true, "dialect": "BulkData", "auth": {"type": "None"},
                "limits": {"minPollSeconds": 1},
                "storage": {"type": "AzureBlob", "compression": if gzip { "Gzip" } else { "None" },
                    "azureBlob": {"endpoint": format!("http://{}/account", self.sink.address),
                        "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}}}}))?;
        let servers: Api<FhirServer> = Api::default_namespaced(self.client.clone());
        servers.create(&PostParams::default(), &server).await?;
        let is_ready = |server: Option<&FhirServer>| {
            let conditions =
                server.and_then(|server| server.status.as_ref()).map(|status| &status.conditions);
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.is_true()))
        };
        let ready = Box::pin(await_condition(servers, name, is_ready));
        self.until("the server to be ready", SOON, ready).await.map(drop)
    }

    /// Exports everything that a server has into a container of the same name. Returns when the export was created, and
    /// when it was complete.
    pub async fn land(&self, name: &str) -> Result<(Instant, Instant)> {
        let export: FhirExport = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport", "metadata": {"name": name},
            "spec": {"serverRef": {"name": name}, "request": {"level": "System", "container": name}}}))?;
        let exports: Api<FhirExport> = Api::default_namespaced(self.client.clone());
        let created = Instant::now();
        exports.create(&PostParams::default(), &export).await?;
        let has_ended = |export: Option<&FhirExport>| {
            let status = export.and_then(|export| export.status.as_ref());
            status.is_some_and(|status| status.completion_time.is_some())
        };
        let ended =
            Box::pin(self.until("the export to end", LONG, await_condition(exports, name, has_ended)))
                .await?;
        let ended_at = Instant::now();
        let status = ended.and_then(|export| export.status).unwrap_or_default();
        match status.state_word() {
            Some("Complete") => Ok((created, ended_at)),
            _ => Err(Error::Other(format!("the export ended without success: {:#?}", status.conditions))),
        }
    }

    /// Deletes the export and the server of a run, for which the operator still has to run.
    pub async fn clear(&self, name: &str) -> Result<()> {
        let exports: Api<FhirExport> = Api::default_namespaced(self.client.clone());
        exports.delete(name, &DeleteParams::default()).await?;
        wait_for("the export to be gone", SOON, || async {
            match exports.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(_) => Err("it is there".to_owned()),
            }
        })
        .await?;
        let servers: Api<FhirServer> = Api::default_namespaced(self.client.clone());
        servers.delete(name, &DeleteParams::default()).await?;
        wait_for("the server to be gone", SOON, || async {
            match servers.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(_) => Err("it is there".to_owned()),
            }
        })
        .await?;
        Ok(())
    }

    async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        condition: impl Future<Output = std::result::Result<T, kube::runtime::wait::Error>>,
    ) -> Result<T> {
        match timeout(within, condition).await {
            Ok(met) => met.map_err(|error| Error::Other(format!("{what}: {error}"))),
            Err(_) => Err(Error::Other(format!("{what}: it took longer than {} s", within.as_secs()))),
        }
    }
}
