//! Whole exports with each way to authenticate to a Bulk Data server, and with tokens that expire during a job.

use std::io::Write;
use std::process::{Command, Stdio};

use bulk_fhir::{Access, FileScript, On, Options, Proof, RequestFault, Script, Smart, token_error};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA384, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::place::Place;
use crate::site::condition;

/// A private key as PEM, and its public JWKS as the command `jwks` prints it for registration.
fn key(kind: &'static SignatureAlgorithm) -> (String, Value) {
    let pem = KeyPair::generate_for(kind).unwrap().serialize_pem();
    let mut jwks = Command::new(env!("CARGO_BIN_EXE_fhir-export-operator"))
        .args(["jwks", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    jwks.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let printed: Value = serde_json::from_slice(&jwks.wait_with_output().unwrap().stdout).unwrap();
    (pem, printed["keys"][0].clone())
}

fn smart_auth() -> Value {
    json!({"auth": {"type": "SmartBackendServices", "smartBackendServices": {
        "clientID": "exporter", "privateKeySecretRef": {"name": "smart", "key": "key.pem"}}}})
}

/// Builds the `auth` of the `FhirServer` of a world.
type Auth<'a> = &'a dyn Fn(&Place) -> Value;

async fn start(name: &str, pem: &str, smart: Smart) -> Place {
    let options = Options { access: Access::Smart(smart), ..Options::default() };
    let mut place = Place::without_operator(name, options, smart_auth()).await;
    place.site.secret("smart", json!({"key.pem": pem}), true).await;
    // The search at the end also covers what other crates log.
    place.site.flags.push("--log-filter=trace".into());
    place.site.start_operator().await;
    place
}

#[tokio::test]
async fn five_second_tokens_are_renewed_in_the_middle_of_a_run() {
    for (name, kind) in [("rsa", &PKCS_RSA_SHA384), ("curve", &PKCS_ECDSA_P384_SHA384)] {
        let (pem, public) = key(kind);
        let smart = Smart {
            lifetime_seconds: 5,
            expires_in_as_text: true,
            ..Smart::client("exporter", Proof::Keys(vec![public]))
        };
        let place = start(name, &pem, smart).await;
        let slow = FileScript { trickle: Some(10_000), gzip: false, ..FileScript::default() };
        place.fhir.script(Script::polls(2).made("Observation", 24, 10_000).files(slow));
        place.change_server(json!({"limits": {"maxParallelDownloads": 2}})).await;
        let object = place.landed("short", json!({})).await;
        let job = place.fhir.jobs()[0].clone();
        place.assert_same(&object, &job.id).await;
        let tokens = place.fhir.requests().iter().filter(|r| r.is_token()).count();
        assert!(tokens >= 3, "{name}: {tokens} tokens for a run of more than ten seconds");
        assert!(place.fhir.leaked_tokens().is_empty());
    }
}

#[tokio::test]
async fn a_token_that_ends_at_once_is_renewed_on_the_refusal() {
    let (pem, public) = key(&PKCS_ECDSA_P384_SHA384);
    let place = start("revoked", &pem, Smart::client("exporter", Proof::Keys(vec![public]))).await;
    let slow = FileScript { trickle: Some(20_000), gzip: false, ..FileScript::default() };
    place.fhir.script(Script::polls(1).made("Observation", 12, 10_000).files(slow));
    place.export("revoked", json!({}), json!({})).await;
    let served =
        |fhir: &bulk_fhir::Server| fhir.jobs()[0].files.iter().filter(|f| f.completed > 0).count() >= 4;
    place.until_served("four files", |fhir| !fhir.jobs().is_empty() && served(fhir)).await;
    place.fhir.revoke_tokens();
    let object = place.site.complete("revoked").await;
    place.assert_same(&object, &place.fhir.jobs()[0].id).await;
    assert_eq!(place.fhir.jobs().len(), 1);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_are_told_and_repaired() {
    let (pem, public) = key(&PKCS_ECDSA_P384_SHA384);
    let (strange, _) = key(&PKCS_ECDSA_P384_SHA384);
    let place = start("refused", &strange, Smart::client("exporter", Proof::Keys(vec![public]))).await;
    place.export("refused", json!({}), json!({})).await;
    let object = place
        .site
        .until("refused", "refused a token", |o| {
            condition(o, "ServerReachable").is_some_and(|c| c.1 == "TokenRefused")
        })
        .await;
    let (_, _, message) = condition(&object, "ServerReachable").unwrap();
    assert!(message.contains("jwks"), "the next step is to register the key: {message}");
    // With the right key in the Secret, the run continues without further help.
    place.site.secret("smart", json!({"key.pem": pem}), true).await;
    place.site.complete("refused").await;

    for code in ["invalid_scope", "unauthorized_client"] {
        let (pem, public) = key(&PKCS_ECDSA_P384_SHA384);
        let place = start("scopes", &pem, Smart::client("exporter", Proof::Keys(vec![public]))).await;
        place.fhir.fault(RequestFault::next(On::Token, 1000, token_error(400, code)));
        place.export("scopes", json!({}), json!({})).await;
        let object = place
            .site
            .until("scopes", "refused a token", |o| {
                condition(o, "ServerReachable").is_some_and(|c| c.1 == "TokenRefused")
            })
            .await;
        assert!(condition(&object, "ServerReachable").unwrap().2.contains(code), "{code}");
        place.fhir.clear();
        place.site.complete("scopes").await;
    }
}

#[tokio::test]
async fn a_client_secret_user_and_password_and_a_bearer_token() {
    let oauth = |place: &Place| {
        json!({"auth": {"type": "OAuthClientSecret", "oauthClientSecret": {"tokenURL": place.fhir.token_url(),
            "clientID": "exporter", "secretRef": {"name": "client", "key": "secret"}, "scopes": ["system/*.rs"]}}})
    };
    let basic = |_: &Place| json!({"auth": {"type": "Basic", "basic": {"secretRef": {"name": "basic"}}}});
    let bearer = |_: &Place| {
        json!({"auth": {"type": "BearerToken",
        "bearerToken": {"secretRef": {"name": "bearer", "key": "token"}}}})
    };
    let ways: [(&str, Access, Auth<'_>); 3] = [
        ("oauth", Access::Smart(Smart::client("exporter", Proof::Secret("p:w d 4471".into()))), &oauth),
        ("basic", Access::Basic("me".into(), "pass word-5820".into()), &basic),
        ("bearer", Access::Bearer("token-1".into()), &bearer),
    ];
    for (name, access, auth) in ways {
        let options = Options { access, ..Options::default() };
        let mut place = Place::without_operator(name, options, json!({})).await;
        place.change_server(auth(&place)).await;
        place.site.secret("client", json!({"secret": "p:w d 4471"}), true).await;
        place.site.secret("basic", json!({"username": "me", "password": "pass word-5820"}), true).await;
        place.site.secret("bearer", json!({"token": "token-1"}), true).await;
        place.site.flags.push("--log-filter=trace".into());
        place.site.start_operator().await;
        let object = place.landed(name, json!({"types": ["Patient"]})).await;
        place.assert_same(&object, &place.fhir.jobs()[0].id).await;
        assert!(place.fhir.leaked_tokens().is_empty(), "{name}");
    }
}
