//! The kind of connection that reads most from the cluster: a federated ServiceAccount, a certificate authority in a
//! ConfigMap, storage by a Secret, and consumers by the labels of their namespaces.

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

    /// The ConfigMap with the certificate authority, which must exist before the chart is installed.
    pub fn authorities(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities", "namespace": NAMESPACE},
            "data": {"ca.crt": self.ca.pem()}})
    }

    /// The values of the chart for this platform, extended by `more`.
    pub fn values(&self, more: &Value) -> Value {
        let mut values =
            json!({"entra": {"authorityHost": self.entra.url()}, "extraCA": {"configMap": "authorities"}});
        values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        values
    }

    /// Starts a FHIR server that accepts only Entra tokens.
    pub async fn fhir(&self, release: &Release) -> Server {
        let fhir = release.fhir(Options { tls: Some(self.ca.clone()), ..Options::default() }).await;
        let url = fhir.tls_url().unwrap();
        fhir.set_access(Access::Jwt { audience: url.clone() });
        self.entra.change(|options| options.audiences.push(url));
        fhir
    }

    /// Creates the `FhirServer` `clinic` in the namespace `fhir`, with all objects that it names.
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
