//! A search for secrets, signatures and patients in everything that the operator leaves behind: statuses, events, its
//! log at the level trace, metrics and stored manifests.

use azure_fhir::{
    Access, Ending, Failure, Fault, Life, ManifestQuirk, Options, Progress, RetryAfter, Script, Secret, Step,
    Storage,
};
use fhir_export_operator::api::{FhirExport, FhirServer};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::tenant::{Tenant, account, by_account, by_secret, subject};
use crate::site::{Site, merge, shared};

/// An id of a patient that the servers put into their answers.
const PATIENT: &str = "4711-leak";
const IDENTIFIER: &str = "MRN-0815";

/// An error text of a server with a patient's id and identifier and a signed URL, in each form that a server may use.
fn words() -> String {
    format!(
        "Resource Patient/{PATIENT} and {{\"reference\":\"Patient/{PATIENT}/_history/1\"}} of \
         https://clinic.example/Patient%2F{PATIENT} cannot be read: Patient?identifier=http://h.example|{IDENTIFIER} \
         Patient%3Fidentifier%3Dhttp%253A%252F%252Fh.example%257C{IDENTIFIER}%20x identifier=h|{IDENTIFIER} at \
         https://a.blob.core.windows.net/lake/f?sv=2021-06-08&sig=c2lnbmVk"
    )
}

fn outcome(code: &str) -> String {
    json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": words()}]})
    .to_string()
}

fn refused(status: u16, code: &str) -> Fault {
    let headers = [("Content-Type", "application/fhir+json"), ("Retry-After", "1")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Fault::Custom { status, headers, body: outcome(code) }
}

/// Values that must not occur anywhere, each with a name for messages.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn search(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            if let Some(at) = text.find(secret.as_str()) {
                let around: String =
                    text.chars().skip(text[..at].chars().count().saturating_sub(300)).take(500).collect();
                panic!("{what} is in {place}: …{around}…");
            }
        }
    }
}

/// Applies a `FhirServer` with an authentication and storage of its own.
async fn server(site: &Site, name: &str, change: Value) {
    let mut spec = site.server_spec(json!({"limits": {"maxConcurrentExports": 50}})).await;
    merge(&mut spec, change);
    site.apply_server_named(name, spec).await;
}

async fn run(site: &Site, server: &str, name: &str, request: Value) {
    let mut whole = json!({"level": "System", "container": format!("left-{name}"), "types": ["Patient", "Observation"],
        "typeFilters": [format!("Patient?identifier=http://h.example|{IDENTIFIER}")]});
    merge(&mut whole, request);
    site.export(name, whole, json!({"serverRef": {"name": server}, "backoffLimit": 0})).await;
}

#[tokio::test]
async fn no_secret_no_signature_and_no_patient_is_left_behind() {
    let (mut tenant, mut site) =
        Tenant::start("left", Secret::Text("client-secret-1".into()), Options::default()).await;
    site.fhir.set_access(Access::Open);
    // The wait that the server requests in the answer to one export also delays the cancel of another.
    site.flags.push("--cancel-grace-seconds=60".into());
    let secrets = set_up(&tenant, &site).await;
    site.start_operator().await;
    script(&site);

    run(&site, "bearer", "signed", json!({})).await;
    run(&site, "bearer", "rejected", json!({})).await;
    run(&site, "bearer", "broken", json!({})).await;
    run(&site, "bearer", "failed", json!({})).await;
    run(&site, "bearer", "polled", json!({})).await;
    run(&site, "bearer", "cancelled", json!({})).await;
    run(&site, "strict", "denied", json!({})).await;
    run(&site, "bearer", "comma", json!({"typeFilters": [format!("Patient?identifier=a,{IDENTIFIER}")]}))
        .await;
    run(&site, "client", "client", json!({})).await;
    run(&site, "dead", "dead", json!({})).await;
    run(&site, "wrongkey", "wrongkey", json!({})).await;
    run(&site, "wrongsas", "wrongsas", json!({})).await;
    site.until("cancelled", "running", |o| o.status.as_ref().is_some_and(|s| s.accepted_time.is_some()))
        .await;
    site.change("cancelled", json!({"cancel": true})).await;
    site.until_condition("workload", "ServerReachable", "False", "TokenRefused").await;
    let subject = subject(&site);
    tenant.change(|options| options.secret = Secret::AssertionOf(subject.clone()));
    for (name, reason) in [
        ("rejected", "KickOffRejected"),
        ("broken", "KickOffFailed"),
        ("failed", "ExportFailed"),
        ("cancelled", "Cancelled"),
        ("comma", "UnsupportedByServer"),
        ("dead", "StorageMismatch"),
    ] {
        site.failed(name, reason).await;
    }
    site.until_condition("denied", "Accepted", "False", "NotAllowed").await;
    for name in ["signed", "polled", "client", "workload", "wrongkey", "wrongsas"] {
        site.complete(name).await;
    }
    search(&site, &tenant, secrets).await;
}

