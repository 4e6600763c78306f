//! Addresses that the operator does not connect to: as a literal, by a name, or from a server's answer.

use std::sync::Arc;

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::reach::{Network, Reach};
use fhir_export_operator::core::wire::{Failure, FailureKind, FileRequest, Sent};
use fhir_export_operator::credentials::{EntraSettings, Identities};
use fhir_export_operator::fhir::{FhirWire, WireSettings};
use fhir_export_operator::ports::FileAnswer;
use fhir_export_operator::ports::Wire;
use rcgen::PKCS_ECDSA_P384_SHA384;
use serde_json::{Value, json};

use crate::cluster::{Cluster, bearer, cancel, get, kick_off, open, server, wire};
use crate::provider::key;
use crate::server::{Server, answer};
use crate::smart::{smart, with_key};

/// A wire that does not connect to the networks in `refused`.
fn reaching(cluster: &Arc<Cluster>, refused: &[&str]) -> FhirWire {
    let reach = Reach::named(refused.iter().map(|network| Network::parse(network).unwrap()).collect());
    let settings = EntraSettings::default();
    let http = settings.http_client().unwrap();
    let identities = Identities::new(cluster.clone(), settings, http);
    FhirWire::new(Arc::new(identities), WireSettings { reach, ..WireSettings::default() })
}

fn is_refused(failure: &Failure) {
    assert_eq!(
        (failure.sent, failure.reason, failure.kind),
        (Sent::No, Reason::AddressNotAllowed, FailureKind::Unreachable),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn the_node_and_its_cloud_are_not_asked_even_where_a_fhir_server_names_them() {
    let cluster = Cluster::with(&[("token", "token", "hush")]);
    let wire = wire(&cluster, EntraSettings::default());
    for base in [
        "http://169.254.169.254/metadata/instance",
        "http://2852039166/latest",
        "https://[fe80::1]",
        "http://[::ffff:169.254.169.254]",
        "http://168.63.129.16:32526",
        "http://0/",
        "http://[::]:8080",
    ] {
        let clinic = server("clinic", base, &bearer(), &json!({}));
        let url = format!("{}/metadata", base.trim_end_matches('/'));
        for request in [get(&url), kick_off(&url), cancel(&url)] {
            let failure = wire.send(&clinic, &request).await.unwrap_err();
            is_refused(&failure);
            assert!(failure.message.contains("never connects to it"), "{}", failure.message);
        }
        is_refused(&wire.authorize(&clinic).await.unwrap_err());
    }
    assert_eq!(*cluster.reads.lock().unwrap(), 0, "no credential was read");
}

#[tokio::test]
async fn what_the_operator_s_owner_refuses_is_not_connected_to_by_address_or_name() {
    let fhir = Server::http(|_, _| answer("200 OK", "", "{}")).await;
    let cluster = Cluster::with(&[("token", "token", "hush")]);
    let by_name = fhir.url().replace("127.0.0.1", "localhost");
    for url in [fhir.url(), by_name] {
        let clinic = server("clinic", &url, &bearer(), &json!({}));
        let request = get(&format!("{url}/metadata"));
        let failure = reaching(&cluster, &["127.0.0.0/8", "::1"]).send(&clinic, &request).await.unwrap_err();
        is_refused(&failure);
        assert!(failure.message.contains("(--refused-networks), so nothing was sent"), "{}", failure.message);
        assert_eq!(fhir.seen().len(), 0);
    }
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({}));
    let reply = reaching(&cluster, &["10.0.0.0/8"]).send(&clinic, &get(&fhir.url())).await;
    assert_eq!((reply.unwrap().status, fhir.seen().len()), (200, 1));
}

#[tokio::test]
async fn a_token_endpoint_that_only_the_server_names_is_a_public_one() {
    let pem = key(&PKCS_ECDSA_P384_SHA384);
    let idp = Server::http(|_, _| answer("200 OK", "", r#"{"access_token":"t","expires_in":60}"#)).await;
    let by_name = idp.url().replace("127.0.0.1", "localhost");
    for token_url in
        [idp.url(), by_name, "http://169.254.169.254/token".into(), "http://[::1]:1/token".into()]
    {
        let found = json!({ "token_endpoint": token_url }).to_string();
        let fhir = Server::http(move |_, _| answer("200 OK", "", &found)).await;
        let (_, wire) = with_key(&pem);
        let told = server("clinic", &fhir.url(), &smart(&json!({})), &json!({}));
        let failure = wire.authorize(&told).await.unwrap_err();
        assert_eq!(
            (failure.sent, failure.reason),
            (Sent::No, Reason::AddressNotAllowed),
            "{}",
            failure.message
        );
        assert!(failure.message.contains("set tokenURL to the token endpoint"), "{}", failure.message);
        assert_eq!((fhir.seen().len(), idp.seen().len()), (1, 0), "{token_url}");
    }
    // The owner of the FhirServer can permit the endpoint.
    let found = json!({ "token_endpoint": idp.url() }).to_string();
    let fhir = Server::http(move |_, _| answer("200 OK", "", &found)).await;
    let (_, wire) = with_key(&pem);
    for (auth, more) in [
        (smart(&json!({ "tokenURL": idp.url() })), json!({})),
        (smart(&json!({})), json!({ "trustedOrigins": [idp.url()] })),
    ] {
        wire.authorize(&server("clinic", &fhir.url(), &auth, &more)).await.unwrap();
    }
    assert_eq!(idp.seen().len(), 2);
}

async fn fetch(wire: &FhirWire, more: Value, base: &str, url: &str) -> Result<FileAnswer, Failure> {
    let file = FileRequest { url: url.to_owned(), with_token: true, resume: None, compressed: false };
    wire.open(&server("clinic", base, &open(), &more), &file).await
}

#[tokio::test]
async fn a_redirect_of_a_file_leads_to_no_address_that_nobody_named() {
    let inside = Server::http(|_, _| answer("200 OK", "", "{}")).await;
    let cluster = Cluster::with(&[]);
    let wire = wire(&cluster, EntraSettings::default());
    for to in [
        inside.url(),
        inside.url().replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/latest".into(),
        "file:///etc/passwd".into(),
        "http://user:pass@127.0.0.1/".into(),
        format!("//{}", inside.url().trim_start_matches("http://")),
    ] {
        let location = format!("location: {to}\r\n");
        let fhir = Server::http(move |_, _| answer("302 Found", &location, "")).await;
        let got = fetch(&wire, json!({}), &fhir.url(), &format!("{}/file", fhir.url())).await.unwrap();
        assert!(matches!(got, FileAnswer::Elsewhere(_)), "{to}");
        assert_eq!((fhir.seen().len(), inside.seen().len()), (1, 0), "{to}");
    }
    // The FhirServer names the origin, but the operator still does not connect to it.
    let fhir = Server::http(|_, _| answer("302 Found", "location: http://169.254.169.254/x\r\n", "")).await;
    let named = json!({ "fileOrigins": ["http://169.254.169.254"] });
    let Err(failure) = fetch(&wire, named, &fhir.url(), &format!("{}/file", fhir.url())).await else {
        panic!("it was asked")
    };
    is_refused(&failure);
}
