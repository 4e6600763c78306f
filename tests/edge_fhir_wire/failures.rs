//! Requests without an answer: the reason, and whether the request can have arrived.

use fhir_export_operator::api::{FhirServer, Reason};
use fhir_export_operator::core::wire::{Failure, FailureKind, Request, Sent};
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::Wire;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, get, kick_off, open, server, wire};
use crate::server::{Act, Authority, Server, answer};

async fn failure(server: &Arc<FhirServer>, request: &Request) -> Failure {
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let failure = wire.send(server, request).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(!failure.message.contains("secret"), "a query in a message: {}", failure.message);
    failure
}

fn clinic(url: &str) -> Arc<FhirServer> {
    server("clinic", url, &open(), &json!({ "limits": { "requestTimeoutSeconds": 1 } }))
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    // The resolver itself refuses a label of more than 63 letters, without asking a DNS server. The URL has http, since
    // TLS would refuse the name even earlier.
    let host = format!("{}.example", "a".repeat(64));
    let url = format!("http://{host}");
    let failure = failure(&clinic(&url), &kick_off(&format!("{url}/$export?q=secret"))).await;
    assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::HostNotFound));
    let said = format!(
        "the host name {host} does not resolve; check url of FhirServer fhir/clinic, and the cluster's DNS"
    );
    assert_eq!(failure.message, said);
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let failure = failure(&clinic(&url), &kick_off(&format!("{url}/$export?q=secret"))).await;
        assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::ConnectionFailed));
        assert!(failure.message.starts_with("127.0.0.1 refused the connection; "), "{}", failure.message);
    }
}

#[tokio::test]
async fn tls_that_cannot_be_agreed_on() {
    let authority = Authority::new();
    let stranger = Server::https(&authority, "localhost", |_, _| answer("200 OK", "", "")).await;
    let misnamed = Server::https(&authority, "other.example", |_, _| answer("200 OK", "", "")).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.read_buf(&mut Vec::new()).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let cluster = Cluster::with(&[("ca", "ca.crt", &authority.pem())]);
    let wire = wire(&cluster, EntraSettings::default());
    let tls = json!({ "tls": { "caBundleRef": { "kind": "ConfigMap", "name": "ca", "key": "ca.crt" } } });
    for (port, more, said) in [
        (stranger.port, &json!({}), "its certificate comes from an authority that is not trusted here"),
        (misnamed.port, &tls, "its certificate is for another host name"),
        (plain_port, &json!({}), "the server does not speak TLS as expected"),
    ] {
        let url = format!("https://localhost:{port}");
        let clinic = server("clinic", &url, &open(), more);
        let failure = wire.send(&clinic, &kick_off(&url)).await.unwrap_err();
        assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::TLSFailed), "{}", failure.message);
        assert_eq!(
            failure.message,
            format!("TLS with localhost failed: {said}; check url and tls of FhirServer fhir/clinic")
        );
    }
    let url = format!("https://localhost:{}", stranger.port);
    let clinic = server("clinic", &url, &open(), &tls);
    assert_eq!(wire.send(&clinic, &get(&url)).await.unwrap().status, 200, "with its CA it works");
}

#[tokio::test]
async fn a_ca_that_is_no_pem() {
    let cluster = Cluster::with(&[("ca", "ca.crt", "rubbish")]);
    let wire = wire(&cluster, EntraSettings::default());
    let tls = json!({ "tls": { "caBundleRef": { "kind": "Secret", "name": "ca", "key": "ca.crt" } } });
    let clinic = server("clinic", "https://localhost:1", &open(), &tls);
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!((failure.kind, failure.reason), (FailureKind::Missing, Reason::SecretInvalid));
}

#[tokio::test]
async fn no_answer_in_time() {
    let fhir = Server::http(|_, _| Act::Silence).await;
    let failure = failure(&clinic(&fhir.url()), &kick_off(&format!("{}/$export?q=secret", fhir.url()))).await;
    assert_eq!((failure.sent, failure.reason), (Sent::Maybe, Reason::TimedOut));
    assert!(failure.message.starts_with("127.0.0.1 did not answer within 1 s; "), "{}", failure.message);
    assert_eq!(fhir.seen().len(), 1);
}

#[tokio::test]
async fn no_handshake_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let failure = failure(&clinic(&url), &kick_off(&url)).await;
    assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::TimedOut));
}

#[tokio::test]
async fn a_kick_off_on_a_cut_connection_is_sent_once() {
    let fhir = Server::http(|number, _| match number {
        0 => answer("200 OK", "", ""),
        _ => Act::Part(String::new()),
    })
    .await;
    let clinic = clinic(&fhir.url());
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    let failure = wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap_err();
    assert_eq!((failure.sent, failure.reason), (Sent::Maybe, Reason::ConnectionFailed));
    assert_eq!(fhir.headers("prefer"), [None, Some("respond-async".to_owned())]);
}

#[tokio::test]
async fn a_kick_off_meets_no_connection_that_was_just_closed() {
    // The server closes the first connection after its answer without announcing it.
    let fhir = Server::http(|number, _| match number {
        0 => Act::Part("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()),
        _ => answer("202 Accepted", "", ""),
    })
    .await;
    let clinic = clinic(&fhir.url());
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    assert_eq!(wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap().status, 202);
}

#[tokio::test]
async fn what_is_not_http_is_a_broken_connection() {
    let fhir = Server::http(|_, _| Act::Part("220 smtp ready\r\n".to_owned())).await;
    let failure = failure(&clinic(&fhir.url()), &kick_off(&fhir.url())).await;
    assert_eq!((failure.sent, failure.reason), (Sent::Maybe, Reason::ConnectionFailed));
}
