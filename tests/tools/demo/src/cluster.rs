//! The cluster: one of our own, or that of a context of the person's kubeconfig.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use stage::{Folder, Kubernetes, KubernetesOptions, Tool};

use crate::{Error, Result};

/// The chart's name, and the name of all that it makes.
pub const OPERATOR: &str = "fhir-export-operator";

/// The cluster and what was made in it.
#[derive(Debug)]
pub struct Cluster {
    /// Our own, if it is.
    pub own: Option<Kubernetes>,
    /// The context, if it is not.
    pub context: Option<String>,
    /// Where the API server is.
    pub address: String,
    /// Where the exports are.
    pub namespace: String,
    /// Where the operator belongs.
    pub operator_namespace: String,
    /// The definitions that were not there before.
    pub made_definitions: Vec<String>,
    /// Whether the namespace is there, or may be.
    pub made_namespace: bool,
    kubectl: PathBuf,
    helm: PathBuf,
    folder: Folder,
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

impl Cluster {
    /// Starts one.
    pub async fn own(folder: Folder) -> Result<Self> {
        let kubernetes = Kubernetes::start(KubernetesOptions::default()).await?;
        let parts = stage::parts().await?;
        let cluster = Self {
            address: kubernetes.address(),
            namespace: "research".to_owned(),
            operator_namespace: "fhir-export".to_owned(),
            made_definitions: Vec::new(),
            made_namespace: false,
            kubectl: parts.program("KUBECTL")?.to_owned(),
            helm: parts.program("HELM")?.to_owned(),
            context: None,
            folder,
            own: Some(kubernetes),
        };
        let admin = cluster.own.as_ref().map(Kubernetes::admin_kubeconfig).unwrap_or_default();
        cluster.write_kubeconfig(serde_json::from_slice(&std::fs::read(admin)?)?, None, "kubeconfig")?;
        Ok(cluster)
    }

    /// Looks at the one of a context.
    pub async fn of_context(folder: Folder, name: &str) -> Result<Self> {
        // The standard library's seed of a map is the one random number at hand.
        let random = RandomState::new().build_hasher().finish();
        let namespace = format!("fhir-export-demo-{:05x}", random & 0xf_ffff);
        let mut cluster = Self {
            own: None,
            context: Some(name.to_owned()),
            address: String::new(),
            operator_namespace: namespace.clone(),
            namespace,
            made_definitions: Vec::new(),
            made_namespace: false,
            kubectl: "kubectl".into(),
            helm: stage::helm().await?.program("HELM")?.to_owned(),
            folder,
        };
        let view = ["--context", name, "config", "view", "--minify", "--flatten", "--raw", "-o", "json"];
        let view = Tool::new(&cluster.kubectl, view)?.run().await?.ok()?;
        let view: Value = serde_json::from_str(&view)?;
        if let Some(server) = view.pointer("/clusters/0/cluster/server").and_then(Value::as_str) {
            server.clone_into(&mut cluster.address);
        }
        cluster.write_kubeconfig(view, None, "kubeconfig")?;
        Ok(cluster)
    }

    /// The folder for files of the demonstration.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The kubeconfig of the person, in the namespace of the exports.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Where kubectl is, if it is not on the person's PATH.
    pub fn kubectl_folder(&self) -> Option<&Path> {
        self.kubectl.parent().filter(|folder| folder.is_absolute())
    }

    /// kubectl.
    pub fn kubectl<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Result<Tool> {
        Ok(Tool::new(&self.kubectl, args)?
            .kubeconfig(self.kubeconfig())
            .env("KUBECACHEDIR", self.folder.path().join("kubectl-cache"))
            .directory(self.folder.path())
            .timeout(Duration::from_mins(6)))
    }

    /// kubectl with the words of a line, to its end.
    pub async fn run(&self, line: &str) -> Result<String> {
        Ok(self.kubectl(line.split_whitespace())?.run().await?.ok()?)
    }

    /// Helm with the words of a line, in the repository, to its end; without the settings of the person.
    pub async fn helm(&self, line: &str) -> Result<String> {
        let home = self.folder.path().join("helm");
        let tool = Tool::new(&self.helm, line.split_whitespace())?
            .kubeconfig(self.kubeconfig())
            .directory(repository())
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"));
        Ok(tool.run().await?.ok()?)
    }

    /// Applies what the text says.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        Ok(self.kubectl(["apply", "-f", "-"])?.stdin(manifest)?.run().await?.ok()?)
    }

    /// A client of the person.
    pub async fn client(&self) -> Result<kube::Client> {
        let read = Kubeconfig::read_from(self.kubeconfig()).map_err(stage::Error::from)?;
        let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .map_err(stage::Error::from)?;
        Ok(kube::Client::try_from(config)?)
    }

    /// A kubeconfig with a token of the chart's `ServiceAccount`.
    pub async fn operator_kubeconfig(&self) -> Result<PathBuf> {
        let line = format!("create token {OPERATOR} -n {} --duration=8h", self.operator_namespace);
        let token = self.run(&line).await?;
        let person = serde_json::from_slice(&std::fs::read(self.kubeconfig())?)?;
        self.write_kubeconfig(person, Some(token.trim()), "operator.kubeconfig")
    }

    /// The version that the API server says.
    pub async fn version(&self) -> Result<String> {
        let said: Value = serde_json::from_str(&self.run("get --raw /version").await?)?;
        let version = said.get("gitVersion").and_then(Value::as_str);
        version.map(str::to_owned).ok_or_else(|| Error::Cluster("the API server has no version".into()))
    }

    /// Writes a kubeconfig like `config`: in the namespace of the exports, and as the bearer of `token` if there is
    /// one.
    fn write_kubeconfig(&self, mut config: Value, token: Option<&str>, name: &str) -> Result<PathBuf> {
        if let Some(context) = config.pointer_mut("/contexts/0/context").and_then(Value::as_object_mut) {
            context.insert("namespace".into(), self.namespace.clone().into());
        }
        if let (Some(token), Some(user)) = (token, config.pointer_mut("/users/0/user")) {
            *user = json!({ "token": token });
        }
        Ok(self.folder.write(name, config.to_string())?)
    }
}
