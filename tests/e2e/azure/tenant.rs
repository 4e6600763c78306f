//! A tenant of Entra for one test: its token server, an operator that is pointed at it, and FHIR over https.

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
    /// Starts a tenant, and a site whose FHIR server takes its tokens; `options` are of that server, and its
    /// authority is the tenant's too. There is no `FhirServer` and no operator yet.
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
            // What other crates say, too, is searched at the end.
            "--log-filter=trace".to_owned(),
        ];
        (Self { ca, port, options: EntraOptions { port, ..options }, running: Some(entra) }, site)
    }

    fn entra(&self) -> &Entra {
        self.running.as_ref().unwrap()
    }

    /// Changes what the tenant takes and gives.
    pub fn change(&mut self, change: impl Fn(&mut EntraOptions)) {
        change(&mut self.options);
        if let Some(entra) = &self.running {
            entra.change(change);
        }
    }

    /// The next token requests get these.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = EntraFault>) {
        self.entra().fail_next(faults);
    }

    /// Closes the token server: what it had seen is forgotten.
    pub fn down(&mut self) {
        self.running = None;
    }

    /// Opens it again, at the same address.
    pub async fn up(&mut self) {
        assert_eq!(self.options.port, self.port);
        self.running = Some(Entra::start(self.options.clone(), Arc::clone(&self.ca)).await.unwrap());
    }

    /// Token requests since it was opened.
    pub fn requests(&self) -> Vec<Request> {
        self.entra().requests()
    }

    /// One field of each token request.
    pub fn sent(&self, field: &str) -> Vec<String> {
        let of = |request: &Request| {
            url::form_urlencoded::parse(request.body.as_bytes())
                .find(|(name, _)| name == field)
                .map(|(_, value)| value.into_owned())
        };
        self.requests().iter().filter_map(of).collect()
    }

    /// The spec of a `FhirServer` whose identity is `entra`, of this tenant and its client.
    pub async fn server(&self, site: &Site, entra: Value) -> Value {
        let mut identity = json!({"tenantID": self.options.tenant, "clientID": self.options.client_id});
        merge(&mut identity, entra);
        site.server_spec(
            json!({"url": site.fhir.tls_url().unwrap(), "auth": {"type": "Entra", "entra": identity}}),
        )
        .await
    }

    /// The client.
    pub fn client_id(&self) -> &str {
        &self.options.client_id
    }
}

/// An identity with a client secret, in Secret `client`.
pub fn by_secret() -> Value {
    json!({"type": "ClientSecret", "clientSecretRef": {"name": "client", "key": "secret"}})
}

/// An identity of ServiceAccount `exporter`.
pub fn by_account() -> Value {
    json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountRef": {"name": "exporter"}}})
}

/// Who the ServiceAccount is to others.
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

/// The claims of a JWT, whoever signed it.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).unwrap()).unwrap()
}
