//! A connection of the kind that asks most of the cluster: a federated ServiceAccount, an authority in a ConfigMap,
//! storage by a Secret, consumers by the labels of their namespaces.

use std::sync::Arc;

use azure_fhir::{Access, Entra, EntraOptions, Options, Secret, Server, TestCa};
use serde_json::{Value, json};

use crate::release::{NAMESPACE, Release, server};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "99999999-8888-7777-6666-555555555555";

pub struct Platform {
    ca: Arc<TestCa>,
    pub entra: Entra,
}

impl Platform {
    pub async fn start() -> Self {
        let ca = Arc::new(TestCa::new().unwrap());
        let tokens = EntraOptions { secret: Secret::Any, ..EntraOptions::default() };
        Self { entra: Entra::start(tokens, ca.clone()).await.unwrap(), ca }
    }

    /// What must be there before the chart: the authority that it is told of.
    pub fn authorities(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities", "namespace": NAMESPACE},
            "data": {"ca.crt": self.ca.pem()}})
    }

    /// Values of the chart.
    pub fn values(&self, more: &Value) -> Value {
        let mut values =
            json!({"entra": {"authorityHost": self.entra.url()}, "extraCA": {"configMap": "authorities"}});
        values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        values
    }

    /// A FHIR server that takes tokens of Entra only.
    pub async fn fhir(&self, release: &Release) -> Server {
        let fhir = release.fhir(Options { tls: Some(self.ca.clone()), ..Options::default() }).await;
        let url = fhir.tls_url().unwrap();
        fhir.set_access(Access::Jwt { audience: url.clone() });
        self.entra.change(|options| options.audiences.push(url));
        fhir
    }

    /// Its `FhirServer`, `clinic` in namespace `fhir`, with all that it names.
    pub async fn connect(&self, release: &Release, url: &str) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "exporter", "namespace": "fhir",
            "labels": {"fhirexport.dev/credential": "true"},
            "annotations": {"azure.workload.identity/client-id": CLIENT}}});
        let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": "fhir"},
            "data": {"ca.crt": self.ca.pem()}});
        let spec = json!({
            "url": url, "dialect": "Azure", "allowInsecureHTTP": true, "storage": release.storage(),
            "tls": {"caBundleRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}},
            "auth": {"type": "Entra", "entra": {"type": "WorkloadIdentity", "tenantID": TENANT, "clientID": CLIENT,
                "workloadIdentity": {"serviceAccountRef": {"name": "exporter"}}}},
            "consumers": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"export": "yes"}}}},
            "limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 20},
        });
        for object in [account, ca, release.storage_secret("fhir"), server("fhir", "clinic", &spec)] {
            release.apply(&object).await;
        }
    }
}
