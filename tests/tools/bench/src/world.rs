//! What is measured in: a control plane, Azurite, the Bulk Data test server and the operator.

use std::path::PathBuf;
use std::time::Duration;

use fhir_export_operator::api::{FhirExport, FhirServer, crds};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use stage::{
    Azurite, AzuriteOptions, Folder, Kubernetes, KubernetesOptions, Process, ProcessOptions, free_port,
    wait_for,
};

use crate::{Error, Result};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);

/// All that runs; in the order in which it is to end.
pub struct World {
    operator: Process,
    server: Process,
    client: Client,
    azurite: Azurite,
    _kubernetes: Kubernetes,
    _folder: Folder,
}

impl World {
    /// Starts everything, and waits until the operator has looked at the server.
    pub async fn start(files: u64, bytes: u64, gzip: bool) -> Result<Self> {
        let folder = Folder::new("bench")?;
        let kubernetes = Kubernetes::start(KubernetesOptions::default()).await?;
        let azurite = Azurite::start(AzuriteOptions::default()).await?;
        let client = kubernetes.client().await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in crds().map_err(|e| Error::Other(e.to_string()))? {
            definitions.create(&PostParams::default(), &definition).await?;
        }
        let port = free_port()?;
        let mut server = Process::start(
            &ProcessOptions::new(beside("bulk-fhir")?, folder.path().join("server.log"))
                .arg(format!("--port={port}"))
                .arg(format!("--files={files}"))
                .arg(format!("--file-bytes={bytes}"))
                .arg("--job-seconds=1"),
        )?;
        server.wait_for_log("url=", SOON).await?;
        let operator = Process::start(
            &ProcessOptions::new(beside("fhir-export-operator")?, folder.path().join("operator.log"))
                .arg("run")
                .arg("--no-leader-elect")
                .arg("--metrics-addr=127.0.0.1:0")
                .arg("--health-addr=127.0.0.1:0")
                .env("KUBECONFIG", kubernetes.admin_kubeconfig()),
        )?;
        let world = Self { operator, server, client, azurite, _kubernetes: kubernetes, _folder: folder };
        world.connect(port, gzip).await?;
        Ok(world)
    }

    async fn connect(&self, port: u16, gzip: bool) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "storage", "labels": {"fhirexport.dev/credential": "true"}},
            "stringData": {"key": self.azurite.key()}}))?;
        Api::default_namespaced(self.client.clone()).create(&PostParams::default(), &secret).await?;
        let endpoint = self.azurite.endpoint()?.to_string();
        let server: FhirServer = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "metadata": {"name": "made"},
            "spec": {
                "url": format!("http://127.0.0.1:{port}/fhir"), "allowInsecureHTTP": true, "dialect": "BulkData",
                "auth": {"type": "None"}, "limits": {"minPollSeconds": 1},
                "storage": {"type": "AzureBlob", "compression": if gzip { "Gzip" } else { "None" },
                    "azureBlob": {"endpoint": endpoint.trim_end_matches('/'),
                        "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}}}}))?;
        let servers: Api<FhirServer> = Api::default_namespaced(self.client.clone());
        servers.create(&PostParams::default(), &server).await?;
        wait_for("the FhirServer to be ready", SOON, || async {
            let server = servers.get("made").await.map_err(|e| e.to_string())?;
            let conditions = server.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.is_true());
            if ready { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await?;
        Ok(())
    }

    /// The operator's process id.
    pub fn operator_pid(&self) -> u32 {
        self.operator.pid()
    }

    /// Exports everything, and waits until it has landed.
    pub async fn land(&self) -> Result<()> {
        let export: FhirExport = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport", "metadata": {"name": "all"},
            "spec": {"serverRef": {"name": "made"}, "request": {"level": "System", "container": "lake"}}}))?;
        let exports: Api<FhirExport> = Api::default_namespaced(self.client.clone());
        exports.create(&PostParams::default(), &export).await?;
        let ended = wait_for("the export to end", LONG, || async {
            let export = exports.get("all").await.map_err(|e| e.to_string())?;
            let status = export.status.unwrap_or_default();
            status.completion_time.map(|_| status.clone()).ok_or_else(|| format!("{:?}", status.state))
        })
        .await?;
        match ended.state_word() {
            Some("Complete") => Ok(()),
            _ => Err(Error::Other(format!("the export ended without success: {:#?}", ended.conditions))),
        }
    }

    /// Ends the operator and the server; the rest ends with this value.
    pub async fn stop(mut self) -> Result<()> {
        self.operator.stop(SOON).await?;
        self.server.stop(SOON).await?;
        Ok(())
    }
}

/// A program beside this one.
fn beside(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if program.exists() {
        return Ok(program);
    }
    Err(Error::Other(format!("{} is not there: make bench builds it", program.display())))
}
