//! A cluster, the chart in it, and the operator that the chart describes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use azure_fhir::{Options, Server, Storage};
use serde_json::{Value, json};
use stage::{
    AuditEntry, Azurite, AzuriteOptions, Folder, Kubernetes, KubernetesOptions, Output, Process,
    ProcessOptions, Tool, service_account_user, wait_for,
};

pub const PATIENCE: Duration = Duration::from_secs(90);
/// The namespace in which the README installs the chart.
pub const NAMESPACE: &str = "fhir-export";
pub const NAME: &str = "fhir-export-operator";

/// A cluster with one release of the chart.
pub struct Release {
    pub kubernetes: Kubernetes,
    pub azurite: Azurite,
    pub folder: Folder,
    pub operator: Process,
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Release {
    /// Applies the manifests in `before`, installs the chart as the README does but with `values`, and starts the
    /// operator that the Deployment describes.
    pub async fn install(before: &[Value], values: &Value) -> Self {
        let (kubernetes, azurite) = tokio::join!(
            Kubernetes::start(KubernetesOptions::default()),
            Azurite::start(AzuriteOptions::default())
        );
        let (kubernetes, azurite) = (kubernetes.unwrap(), azurite.unwrap());
        let folder = Folder::new("release").unwrap();
        let values = folder.write("values.json", values.to_string()).unwrap();
        for object in before {
            let tool = kubernetes.kubectl(["apply", "-f", "-"]).await.unwrap();
            tool.stdin(&object.to_string()).unwrap().run().await.unwrap().ok().unwrap();
        }
        let args =
            ["install", NAME, "charts/fhir-export-operator", "-n", NAMESPACE, "--create-namespace", "-f"];
        // The servers of the tests are on loopback, which the operator refuses by default.
        let further = [values.to_str().unwrap(), "--set-json", "refusedNetworks=[]"].map(str::to_owned);
        let args = args.into_iter().map(str::to_owned).chain(further);
        let helm = kubernetes.helm(args).await.unwrap().directory(&repository());
        helm.run().await.unwrap().ok().unwrap();
        let operator = start(&kubernetes, &folder).await;
        Self { kubernetes, azurite, folder, operator }
    }

    /// Starts a FHIR server that writes into the storage account.
    pub async fn fhir(&self, options: Options) -> Server {
        let storage = Storage::new(&self.blob_endpoint(), self.azurite.account(), self.azurite.key());
        Server::start(Options { storage: Some(storage), ..options }).await.unwrap()
    }

    pub fn blob_endpoint(&self) -> String {
        self.azurite.endpoint().unwrap().to_string().trim_end_matches('/').to_owned()
    }

    /// `spec.storage` of a `FhirServer`, with the account key in the Secret `storage`.
    pub fn storage(&self) -> Value {
        json!({"type": "AzureBlob", "azureBlob": {"endpoint": self.blob_endpoint(),
            "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}})
    }

    pub fn storage_secret(&self, namespace: &str) -> Value {
        secret(namespace, "storage", &json!({"key": self.azurite.key()}))
    }

    pub async fn apply(&self, object: &Value) {
        let tool = self.kubernetes.kubectl(["apply", "-f", "-"]).await.unwrap();
        tool.stdin(&object.to_string()).unwrap().run().await.unwrap().ok().unwrap();
    }

    pub async fn try_kubectl(&self, line: &str) -> Output {
        self.kubernetes.kubectl(line.split_whitespace()).await.unwrap().run().await.unwrap()
    }

    pub async fn kubectl(&self, line: &str) -> String {
        self.try_kubectl(line).await.ok().unwrap()
    }

    /// Waits until a condition of an object is as wanted, such as `Complete=True Exported`.
    pub async fn until(&self, object: &str, namespace: &str, wanted: &str) {
        let what = format!("{object} in {namespace} to be {wanted}");
        let result = wait_for(&what, PATIENCE, || async {
            let output = self.try_kubectl(&format!("get {object} -n {namespace} -o json")).await;
            let object: Value = serde_json::from_str(&output.ok().map_err(|e| e.to_string())?).unwrap();
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let text = |c: &Value, k: &str| c[k].as_str().unwrap_or_default().to_owned();
            let says = |c: &Value| format!("{}={} {}", text(c, "type"), text(c, "status"), text(c, "reason"));
            let as_wanted = conditions.iter().any(|c| says(c) == wanted);
            if as_wanted { Ok(()) } else { Err(format!("{conditions:#?}")) }
        })
        .await;
        result
            .unwrap_or_else(|error| panic!("{error}\n--- the operator's log:\n{}", self.operator.log_end()));
    }

    /// Creates a schedule, requests a run, and waits until the run has succeeded and its object is deleted.
    pub async fn run_by_schedule(&self, namespace: &str, of: &str, container: &str) {
        let request = json!({"level": "System", "container": container});
        let run = export(namespace, "run", of, &request, &json!({}));
        let schedule = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
            "metadata": {"name": "yearly", "namespace": namespace},
            "spec": {"schedule": "0 0 1 1 *", "successfulRunsHistoryLimit": 0, "template": {"spec": run["spec"]}}});
        self.apply(&schedule).await;
        self.kubectl(&format!("annotate fsched yearly -n {namespace} fhirexport.dev/run-now=now")).await;
        let line = format!("get fsched yearly -n {namespace} -o jsonpath={{.status.lastSuccessfulTime}}");
        let gone = format!("get fexp -n {namespace} -o name");
        let result = stage::wait_until("the run of a schedule to end and to go", PATIENCE, || async {
            !self.kubectl(&line).await.is_empty() && !self.kubectl(&gone).await.contains("/yearly-")
        })
        .await;
        result
            .unwrap_or_else(|error| panic!("{error}\n--- the operator's log:\n{}", self.operator.log_end()));
    }

    /// The operator's requests to the API server, up to the removal of its roles by `helm uninstall`.
    pub fn asked(&self) -> Vec<AuditEntry> {
        let entries = self.kubernetes.audit().entries().unwrap();
        let user = service_account_user(NAME, NAMESPACE);
        assert!(entries.iter().any(|e| e.user == user && e.is_write()), "nothing was asked as {user}");
        let uninstalled = entries.iter().find(|e| e.verb == "delete" && e.resource.ends_with("rolebindings"));
        let until = uninstalled.map(|e| e.received);
        let counts = |e: &AuditEntry| e.user == user && until.is_none_or(|until| e.received < until);
        entries.into_iter().filter(counts).collect()
    }

    /// The requests in [`Self::asked`] that RBAC refused.
    pub fn refused(&self) -> Vec<AuditEntry> {
        let mut asked = self.asked();
        asked.retain(AuditEntry::is_refused);
        asked
    }

    /// Runs a command line in a shell with kubectl and helm on the PATH.
    pub async fn shell(&self, line: &str) -> Output {
        let parts = stage::parts().await.unwrap();
        let folder = |name: &str| parts.program(name).unwrap().parent().unwrap().display().to_string();
        let path = format!("{}:{}:/usr/bin:/bin", folder("KUBECTL"), folder("HELM"));
        let home = self.folder.path().join("home");
        let tool = Tool::new(Path::new("/bin/bash"), ["-euo", "pipefail", "-c", line]).unwrap();
        let tool = tool.kubeconfig(self.kubernetes.admin_kubeconfig()).env("PATH", path).env("HOME", &home);
        tool.directory(&repository()).run().await.unwrap()
    }

    /// Asserts that the definitions exist, and that no object of theirs does.
    pub async fn nothing_is_stranded(&self) {
        let crds = self.kubectl("get crd -o name").await;
        assert_eq!(crds.lines().filter(|l| l.ends_with(".fhirexport.dev")).count(), 3, "{crds}");
        assert_eq!(self.kubectl("get fsched,fexp,fserver -A -o name").await, "");
    }
}

/// Starts the operator as the Deployment describes it.
pub async fn start(kubernetes: &Kubernetes, folder: &Folder) -> Process {
    let line = format!("get deployment {NAME} -n {NAMESPACE} -o json");
    let tool = kubernetes.kubectl(line.split_whitespace()).await.unwrap();
    let deployment: Value = serde_json::from_str(&tool.run().await.unwrap().ok().unwrap()).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], NAME);
    let mounted = pod["volumes"][0]["configMap"]["name"].as_str();
    let mut options =
        ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), folder.path().join("operator.log"))
            .env("KUBECONFIG", kubernetes.kubeconfig_for(NAME, NAMESPACE).await.unwrap());
    for arg in pod["containers"][0]["args"].as_array().unwrap() {
        // The arguments of the Deployment, except for ports that may be taken and for the volume, which a kubelet
        // would mount.
        let arg = match arg.as_str().unwrap() {
            arg if arg.starts_with("--metrics-addr=") => "--metrics-addr=127.0.0.1:0".to_owned(),
            arg if arg.starts_with("--health-addr=") => "--health-addr=127.0.0.1:0".to_owned(),
            arg if arg.starts_with("--extra-ca=") => {
                let line = format!("get configmap {} -n {NAMESPACE} -o json", mounted.unwrap());
                let tool = kubernetes.kubectl(line.split_whitespace()).await.unwrap();
                let map: Value = serde_json::from_str(&tool.run().await.unwrap().ok().unwrap()).unwrap();
                let (_, key) = arg.rsplit_once('/').unwrap();
                let file = folder.write(key, map["data"][key].as_str().unwrap()).unwrap();
                format!("--extra-ca={}", file.display())
            }
            arg => arg.to_owned(),
        };
        options = options.arg(arg);
    }
    let mut operator = Process::start(&options).unwrap();
    operator.wait_for_log("the operator is ready", PATIENCE).await.unwrap();
    operator
}

pub fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub fn secret(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "stringData": data, "metadata":
        {"name": name, "namespace": namespace, "labels": {"fhirexport.dev/credential": "true"}}})
}

pub fn server(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// The manifest of an export. `of` names its server, as `name` or `namespace/name`.
pub fn export(namespace: &str, name: &str, of: &str, request: &Value, more: &Value) -> Value {
    let mut spec = json!({"request": request, "serverRef": match of.split_once('/') {
        Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": of}),
    }});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// The manifest of a schedule of incremental runs that is due once a year and keeps no objects of successful runs.
pub fn schedule(namespace: &str, name: &str, of: &str, request: &Value) -> Value {
    json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"schedule": "0 0 1 1 *", "incremental": {}, "successfulRunsHistoryLimit": 0,
            "template": {"spec": {"serverRef": {"name": of}, "request": request}}}})
}
