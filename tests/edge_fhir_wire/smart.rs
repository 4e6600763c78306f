//! SMART Backend Services: discovery, assertions, short-lived tokens and new keys.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::{FailureKind, Request};
use fhir_export_operator::credentials::{CacheTimes, EntraSettings};
use fhir_export_operator::fhir::FhirWire;
use fhir_export_operator::ports::Wire;
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA384};
use serde_json::{Value, json};

use crate::cluster::{Cluster, cancel, get, wire, wire_with};
use crate::provider::{Provider, form, key};

pub fn smart(more: &Value) -> Value {
    let mut smart =
        json!({ "clientID": "my-client", "privateKeySecretRef": { "name": "smart", "key": "key.pem" } });
    smart.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "type": "SmartBackendServices", "smartBackendServices": smart })
}

pub fn with_key(pem: &str) -> (Arc<Cluster>, FhirWire) {
    let cluster = Cluster::with(&[("smart", "key.pem", pem)]);
    let wire = wire(&cluster, EntraSettings::default());
    (cluster, wire)
}

fn metadata(provider: &Provider) -> Request {
    get(&format!("{}/metadata", provider.base()))
}

async fn status(wire: &FhirWire, provider: &Provider, auth: &Value) -> u16 {
    wire.send(&provider.clinic(auth), &metadata(provider)).await.unwrap().status
}

#[tokio::test]
async fn rsa_and_elliptic_curves_prove_the_client_to_the_endpoint_that_the_base_names() {
    let newer = json!({ "scopes_supported": ["system/*.rs"] });
    for (kind, more, scope) in
        [(&PKCS_RSA_SHA384, json!({}), "system/*.read"), (&PKCS_ECDSA_P384_SHA384, newer, "system/*.rs")]
    {
        let pem = key(kind);
        let provider = Provider::start(&pem, json!(300), more).await;
        let (_, wire) = with_key(&pem);
        for _ in 0..3 {
            assert_eq!(status(&wire, &provider, &smart(&json!({}))).await, 200);
        }
        let seen = provider.http.seen();
        assert!(seen[0].starts_with("GET /fhir/r4/.well-known/smart-configuration "), "{}", seen[0]);
        assert_eq!((provider.asked("POST /oauth/token ").len(), seen.len()), (1, 5));
        assert_eq!(provider.state.lock().unwrap().scopes, [scope]);
    }
}

#[tokio::test]
async fn the_token_endpoint_the_scopes_and_the_name_of_the_key_can_be_given() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!(300), json!({ "capabilities": ["permission-v2"] })).await;
    let (_, wire) = with_key(&pem);
    let token_url = format!("{}/oauth/token", provider.http.url());
    let both = smart(&json!({ "tokenURL": token_url, "scopes": ["system/Patient.rs", "system/Group.rs"] }));
    assert_eq!(status(&wire, &provider, &both).await, 200);
    assert_eq!(provider.asked("GET /fhir/r4/.well-known").len(), 0, "there is nothing to find out");
    assert_eq!(status(&wire, &provider, &smart(&json!({ "tokenURL": token_url }))).await, 200);
    let scopes = provider.state.lock().unwrap().scopes.clone();
    assert_eq!(scopes, ["system/Patient.rs system/Group.rs", "system/*.rs"]);

    let failure = wire.authorize(&provider.clinic(&smart(&json!({ "keyID": "other" })))).await.unwrap_err();
    assert!(failure.message.contains("(invalid_client: Unknown key); register "), "{}", failure.message);
    let assertion = form(provider.asked("POST ").last().unwrap())["client_assertion"].clone();
    assert_eq!(jsonwebtoken::decode_header(assertion).unwrap().kid.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_with_another_assertion() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!("3600"), json!({})).await;
    let (_, wire) = with_key(&pem);
    let auth = smart(&json!({}));
    assert_eq!(status(&wire, &provider, &auth).await, 200);
    provider.revoke();
    assert_eq!(status(&wire, &provider, &auth).await, 200);
    assert_eq!(status(&wire, &provider, &auth).await, 200);
    // The endpoint refuses an assertion that it has seen before, so there were two.
    assert_eq!(provider.state.lock().unwrap().assertions.len(), 2);
    provider.revoke();
    for _ in 0..3 {
        assert_eq!(status(&wire, &provider, &auth).await, 401, "too soon for another one");
    }
    assert_eq!(provider.asked("POST ").len(), 2);
    assert_eq!(provider.asked("GET /fhir/r4/.well-known").len(), 1);
}