/// Creates the Secrets and servers, and returns the values in them.
async fn set_up(tenant: &Tenant, site: &Site) -> Secrets {
    let azurite = &shared().await.azurite;
    let sas = Storage::new(&Site::blob_endpoint().await, azurite.account(), azurite.key()).sas().unwrap();
    let wrong_sas = sas.split("&sig=").next().unwrap().to_owned() + "&sig=d3Jvbmctc2lnbmF0dXJl";
    for (name, data) in [
        ("token", json!({"token": "bearer-token-1"})),
        ("gateway", json!({"key": "gateway-key-1"})),
        ("login", json!({"username": "exporter", "password": "password-1"})),
        ("client", json!({"secret": "client-secret-1"})),
        ("sas", json!({"token": sas, "wrong": wrong_sas})),
        ("key", json!({"wrong": "d3JvbmctYWNjb3VudC1rZXk="})),
    ] {
        site.secret(name, data, true).await;
    }
    account(site, true, Some(tenant.client_id())).await;
    let bearer = json!({"auth": {"type": "BearerToken",
        "bearerToken": {"secretRef": {"name": "token", "key": "token"}}},
        "headers": [{"name": "Ocp-Apim-Subscription-Key", "secretRef": {"name": "gateway", "key": "key"}}]});
    let basic = json!({"auth": {"type": "Basic", "basic": {"secretRef": {"name": "login"}}}});
    let by_sas = |key: &str| {
        json!({"storage": {"azureBlob": {"auth": {"type": "SASToken",
        "secretRef": {"name": "sas", "key": key}}}}})
    };
    server(site, "bearer", bearer).await;
    server(site, "strict", json!({"allow": {}})).await;
    let mut client = tenant.server(site, by_secret()).await;
    merge(&mut client, by_sas("token"));
    server(site, "client", client).await;
    server(site, "workload", tenant.server(site, by_account()).await).await;
    run(site, "workload", "workload", json!({})).await;
    // Nobody listens on port 9.
    let mut dead = by_sas("token");
    merge(&mut dead, json!({"storage": {"azureBlob": {"endpoint": "http://127.0.0.1:9/devstoreaccount1"}}}));
    server(site, "dead", dead).await;
    let mut wrong_key = basic.clone();
    merge(
        &mut wrong_key,
        json!({"storage": {"azureBlob": {"auth": {"secretRef": {"name": "key", "key": "wrong"}}}}}),
    );
    server(site, "wrongkey", wrong_key).await;
    server(site, "wrongsas", by_sas("wrong")).await;

    let signature = sas.split("&sig=").nth(1).unwrap().to_owned();
    Secrets(vec![
        ("the id of a patient", PATIENT.into()),
        ("an identifier", IDENTIFIER.into()),
        ("a bearer token", "bearer-token-1".into()),
        ("a secret header", "gateway-key-1".into()),
        ("a password", "password-1".into()),
        ("user and password", "ZXhwb3J0ZXI6cGFzc3dvcmQtMQ".into()),
        ("a client secret", "client-secret-1".into()),
        ("the account key", azurite.key().trim_end_matches('=').into()),
        ("a wrong account key", "d3JvbmctYWNjb3VudC1rZXk".into()),
        ("a SAS token", sas),
        ("the query of a signed URL", "sig=".into()),
        ("the rights of a signed URL", "srt=sco".into()),
        ("a signature", signature.trim_end_matches("%3D").into()),
        ("a wrong signature", "d3Jvbmctc2lnbmF0dXJl".into()),
        ("a signature of the manifest", "c2VjcmV0".into()),
        ("a signature of the server's words", "c2lnbmVk".into()),
    ])
}

