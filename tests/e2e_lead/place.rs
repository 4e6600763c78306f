//! The world of one test: a release of the chart in a namespace of its own, a FHIR server, and exports.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use azure_fhir::{Options, Script, Server, Storage};
use fhir_export_operator::api::{FhirExport, FhirServer, crds};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use stage::{Folder, Shared, wait_for};
use tokio::sync::OnceCell;

/// The timeout of waits: long enough for a loaded machine. Tests wait for conditions and fail after this time.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The name of the release, and of its Lease and ServiceAccount.
pub const NAME: &str = "fhir-export-operator";

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

pub async fn shared() -> &'static Shared {
    SHARED.get_or_init(|| async { Shared::start(&crds().unwrap()).await.unwrap() }).await
}

pub struct Place {
    pub namespace: String,
    pub client: Client,
    pub fhir: Server,
    pub folder: Folder,
    /// The kubeconfig of the chart's ServiceAccount.
    pub kubeconfig: PathBuf,
    /// The arguments of the operator in the chart's Deployment.
    pub args: Vec<String>,
}

impl Place {
    /// Installs a release, and creates a `FhirServer` named `clinic` whose server answers each request after `latency`.
    pub async fn start(name: &str, latency: Duration) -> Self {
        let Shared { kubernetes, azurite } = shared().await;
        let namespace = format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Folder::new("lead").unwrap();
        let values = json!({
            "image": {"repository": "registry.example/fhir-export-operator"}, "replicas": 2,
            "watchNamespaces": [namespace], "crds": {"install": false},
            "log": {"format": "text", "filter": "info,fhir_export_operator::cluster=debug"},
            // The FHIR server of the test is on loopback.
            "refusedNetworks": [], "tuning": {"orphanWaitSeconds": 3},
        });
        let values = folder.write("values.json", values.to_string()).unwrap();
        let chart = "charts/fhir-export-operator";
        let line =
            format!("install {NAME} {chart} -n {namespace} --create-namespace -f {}", values.display());
        let helm = kubernetes.helm(line.split_whitespace()).await.unwrap();
        helm.directory(Path::new(env!("CARGO_MANIFEST_DIR"))).run().await.unwrap().ok().unwrap();
        let client = kubernetes.client().await.unwrap();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let pod = deployments.get(NAME).await.unwrap().spec.unwrap().template.spec.unwrap();
        let endpoint = azurite.endpoint().unwrap().to_string();
        let storage = Storage::new(endpoint.trim_end_matches('/'), azurite.account(), azurite.key());
        let script = Script::polls(1).every_time();
        let options = Options { storage: Some(storage), script, latency, ..Options::default() };
        let place = Self {
            kubeconfig: kubernetes.kubeconfig_for(NAME, &namespace).await.unwrap(),
            args: pod.containers[0].args.clone().unwrap(),
            fhir: Server::start(options).await.unwrap(),
            namespace,
            client,
            folder,
        };
        place.secret("storage", &json!({"key": azurite.key()})).await;
        place.server(endpoint.trim_end_matches('/')).await;
        place
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    async fn secret(&self, name: &str, data: &Value) {
        let labels = json!({"fhirexport.dev/credential": "true"});
        let _: Secret =
            self.create(json!({"metadata": {"name": name, "labels": labels}, "stringData": data})).await;
    }

    async fn server(&self, endpoint: &str) {
        let storage = json!({"type": "AzureBlob", "azureBlob": {"endpoint": endpoint,
            "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}});
        let limits = json!({"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 100});
        let spec = json!({"url": self.fhir.url(), "dialect": "Azure", "allowInsecureHTTP": true,
            "auth": {"type": "None"}, "limits": limits, "storage": storage});
        let _: FhirServer = self.create(json!({"metadata": {"name": "clinic"}, "spec": spec})).await;
    }

    /// Creates an export of `clinic` into a container of its own.
    pub async fn export(&self, name: &str) {
        self.export_with(name, &json!({})).await;
    }

    /// Like [`Self::export`], with `more` added to the spec.
    pub async fn export_with(&self, name: &str, more: &Value) {
        let container = self.container(name);
        let request = json!({"level": "System", "types": ["Patient"], "container": container});
        let mut spec = json!({"serverRef": {"name": "clinic"}, "request": request});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let _: FhirExport = self.create(json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    fn container(&self, export: &str) -> String {
        format!("{}-{export}", self.namespace)
    }

    /// Waits until an export has ended.
    pub async fn ended(&self, name: &str) -> FhirExport {
        let api: Api<FhirExport> = self.api();
        let what = format!("{name} to end");
        let ended = wait_for(&what, PATIENCE, || async {
            let export = api.get(name).await.map_err(|e| e.to_string())?;
            match &export.status {
                Some(status) if status.completion_time.is_some() => Ok(export),
                status => Err(format!("{status:?}")),
            }
        });
        ended.await.unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
    }

    /// The last lines of each replica's log.
    fn said(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|e| e == "log"));
        let end = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {}\n{}\n", file.display(), lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        logs.map(end).collect()
    }

    /// The Lease of the release.
    pub async fn lease(&self) -> Lease {
        self.api::<Lease>().get(NAME).await.unwrap()
    }

    /// The number of kick-offs that the FHIR server received for an export.
    pub fn kick_offs(&self, export: &str) -> usize {
        let asked = format!("_container={}&", self.container(export));
        let requests = self.fhir.requests();
        let query = |r: &azure_fhir::Request| format!("{}&", r.query.clone().unwrap_or_default());
        requests.iter().filter(|r| r.is_kick_off() && query(r).contains(&asked)).count()
    }
}
