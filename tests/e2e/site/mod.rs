//! The world of one test: a namespace, a FHIR server, a storage account and an operator process. When it is dropped,
//! everything that the operator left behind is searched for secrets and patients.

mod collector;
mod marks;
mod traces;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use azure_fhir::{Options, Server, Storage};
use blobs::s3::Bucket;
use fhir_export_operator::api::{FhirExport, FhirServer, crds};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use stage::{
    Folder, Process, ProcessOptions, S3_KEY, S3_KEY_ID, S3_REGION, S3Kind, S3Server, Shared, wait_for,
};
use tokio::sync::OnceCell;

pub use collector::Collector;
use marks::Marks;

/// The timeout of waits: long enough for a loaded machine. Tests wait for conditions and fail after this time.
pub const PATIENCE: Duration = Duration::from_secs(60);

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static S3: OnceCell<S3Server> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The control plane, with the CRDs, and the storage emulator that all tests share. Starts them at the first call.
pub async fn shared() -> &'static Shared {
    SHARED.get_or_init(|| async { Shared::start(&crds().unwrap()).await.unwrap() }).await
}

/// The bucket of the S3 store.
const BUCKET: &str = "clinic-lake";
/// The folder of that bucket in which the containers are.
pub const S3_PREFIX: &str = "exports/fhir";

/// The S3 store that all tests share. Starts it at the first call.
async fn s3() -> &'static S3Server {
    S3.get_or_init(|| async { S3Server::start(S3Kind::Versity).await.unwrap() }).await
}

/// The world of one test.
pub struct Site {
    pub namespace: String,
    pub client: Client,
    pub fhir: Server,
    pub folder: Folder,
    /// The folder of a volume in which the containers are, if the storage is one.
    pub lake: Option<PathBuf>,
    /// The bucket of an S3 store in which the containers are, if the storage is one.
    pub bucket: Option<Bucket>,
    pub operator: Option<Process>,
    /// The program that runs as the operator.
    pub program: PathBuf,
    pub kubeconfig: PathBuf,
    starts: u32,
    pub flags: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Where the operator sends traces, since its first start.
    pub collector: Option<Collector>,
    /// The values that the test put into Secrets, and others that it added.
    pub marks: Mutex<Marks>,
    /// Exports that were deleted, as they last were.
    gone: Mutex<Vec<FhirExport>>,
}

impl Site {
    /// Starts a world with an operator and a `FhirServer` named `clinic`, which needs no authentication and has
    /// storage by account key.
    pub async fn start(name: &str) -> Self {
        let mut site = Self::without_server(name, Options::default()).await;
        site.apply_server(json!({})).await;
        site.start_operator().await;
        site
    }

    /// Starts a world without a `FhirServer` and without an operator.
    pub async fn without_server(name: &str, options: Options) -> Self {
        let shared = shared().await;
        let client = shared.kubernetes.client().await.unwrap();
        let namespace = format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let endpoint = shared.azurite.endpoint().unwrap().to_string();
        let storage =
            Storage::new(endpoint.trim_end_matches('/'), shared.azurite.account(), shared.azurite.key());
        let storage = options.storage.clone().or(Some(storage));
        let fhir = Server::start(Options { storage, ..options }).await.unwrap();
        let site = Self {
            namespace,
            client,
            fhir,
            folder: Folder::new("e2e").unwrap(),
            lake: None,
            bucket: None,
            operator: None,
            program: env!("CARGO_BIN_EXE_fhir-export-operator").into(),
            kubeconfig: shared.kubernetes.admin_kubeconfig(),
            starts: 0,
            flags: Vec::new(),
            variables: Vec::new(),
            collector: None,
            marks: Mutex::default(),
            gone: Mutex::default(),
        };
        site.secret("storage", json!({"key": shared.azurite.key()}), true).await;
        site
    }

    /// Gives the operator a volume, of which this namespace may use one folder. Returns the storage of a `FhirServer`
    /// that names it. Until [`mount`](Self::mount) is called, the volume is missing.
    pub fn volume(&mut self) -> Value {
        let volumes = self.folder.path().join("volumes");
        std::fs::create_dir(&volumes).unwrap();
        self.flags.push(format!("--volumes={}", volumes.display()));
        self.flags.push(format!("--volume-grants={}=lake/exports", self.namespace));
        self.lake = Some(volumes.join("lake/exports/fhir"));
        json!({"type": "Volume", "azureBlob": null, "volume": {"claimName": "lake", "path": "exports/fhir"}})
    }

