//! Token endpoints that refuse, fail, or redirect.

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::{Failure, FailureKind, Sent};
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::Wire;
use rcgen::PKCS_ECDSA_P384_SHA384;
use serde_json::json;

use crate::cluster::{Cluster, server, wire};
use crate::provider::key;
use crate::server::{Authority, Server, answer};
use crate::smart::{smart, with_key};

/// The failure of `authorize` with the token endpoint at `token_url`.
async fn refused(token_url: &str) -> Failure {
    let (_, wire) = with_key(&key(&PKCS_ECDSA_P384_SHA384));
    let auth = smart(&json!({ "tokenURL": token_url, "scopes": ["system/Patient.rs"] }));
    let clinic = server("clinic", "https://localhost", &auth, &json!({ "allowInsecureHTTP": true }));
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!((failure.sent, failure.kind), (Sent::No, FailureKind::Unreachable), "{}", failure.message);
    failure
}

#[tokio::test]
async fn refusals_are_told_with_the_server_s_words_and_the_next_step() {
    for (code, words, said) in [
        (
            "invalid_client",
            "This jti was seen before.",
            "127.0.0.1 does not accept the signature of client my-client (invalid_client: This jti was seen before); \
             register the public key that fhir-export-operator jwks prints, and check clientID, keyID, tokenURL and \
             the clocks",
        ),
        (
            "invalid_grant",
            "The assertion has expired",
            "127.0.0.1 does not accept the signature of client my-client (invalid_grant: The assertion has expired); \
             register the public key that fhir-export-operator jwks prints, and check clientID, keyID, tokenURL and \
             the clocks",
        ),
        (
            "invalid_scope",
            "",
            "127.0.0.1 does not give client my-client the scope system/Patient.rs (invalid_scope); name in scopes what \
             it is registered for",
        ),
    ] {
        let body = json!({ "error": code, "error_description": words }).to_string();
        let idp = Server::http(move |_, _| answer("400 Bad Request", "", &body)).await;
        let failure = refused(&idp.url()).await;
        assert_eq!((failure.reason, failure.message.as_str()), (Reason::TokenRefused, said));
        assert_eq!(idp.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_is_not_there_may_come_back() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failing = Server::http(|_, _| answer("503 Service Unavailable", "", "")).await;
    let page =
        Server::http(|_, _| answer("200 OK", "content-type: text/html\r\n", "<html>Sign in</html>")).await;
    for (url, said) in [
        (format!("http://{closed}"), "127.0.0.1 refused the connection, so there is no token; "),
        (failing.url(), "127.0.0.1 gives no token now (HTTP 503); it is asked again"),
        (page.url(), "127.0.0.1 answered a token request with something else than a token (HTTP 200); "),
    ] {
        let failure = refused(&url).await;
        assert_eq!(failure.reason, Reason::TokenUnavailable);
        assert!(failure.message.starts_with(said), "{}", failure.message);
    }
}

#[tokio::test]
async fn no_assertion_follows_a_redirect() {
    let other = Server::http(|_, _| answer("200 OK", "", r#"{"access_token":"t"}"#)).await;
    let elsewhere = format!("location: {}/token\r\n", other.url());
    let idp = Server::http(move |_, _| answer("307 Temporary Redirect", &elsewhere, "")).await;
    let failure = refused(&idp.url()).await;
    assert!(failure.message.contains("with a redirect (HTTP 307)"), "{}", failure.message);
    assert_eq!((idp.seen().len(), other.seen().len()), (1, 0));
}

#[tokio::test]
async fn without_encryption_no_assertion_goes_out() {
    let idp = Server::http(|_, _| answer("200 OK", "", r#"{"access_token":"t"}"#)).await;
    let authority = Authority::new();
    let endpoint = json!({ "token_endpoint": idp.url() }).to_string();
    let fhir = Server::https(&authority, "localhost", move |_, _| answer("200 OK", "", &endpoint)).await;
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let cluster = Cluster::with(&[("smart", "key.pem", &pem), ("ca", "ca.crt", &authority.pem())]);
    let wire = wire(&cluster, EntraSettings::default());
    let tls = json!({ "tls": { "caBundleRef": { "kind": "ConfigMap", "name": "ca", "key": "ca.crt" } } });
    let url = format!("https://localhost:{}", fhir.port);
    for auth in [smart(&json!({})), smart(&json!({ "tokenURL": idp.url() }))] {
        let failure = wire.authorize(&server("clinic", &url, &auth, &tls)).await.unwrap_err();
        assert!(
            failure.message.contains("not https, so no token was requested; use https"),
            "{}",
            failure.message
        );
    }
    assert_eq!((fhir.seen().len(), idp.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_server_without_a_smart_configuration_asks_for_the_token_url() {
    let found = r#"{"capabilities":[]}"#;
    for (code, body, said) in [
        (
            "404 Not Found",
            "",
            "127.0.0.1 has no SMART configuration that names a token endpoint (HTTP 404); name it in ",
        ),
        ("200 OK", found, "the server's SMART configuration names no token endpoint; name it in tokenURL"),
        ("200 OK", "<html>", "127.0.0.1 answered with something other than its SMART configuration, "),
        (
            "503 Busy",
            "",
            "127.0.0.1 cannot serve its SMART configuration at the moment (HTTP 503); the operator retries",
        ),
    ] {
        let fhir = Server::http(move |_, _| answer(code, "", body)).await;
        let (_, wire) = with_key(&key(&PKCS_ECDSA_P384_SHA384));
        let clinic = server("clinic", &fhir.url(), &smart(&json!({})), &json!({}));
        let failure = wire.authorize(&clinic).await.unwrap_err();
        assert_eq!((failure.reason, failure.kind), (Reason::TokenUnavailable, FailureKind::Unreachable));
        assert!(failure.message.starts_with(said), "{}", failure.message);
    }
}
