//! An Entra tenant for one test: its token server, an operator that uses it, and a FHIR server over https.

use std::sync::Arc;

use azure_fhir::{Access, Entra, EntraFault, EntraOptions, Options, Request, Secret, TestCa};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::site::{Site, merge};

/// The tenant's token server.
pub struct Tenant {
    ca: Arc<TestCa>,
    port: u16,
    options: EntraOptions,
    running: Option<Entra>,
}

impl Tenant {
    /// Starts a tenant, and a site whose FHIR server has `options` and accepts the tenant's tokens. Both servers have
    /// certificates of the same authority. There is no `FhirServer` and no operator yet.
    pub async fn start(name: &str, secret: Secret, options: Options) -> (Self, Site) {
        let ca = options.tls.clone().unwrap_or_else(|| Arc::new(TestCa::new().unwrap()));
        let options = Options { tls: Some(Arc::clone(&ca)), ..options };
        let mut site = Site::without_server(name, options).await;
        let url = site.fhir.tls_url().unwrap();
        site.fhir.set_access(Access::Jwt { audience: url.clone() });
        let options = EntraOptions {
            secret,
            audiences: vec![url, "https://storage.azure.com".into()],
            ..EntraOptions::default()
        };
        let entra = Entra::start(options.clone(), Arc::clone(&ca)).await.unwrap();
        let port = entra.url().rsplit(':').next().unwrap().parse().unwrap();
        let authorities = site.folder.write("authorities.pem", ca.pem()).unwrap();
        site.flags = vec![
            format!("--extra-ca={}", authorities.display()),
            format!("--entra-authority-host={}", entra.url()),
            // The search at the end also covers what other crates log.
            "--log-filter=trace".to_owned(),
        ];
        (Self { ca, port, options: EntraOptions { port, ..options }, running: Some(entra) }, site)
    }

    fn entra(&self) -> &Entra {
        self.running.as_ref().unwrap()
    }

    /// Changes the options of the token server, also while it runs.
    pub fn change(&mut self, change: impl Fn(&mut EntraOptions)) {
        change(&mut self.options);
        if let Some(entra) = &self.running {
            entra.change(change);
        }
    }

    /// Answers the next token requests with these faults.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = EntraFault>) {
        self.entra().fail_next(faults);
    }

    /// Stops the token server, which forgets its requests.
    pub fn down(&mut self) {
        self.running = None;
    }

    /// Starts the token server again at the same address.
    pub async fn up(&mut self) {
        assert_eq!(self.options.port, self.port);
        self.running = Some(Entra::start(self.options.clone(), Arc::clone(&self.ca)).await.unwrap());
    }

    /// The token requests since the token server was last started.
    pub fn requests(&self) -> Vec<Request> {
        self.entra().requests()
    }

    /// The values of one form field in the token requests.
    pub fn sent(&self, field: &str) -> Vec<String> {
        let of = |request: &Request| {
            url::form_urlencoded::parse(request.body.as_bytes())
                .find(|(name, _)| name == field)
                .map(|(_, value)| value.into_owned())
        };
        self.requests().iter().filter_map(of).collect()
    }

    /// The spec of a `FhirServer` with `entra` merged into an identity of this tenant and its client.
    pub async fn server(&self, site: &Site, entra: Value) -> Value {
        let mut identity = json!({"tenantID": self.options.tenant, "clientID": self.options.client_id});
        merge(&mut identity, entra);
        site.server_spec(
            json!({"url": site.fhir.tls_url().unwrap(), "auth": {"type": "Entra", "entra": identity}}),
        )
        .await
    }

    /// The id of the tenant's client.
    pub fn client_id(&self) -> &str {
        &self.options.client_id
    }
}

/// An Entra identity with a client secret, in the Secret `client`.
pub fn by_secret() -> Value {
    json!({"type": "ClientSecret", "clientSecretRef": {"name": "client", "key": "secret"}})
}

/// An Entra identity that is federated with the ServiceAccount `exporter`.
pub fn by_account() -> Value {
    json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountRef": {"name": "exporter"}}})
}

/// The subject of the ServiceAccount's tokens.
pub fn subject(site: &Site) -> String {
    format!("system:serviceaccount:{}:exporter", site.namespace)
}

/// Applies ServiceAccount `exporter`, labelled as a credential or not, annotated with a client id or not.
pub async fn account(site: &Site, labelled: bool, client_id: Option<&str>) {
    let labels = if labelled { json!({"fhirexport.dev/credential": "true"}) } else { json!({}) };
    let annotations = client_id.map_or(json!({}), |id| json!({"azure.workload.identity/client-id": id}));
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "exporter", "labels": labels, "annotations": annotations}});
    let api: Api<ServiceAccount> = site.api();
    api.patch("exporter", &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

/// The claims of a JWT. The signature is not checked.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).unwrap()).unwrap()
}