    /// Makes the bucket of an S3 store, and a Secret with its access key. Returns the storage of a `FhirServer` that
    /// names it.
    pub async fn s3(&mut self) -> Value {
        let store = s3().await;
        let bucket = Bucket::open(store, BUCKET).unwrap();
        bucket.create().await.unwrap();
        self.bucket = Some(bucket);
        let keys = json!({"AWS_ACCESS_KEY_ID": S3_KEY_ID, "AWS_SECRET_ACCESS_KEY": S3_KEY});
        self.secret("s3", keys, true).await;
        let endpoint = Self::s3_endpoint().await;
        json!({"type": "S3", "azureBlob": null, "s3": {"region": S3_REGION, "bucket": BUCKET,
            "prefix": S3_PREFIX, "endpoint": endpoint,
            "auth": {"type": "AccessKey", "secretRef": {"name": "s3"}}}})
    }

    /// The endpoint of the S3 store.
    pub async fn s3_endpoint() -> String {
        s3().await.endpoint().unwrap().to_string().trim_end_matches('/').to_owned()
    }

    /// Makes the directory of the volume, and marks it as one.
    pub fn mount(&self) {
        let volume = self.folder.path().join("volumes/lake");
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(volume.join(".fhir-export-volume"), b"").unwrap();
    }

    /// The blob endpoint of the emulator.
    pub async fn blob_endpoint() -> String {
        shared().await.azurite.endpoint().unwrap().to_string().trim_end_matches('/').to_owned()
    }

