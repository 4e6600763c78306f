//! A cluster with the chart installed, and people with the chart's roles.

use fhir_export_operator::api::FhirExport;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::release::{NAMESPACE, Release, namespace};

static RELEASE: OnceCell<Release> = OnceCell::const_new();

/// The values of the release in these tests.
pub fn values() -> Value {
    json!({
        "image": {"repository": "registry.example/fhir-export-operator"},
        // The operator has the widest rights, so that a missing right cannot be what protects a credential.
        "readCredentialsInAllNamespaces": true,
        "rbac": {"editorRole": {"create": true}},
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1, "progressIntervalSeconds": 1,
            "cancelGraceSeconds": 8},
    })
}

/// The release that these tests share.
pub async fn release() -> &'static Release {
    RELEASE
        .get_or_init(|| async { Release::install(&[namespace(NAMESPACE, &json!({}))], &values()).await })
        .await
}

/// A person who works in one namespace, with the identity of a ServiceAccount there.
pub struct Person {
    pub namespace: String,
    pub client: Client,
}

impl Person {
    /// Creates a namespace with these labels, and a person there with the chart's viewer and editor roles.
    pub async fn new(release: &Release, name: &str, labels: &Value) -> Self {
        release.apply(&namespace(name, labels)).await;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "person", "namespace": name}});
        release.apply(&account).await;
        for role in ["fhir-export:fhir-export-operator:editor", "fhir-export:fhir-export-operator:viewer"] {
            bind(release, name, role, &json!({"kind": "ClusterRole", "name": role})).await;
        }
        let client = release.kubernetes.client_for("person", name).await.unwrap();
        Self { namespace: name.to_owned(), client }
    }

    /// Grants the person further rights in the namespace, by a Role named `role`.
    pub async fn with(self, release: &Release, role: &str, resources: &[&str], verbs: &[&str]) -> Self {
        let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": role, "namespace": self.namespace},
            "rules": [{"apiGroups": ["fhirexport.dev"], "resources": resources, "verbs": verbs}]});
        release.apply(&object).await;
        bind(release, &self.namespace, role, &json!({"kind": "Role", "name": role})).await;
        self
    }

    pub fn exports(&self) -> Api<FhirExport> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an export or a server, as this person.
    pub async fn create<K>(&self, object: &Value) -> kube::Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await
    }

    /// Changes an export, as this person.
    pub async fn change(&self, name: &str, change: &Value) -> kube::Result<FhirExport> {
        self.exports().patch(name, &PatchParams::default(), &Patch::Merge(change)).await
    }

    /// Writes to the status of an export, as this person.
    pub async fn forge(&self, name: &str, status: &Value) -> kube::Result<FhirExport> {
        let status = json!({"status": status});
        self.exports().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await
    }
}

async fn bind(release: &Release, namespace: &str, name: &str, role: &Value) {
    let mut role = role.clone();
    role["apiGroup"] = "rbac.authorization.k8s.io".into();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace}, "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "person", "namespace": namespace}]});
    release.apply(&binding).await;
}

/// Whether the API server refused a request as forbidden (403).
pub fn is_forbidden<T>(result: kube::Result<T>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

/// The spec of a server with a token, which admits namespaces with the label `study=yes`.
pub fn shared(release: &Release, url: &str, more: &Value) -> Value {
    let mut spec = json!({
        "url": url, "dialect": "Azure", "allowInsecureHTTP": true, "storage": release.storage(),
        "auth": {"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}},
        "consumers": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"study": "yes"}}}},
        "limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 8},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}