#[tokio::test]
async fn five_second_tokens_last_through_a_run() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!(5), json!({})).await;
    let (_, wire) = with_key(&pem);
    let auth = smart(&json!({}));
    let (mut sent, begun) = (0, std::time::Instant::now());
    while provider.state.lock().unwrap().assertions.len() < 2 {
        assert_eq!(status(&wire, &provider, &auth).await, 200);
        sent += 1;
        // A token expires by time: this spreads the requests over its five seconds.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        sent > 10 && begun.elapsed() > Duration::from_secs(3),
        "{sent} requests in {:?}",
        begun.elapsed()
    );
    assert_eq!(provider.http.seen().len(), sent + 3, "nothing was refused and sent again");
}

#[tokio::test]
async fn many_exports_that_wait_for_a_token_ask_once() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!(300), json!({})).await;
    let (_, wire) = with_key(&pem);
    let clinic = provider.clinic(&smart(&json!({})));
    let all = futures::future::join_all((0..200).map(|_| wire.authorize(&clinic))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(provider.http.seen().len(), 2);
}

#[tokio::test]
async fn a_new_key_is_used_once_it_is_there_and_at_once_when_the_old_one_is_refused() {
    let (old, new) = (key(&PKCS_RSA_SHA384), key(&PKCS_ECDSA_P384_SHA384));
    let provider = Provider::start(&old, json!(3600), json!({})).await;
    let auth = smart(&json!({}));
    let (cluster, wire) = with_key(&old);
    assert_eq!(status(&wire, &provider, &auth).await, 200);
    provider.register(&new);
    cluster.set("smart", "key.pem", &new);
    assert_eq!(status(&wire, &provider, &auth).await, 200);
    assert_eq!(provider.state.lock().unwrap().assertions.len(), 2);

    // The operator remembers Secrets for long here, but rereads one at once after a refusal.
    let cluster = Cluster::with(&[("smart", "key.pem", &old)]);
    let memory = CacheTimes { spared: Duration::ZERO, ..CacheTimes::default() };
    let wire = wire_with(&cluster, EntraSettings::default(), memory);
    let clinic = provider.clinic(&auth);
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().reason, Reason::TokenRefused);
    cluster.set("smart", "key.pem", &new);
    wire.authorize(&clinic).await.unwrap();
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_and_not_shown() {
    let provider = Provider::start(&key(&PKCS_ECDSA_P384_SHA384), json!(300), json!({})).await;
    let clinic = provider.clinic(&smart(&json!({})));
    let (cluster, wire) = with_key("hush hush");
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!((failure.kind, failure.reason), (FailureKind::Missing, Reason::SecretInvalid));
    let said = "key key.pem of Secret fhir/smart holds no private key for signing (it is neither PEM nor a JWK); use a \
                private key of RSA (2048 bits or more) or elliptic curve P-384, as PEM or JWK";
    assert_eq!(failure.message, said);
    cluster.keys.lock().unwrap().clear();
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!((failure.kind, failure.reason), (FailureKind::Missing, Reason::SecretNotFound));
    cluster.fail(Reason::CredentialNotLabelled);
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!((failure.kind, failure.reason), (FailureKind::Missing, Reason::CredentialNotLabelled));
    assert_eq!(provider.http.seen().len(), 0);
}

#[tokio::test]
async fn a_key_that_is_gone_starts_nothing_and_its_token_still_cancels() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!(300), json!({})).await;
    let (cluster, wire) = with_key(&pem);
    let clinic = provider.clinic(&smart(&json!({})));
    wire.authorize(&clinic).await.unwrap();
    cluster.keys.lock().unwrap().clear();
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().kind, FailureKind::Missing);
    let job = cancel(&format!("{}/jobs/1", provider.base()));
    assert_eq!(wire.send(&clinic, &job).await.unwrap().status, 200);
    assert_eq!(provider.asked("POST ").len(), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_logs_a_key_an_assertion_or_a_token() {
    let log = Log::default();
    // While there is one subscriber only, a place that logs first in the thread of another test would be off for all.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let provider = Provider::start(&pem, json!(300), json!({})).await;
    let (_, wire) = with_key(&pem);
    assert_eq!(status(&wire, &provider, &smart(&json!({}))).await, 200);
    let refused = wire.authorize(&provider.clinic(&smart(&json!({ "keyID": "other" })))).await.unwrap_err();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answer to a token or discovery request"), "{log}");
    let assertion = form(provider.asked("POST ").first().unwrap())["client_assertion"].clone();
    for secret in [assertion.as_str(), "eyJ", "token-1", pem.lines().nth(1).unwrap()] {
        assert!(!log.contains(secret) && !format!("{refused:?}").contains(secret), "{secret} in {log}");
    }
}