    /// Creates a Secret, with or without the credential label, in place of an earlier one of this name.
    pub async fn secret(&self, name: &str, data: Value, labelled: bool) {
        for (key, value) in data.as_object().unwrap().iter().filter(|(key, _)| *key != "username") {
            let what = format!("key {key} of Secret {name}");
            self.marks.lock().unwrap().add_secret(&what, value.as_str().unwrap());
        }
        let labels = if labelled { json!({"fhirexport.dev/credential": "true"}) } else { json!({}) };
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "stringData": data}))
                .unwrap();
        let api: Api<Secret> = self.api();
        let _ = api.delete(name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &secret).await.unwrap();
    }

    /// Starts the operator. It watches only this namespace, and its intervals are short.
    #[allow(clippy::unused_async)] // the process must be started within a runtime
    pub async fn start_operator(&mut self) {
        self.starts += 1;
        let log = self.folder.path().join(format!("operator-{}.log", self.starts));
        let mut options = ProcessOptions::new(&self.program, log)
            .arg("run")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_BACKTRACE", "1");
        let watched = format!("--watch-namespaces={}", self.namespace);
        for flag in [
            watched.as_str(),
            "--no-leader-elect",
            "--metrics-addr=127.0.0.1:0",
            "--health-addr=127.0.0.1:0",
            "--poll-floor-seconds=0.1",
            "--poll-ceiling-seconds=0.3",
            "--retry-base-seconds=0.3",
            "--retry-max-seconds=1",
            "--orphan-wait-seconds=2",
            "--missing-retry-seconds=0.3",
            "--progress-interval-seconds=2",
            "--cancel-grace-seconds=6",
            "--log-format=text",
            "--log-filter=info,fhir_export_operator=debug",
        ] {
            let name = flag.split('=').next().unwrap();
            if !self.flags.iter().any(|own| own.split('=').next() == Some(name)) {
                options = options.arg(flag);
            }
        }
        for flag in &self.flags {
            options = options.arg(flag);
        }
        for (name, value) in &self.variables {
            options = options.env(name, value);
        }
        if self.collector.is_none() {
            self.collector = Some(Collector::open(self.folder.path()).await);
        }
        // A variable, and no flag: an earlier version does not know it.
        let collector = self.collector.as_ref().unwrap();
        options = options.env("FHIR_EXPORT_OTLP_ENDPOINT", collector.url());
        self.operator = Some(Process::start(&options).unwrap());
    }

    /// Kills the operator with SIGKILL, if it runs.
    pub async fn kill_operator(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.sigkill().await.unwrap();
        }
    }

    /// A client for the objects of one kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The spec of the server `clinic`, with `change` merged in.
    pub async fn server_spec(&self, change: Value) -> Value {
        let mut spec = json!({
            "url": self.fhir.url(), "allowInsecureHTTP": true, "dialect": "Azure", "auth": {"type": "None"},
            "storage": {"type": "AzureBlob", "azureBlob": {"endpoint": Self::blob_endpoint().await,
                "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}},
        });
        merge(&mut spec, change);
        spec
    }

    /// Applies the `FhirServer` named `clinic`.
    pub async fn apply_server(&self, change: Value) {
        let spec = self.server_spec(change).await;
        self.apply_server_named("clinic", spec).await;
    }

    /// Applies a `FhirServer`.
    pub async fn apply_server_named(&self, name: &str, spec: Value) {
        let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
            "metadata": {"name": name}, "spec": spec});
        let api: Api<FhirServer> = self.api();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// Creates an export of the server `clinic`; `spec` is merged over `serverRef` and the request.
    pub async fn export(&self, name: &str, request: Value, spec: Value) -> FhirExport {
        let mut whole = json!({"serverRef": {"name": "clinic"}, "request": request});
        merge(&mut whole, spec);
        let object: FhirExport = serde_json::from_value(json!({"apiVersion": "fhirexport.dev/v1alpha1",
            "kind": "FhirExport", "metadata": {"name": name}, "spec": whole}))
        .unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Changes the spec of an export.
    pub async fn change(&self, name: &str, spec: Value) {
        let api: Api<FhirExport> = self.api();
        api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await.unwrap();
    }

    /// Deletes an export without waiting until it is gone.
    pub async fn delete(&self, name: &str) {
        let api: Api<FhirExport> = self.api();
        let last = api.get(name).await.unwrap();
        self.gone.lock().unwrap().push(last);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until an export is gone.
    pub async fn gone(&self, name: &str) {
        let api: Api<FhirExport> = self.api();
        let what = format!("{name} to be gone");
        let result = wait_for(&what, PATIENCE, || async {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(summary(&object)),
                Err(e) => Err(e.to_string()),
            }
        })
        .await;
        self.told(result);
    }

    /// Waits until `wanted` holds for an export, and returns the export.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&FhirExport) -> bool) -> FhirExport {
        let api: Api<FhirExport> = self.api();
        let what = format!("{name} to be {what}");
        let result = wait_for(&what, PATIENCE, || async {
            let object = api.get(name).await.map_err(|e| e.to_string())?;
            if wanted(&object) { Ok(object) } else { Err(summary(&object)) }
        })
        .await;
        self.told(result)
    }

    /// Waits until a condition has this status and reason.
    pub async fn until_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> FhirExport {
        self.until(name, &format!("{type_}={status} {reason}"), |object| {
            condition(object, type_).is_some_and(|c| c.0 == status && (reason.is_empty() || c.1 == reason))
        })
        .await
    }

    /// Waits until an export has ended, with or without success.
    pub async fn ended(&self, name: &str) -> FhirExport {
        self.until(name, "ended", |o| o.status.as_ref().is_some_and(|s| s.completion_time.is_some())).await
    }

    /// Waits until an export has ended, and asserts that it is `Failed` for this reason.
    pub async fn failed(&self, name: &str, reason: &str) -> FhirExport {
        let object = self.ended(name).await;
        let failed = condition(&object, "Failed").map(|c| c.1);
        assert_eq!(failed.as_deref(), Some(reason), "{}", summary(&object));
        object
    }

    /// Waits until an export has ended, and asserts that it is `Complete`.
    pub async fn complete(&self, name: &str) -> FhirExport {
        let object = self.ended(name).await;
        assert!(condition(&object, "Complete").is_some_and(|c| c.0 == "True"), "{}", summary(&object));
        object
    }

    /// Unwraps a result. The panic shows the end of the operator's log.
    pub fn told<T, E: Debug + std::fmt::Display>(&self, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| {
            let log = self
                .operator
                .as_ref()
                .and_then(|o| std::fs::read_to_string(o.log()).ok())
                .unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            panic!("{error}\n--- the operator's log:\n{end}")
        })
    }

    /// The number of kick-offs that the server received.
    pub fn kick_offs(&self) -> usize {
        self.fhir.requests().iter().filter(|r| r.is_kick_off()).count()
    }

    /// The number of cancels that the server received.
    pub fn cancels(&self) -> usize {
        self.fhir.requests().iter().filter(|r| r.is_cancel()).count()
    }

    /// The reasons and notes of the events about an export, oldest first.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let api: Api<Event> = self.api();
        let mut events: Vec<Event> = api
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .filter(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name))
            .collect();
        events.sort_by_key(|e| e.event_time.as_ref().map(|t| t.0));
        events.into_iter().map(|e| (e.reason.unwrap_or_default(), e.note.unwrap_or_default())).collect()
    }

    /// The number of the operator's successful writes of an export (status, finalizers), from the API server's
    /// audit log.
    pub async fn writes(&self, name: &str) -> usize {
        let audit = shared().await.kubernetes.audit();
        let writes = audit.writes("fhirexports", &self.namespace, name).unwrap();
        writes.iter().filter(|w| w.user_agent.contains("fhir-export-operator") && w.code < 300).count()
    }
}

/// The status, reason and message of a condition.
pub fn condition(object: &FhirExport, type_: &str) -> Option<(String, String, String)> {
    let found = object.status.as_ref()?.conditions.iter().find(|c| c.type_ == type_)?;
    Some((format!("{:?}", found.status), found.reason.clone(), found.message.clone()))
}

/// The finalizers and the status of an export, for the message of a failed wait.
pub fn summary(object: &FhirExport) -> String {
    let status = serde_json::to_string_pretty(&object.status).unwrap_or_default();
    format!("{} finalizers {:?} status {status}", object.name_any(), object.finalizers())
}

/// Merges `change` into `into` deeply; `null` removes a member.
pub fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}