fn script(site: &Site) {
    site.fhir.script(Script::polls(1).container("left-signed").with(ManifestQuirk::SignedUrls));
    site.fhir.script(Script::refuses(refused(400, "invalid")).container("left-rejected"));
    site.fhir.script(Script::refuses(refused(500, "exception")).container("left-broken").every_time());
    let ending = Ending::Failed(Failure::Other { status: 400, reason: words() });
    site.fhir.script(Script { ending, ..Script::polls(1) }.container("left-failed"));
    let said =
        [(401, "login"), (403, "forbidden"), (429, "throttled"), (503, "transient"), (404, "processing")];
    let status_faults = said.map(|(status, code)| Step::times(2, refused(status, code))).to_vec();
    let progress =
        Some(Progress { texts: vec![format!("at Patient/{PATIENT}")], retry_after: RetryAfter::Absent });
    site.fhir.script(Script { status_faults, progress, ..Script::polls(3) }.container("left-polled"));
    let cancel_faults =
        vec![Step::times(1, refused(500, "exception")), Step::times(1, refused(503, "transient"))];
    let stuck = Script { cancel_faults, life: Life::Stuck, ..Script::default() };
    site.fhir.script(stuck.container("left-cancelled"));
}

/// Searches all that the operator left behind.
async fn search(site: &Site, tenant: &Tenant, mut secrets: Secrets) {
    let mut jwts = tenant.sent("client_assertion");
    assert!(!jwts.is_empty());
    jwts.extend(site.fhir.requests().into_iter().filter_map(|r| r.authorization).filter_map(|header| {
        header.strip_prefix("Bearer ").filter(|token| token.contains('.')).map(str::to_owned)
    }));
    for jwt in jwts {
        secrets.0.push(("what a token or an assertion says", jwt.split('.').nth(1).unwrap().to_owned()));
    }
    let all = ListParams::default();
    let exports = (site.api() as Api<FhirExport>).list(&all).await.unwrap().items;
    assert_eq!(exports.len(), 13);
    for export in &exports {
        let status = serde_json::to_string(&export.status).unwrap();
        assert!(status.len() < 16 * 1024);
        secrets.search(&format!("the status of {}", export.metadata.name.as_deref().unwrap()), &status);
    }
    for server in (site.api() as Api<FhirServer>).list(&all).await.unwrap().items {
        let status = serde_json::to_string(&server.status.expect("it was probed")).unwrap();
        secrets.search(&format!("the status of {}", server.metadata.name.unwrap()), &status);
    }
    let events = (site.api() as Api<Event>).list(&all).await.unwrap().items;
    assert!(events.len() > 10, "{}", events.len());
    for event in events {
        secrets.search("an event", &serde_json::to_string(&event).unwrap());
    }
    let log = std::fs::read_to_string(site.operator.as_ref().unwrap().log()).unwrap();
    assert!(log.contains("DEBUG"));
    let address = log.split("metrics=").nth(1).unwrap().split_whitespace().next().unwrap();
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("fhir_export_"), "{metrics}");
    secrets.search("the metrics", &metrics);
    secrets.search("the log", &log);
    for export in exports {
        let Some(output) = export.status.and_then(|status| status.output) else { continue };
        let (Some(container), Some(manifest)) = (output.container, output.manifest) else { continue };
        let text = stored(&container, &manifest.path).await;
        // The manifest is stored beside the patients' data and repeats the request, so it may hold identifiers.
        let signatures =
            Secrets(secrets.0.iter().filter(|(what, _)| !what.contains("identifier")).cloned().collect());
        signatures.search("a stored manifest", &text);
    }
}

/// The text of a blob.
async fn stored(container: &str, path: &str) -> String {
    let azurite = &shared().await.azurite;
    let storage = Storage::new(&Site::blob_endpoint().await, azurite.account(), azurite.key());
    let url = format!("{}/{container}/{path}?{}", storage.endpoint, storage.sas().unwrap());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}
