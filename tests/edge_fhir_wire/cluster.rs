//! Credentials that a test can change, and the wire that uses them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fhir_export_operator::api::{FhirServer, KeyRef, Reason};
use fhir_export_operator::core::wire::{Method, Request};
use fhir_export_operator::credentials::{
    CacheTimes, CachedSource, CredentialProblem, CredentialSource, EntraSettings, Federated, Identities,
};
use fhir_export_operator::fhir::{FhirWire, WireSettings};
use secrecy::SecretString;
use serde_json::{Value, json};

/// The values of the credentials in the namespace `fhir`, by name and key.
#[derive(Default)]
pub struct Cluster {
    pub keys: Mutex<BTreeMap<(String, String), String>>,
    pub fails_with: Mutex<Option<CredentialProblem>>,
    pub reads: Mutex<usize>,
}

impl Cluster {
    pub fn with(keys: &[(&str, &str, &str)]) -> Arc<Self> {
        let cluster = Self::default();
        for (name, key, value) in keys {
            cluster.set(name, key, value);
        }
        Arc::new(cluster)
    }

    pub fn set(&self, name: &str, key: &str, value: &str) {
        self.keys.lock().unwrap().insert((name.to_owned(), key.to_owned()), value.to_owned());
    }

    pub fn fail(&self, reason: Reason) {
        let problem = CredentialProblem::lasting(reason, "the test says so");
        *self.fails_with.lock().unwrap() = Some(problem);
    }

    fn read(&self, namespace: &str, name: &str, key: &str) -> Result<String, CredentialProblem> {
        assert_eq!(namespace, "fhir", "credentials are of the FhirServer's namespace");
        *self.reads.lock().unwrap() += 1;
        if let Some(problem) = &*self.fails_with.lock().unwrap() {
            return Err(problem.clone());
        }
        let at = (name.to_owned(), key.to_owned());
        self.keys.lock().unwrap().get(&at).cloned().ok_or_else(|| {
            let message = format!("there is no Secret {namespace}/{name} with key {key}");
            CredentialProblem::lasting(Reason::SecretNotFound, message)
        })
    }
}

#[async_trait]
impl CredentialSource for Cluster {
    async fn secret_key(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem> {
        self.read(namespace, &key.name, &key.key).map(Into::into)
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        let keys: Vec<String> =
            self.keys.lock().unwrap().keys().filter(|(n, _)| n == name).map(|(_, key)| key.clone()).collect();
        keys.into_iter().map(|key| Ok((key.clone(), self.read(namespace, name, &key)?.into()))).collect()
    }

    async fn config_map_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<String, CredentialProblem> {
        self.read(namespace, name, key)
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        of: &Federated,
    ) -> Result<SecretString, CredentialProblem> {
        assert_eq!(*of, Federated::Entra(CLIENT.into()));
        self.read(namespace, name, "token").map(Into::into)
    }
}

pub const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
pub const TENANT: &str = "tenant.example";

/// A wire that remembers no credentials, so that each change takes effect at once.
pub fn wire(cluster: &Arc<Cluster>, settings: EntraSettings) -> FhirWire {
    let forgetful = CacheTimes { found: Duration::ZERO, missing: Duration::ZERO, spared: Duration::ZERO };
    wire_with(cluster, settings, forgetful)
}

pub fn wire_with(cluster: &Arc<Cluster>, settings: EntraSettings, memory: CacheTimes) -> FhirWire {
    let source = Arc::new(CachedSource::with_times(cluster.clone(), memory));
    let http = settings.http_client().unwrap();
    FhirWire::new(Arc::new(Identities::with_source(source, settings, http)), WireSettings::default())
}

/// A wire whose requests for tokens go through a proxy. The proxy stands in for the token endpoint that only nodes of
/// the cloud can reach.
pub fn wire_through(proxy: &str, settings: EntraSettings) -> FhirWire {
    let http = reqwest::Client::builder().proxy(reqwest::Proxy::all(proxy).unwrap()).build().unwrap();
    let identities = Identities::new(Cluster::with(&[]), settings, http);
    FhirWire::new(Arc::new(identities), WireSettings::default())
}

/// A `FhirServer` with `more` merged into its spec.
pub fn server(name: &str, url: &str, auth: &Value, more: &Value) -> Arc<FhirServer> {
    let mut spec = json!({ "url": url, "dialect": "Azure", "auth": auth });
    if url.starts_with("http:") {
        spec["allowInsecureHTTP"] = json!(true);
    }
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let object = json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "spec": spec,
        "metadata": { "name": name, "namespace": "fhir", "uid": format!("uid-{name}"), "generation": 1 },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

pub fn bearer() -> Value {
    json!({ "type": "BearerToken", "bearerToken": { "secretRef": { "name": "token", "key": "token" } } })
}

pub fn open() -> Value {
    json!({ "type": "None" })
}

pub fn client_secret() -> Value {
    json!({ "type": "Entra", "entra": {
        "type": "ClientSecret", "tenantID": TENANT, "clientID": CLIENT,
        "clientSecretRef": { "name": "client", "key": "secret" } } })
}

pub fn get(url: &str) -> Request {
    Request {
        method: Method::Get,
        url: url.to_owned(),
        accept: "application/fhir+json",
        prefer: None,
        no_cache: false,
        max_body: 1024,
        with_token: true,
        body: None,
        patients: None,
    }
}

pub fn kick_off(url: &str) -> Request {
    Request { prefer: Some("respond-async"), ..get(url) }
}

pub fn cancel(url: &str) -> Request {
    Request { method: Method::Delete, ..get(url) }
}
