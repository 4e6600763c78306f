//! OAuth clients with a secret.

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::FailureKind;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::Wire;
use serde_json::{Value, json};

use crate::cluster::{Cluster, get, server, wire};
use crate::provider::form;
use crate::server::{Act, Server, answer};

/// The header for `my client` with the secret `hush&hush`: each part form-encoded, joined by a colon, in base64.
const BASIC: &str = "Basic bXkrY2xpZW50Omh1c2glMjZodXNo";

fn oauth(token_url: &str) -> Value {
    json!({ "type": "OAuthClientSecret", "oauthClientSecret": {
        "tokenURL": token_url, "clientID": "my client", "secretRef": { "name": "client", "key": "secret" } } })
}

fn token(number: usize, life: u32) -> Act {
    let body = json!({ "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": life });
    answer("200 OK", "", &body.to_string())
}

fn refusal(status: &str, code: &str) -> Act {
    answer(status, "", &json!({ "error": code, "error_description": "not with hush&hush" }).to_string())
}

#[tokio::test]
async fn the_secret_goes_into_the_header_and_its_token_is_kept() {
    let idp = Server::http(|number, _| token(number, 300)).await;
    let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
    let wire = wire(&Cluster::with(&[("client", "secret", "hush&hush")]), EntraSettings::default());
    let clinic = server("clinic", &fhir.url(), &oauth(&idp.url()), &json!({}));
    for _ in 0..2 {
        wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    }
    assert_eq!(fhir.headers("authorization"), vec![Some("Bearer t0".to_owned()); 2]);
    assert_eq!(idp.headers("authorization"), [Some(BASIC.to_owned())]);
    let form = form(&idp.seen()[0]);
    assert_eq!((form.len(), form["grant_type"].as_str()), (1, "client_credentials"), "{form:?}");
}

#[tokio::test]
async fn a_server_that_takes_only_the_form_is_remembered() {
    for (status, code) in [
        ("401 Unauthorized", "invalid_client"),
        ("400 Bad Request", "invalid_client"),
        ("400 Bad", "invalid_request"),
    ] {
        let idp = Server::http(move |number, request| {
            if request.contains("client_secret=") { token(number, 300) } else { refusal(status, code) }
        })
        .await;
        let fhir = Server::http(|_, request| {
            let renewed = request.contains("Bearer t2");
            answer(if renewed { "200 OK" } else { "401 Unauthorized" }, "", "")
        })
        .await;
        let wire = wire(&Cluster::with(&[("client", "secret", "hush&hush")]), EntraSettings::default());
        let clinic = server("clinic", &fhir.url(), &oauth(&idp.url()), &json!({}));
        assert_eq!(wire.send(&clinic, &get(&fhir.url())).await.unwrap().status, 200);
        let basic = Some(BASIC.to_owned());
        assert_eq!(idp.headers("authorization"), [basic, None, None], "the header was tried once");
        let form = form(&idp.seen()[2]);
        assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("my client", "hush&hush"));
    }
}

#[tokio::test]
async fn a_wrong_secret_is_tried_both_ways_once_and_told_without_it() {
    let idp = Server::http(|_, _| refusal("401 Unauthorized", "invalid_client")).await;
    let cluster = Cluster::with(&[("client", "secret", "hush&hush")]);
    let wire = wire(&cluster, EntraSettings::default());
    let clinic = server("clinic", "http://127.0.0.1:1", &oauth(&idp.url()), &json!({}));
    for _ in 0..3 {
        let failure = wire.authorize(&clinic).await.unwrap_err();
        assert_eq!((failure.kind, failure.reason), (FailureKind::Unreachable, Reason::TokenRefused));
        let said = "127.0.0.1 does not accept the secret of client my client (invalid_client); check clientID, and put \
                    the current secret into the Secret";
        assert_eq!(failure.message, said);
    }
    assert_eq!(idp.seen().len(), 2);
    cluster.set("client", "secret", "another");
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().reason, Reason::TokenRefused);
    assert_eq!(idp.seen().len(), 4, "a changed secret is tried at once");
}

#[tokio::test]
async fn other_refusals_are_not_tried_in_another_way() {
    let idp = Server::http(|_, _| refusal("400 Bad Request", "invalid_scope")).await;
    let wire = wire(&Cluster::with(&[("client", "secret", "hush&hush")]), EntraSettings::default());
    let clinic = server("clinic", "http://127.0.0.1:1", &oauth(&idp.url()), &json!({}));
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert!(
        failure.message.contains("without a scope (invalid_scope); name in scopes "),
        "{}",
        failure.message
    );
    assert_eq!(idp.seen().len(), 1);
}

#[tokio::test]
async fn headers_of_the_fhir_server_go_to_its_own_origins_only() {
    let (other, own) = (
        Server::http(|number, _| token(number, 300)).await,
        Server::http(|number, _| token(number, 300)).await,
    );
    let wire = wire(
        &Cluster::with(&[("client", "secret", "hush&hush"), ("key", "key", "k1")]),
        EntraSettings::default(),
    );
    let headers =
        json!({ "headers": [{ "name": "X-Gateway", "secretRef": { "name": "key", "key": "key" } }] });
    for idp in [&other, &own] {
        let clinic = server("clinic", &own.url(), &oauth(&format!("{}/token", idp.url())), &headers);
        wire.authorize(&clinic).await.unwrap();
    }
    assert_eq!(
        (other.headers("x-gateway"), own.headers("x-gateway")),
        (vec![None], vec![Some("k1".to_owned())])
    );
}
