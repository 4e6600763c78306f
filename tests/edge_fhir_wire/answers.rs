//! Answers of servers, and the parts of them that the operator keeps.

use std::io::Write;
use std::time::Duration;

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::{FailureKind, Sent};
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::Wire;
use serde_json::json;

use crate::cluster::{Cluster, cancel, get, kick_off, open, server, wire};
use crate::server::{Act, Server, answer};

#[tokio::test]
async fn a_request_carries_what_was_asked_for_and_no_more() {
    let fhir = Server::http(|_, _| {
        answer(
            "202 Accepted",
            "content-location: /_operations/export/7\r\nx-progress: 10%\r\nretry-after: 120\r\n\
             content-type: text/x\r\n",
            "",
        )
    })
    .await;
    let clinic = server("clinic", &fhir.url(), &open(), &json!({}));
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let url = format!("{}/$export?_type=Patient&_outputFormat=application%2Ffhir%2Bndjson", fhir.url());
    let answer = wire.send(&clinic, &kick_off(&url)).await.unwrap();
    assert_eq!(answer.status, 202);
    assert_eq!(answer.content_location.as_deref(), Some("/_operations/export/7"));
    assert_eq!(answer.progress.as_deref(), Some("10%"));
    assert_eq!(answer.content_type.as_deref(), Some("text/x"));
    assert_eq!(answer.retry_after, Some(Duration::from_secs(120)));
    assert!(!answer.truncated);
    let request = &fhir.seen()[0];
    assert!(
        request
            .starts_with("GET /$export?_type=Patient&_outputFormat=application%2Ffhir%2Bndjson HTTP/1.1\r\n"),
        "{request}"
    );
    let mut names: Vec<&str> =
        request.lines().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "prefer", "user-agent"], "{request}");
    assert!(fhir.headers("user-agent")[0].as_deref().unwrap().starts_with("fhir-export-operator/"));
}

#[tokio::test]
async fn a_long_body_is_cut_off_and_marked() {
    let fhir = Server::http(|number, _| answer("200 OK", "", &"x".repeat(1023 + number))).await;
    let clinic = server("clinic", &fhir.url(), &open(), &json!({}));
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    for (length, truncated) in [(1023, false), (1024, false), (1024, true)] {
        let answer = wire.send(&clinic, &get(&fhir.url())).await.unwrap();
        assert_eq!((answer.body.len(), answer.truncated), (length, truncated));
    }
}

#[tokio::test]
async fn a_body_that_grows_when_unpacked_is_cut_off_too() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 1 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_buf(&mut Vec::new()).await.unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&packed).await.unwrap();
    });
    let clinic = server("clinic", &url, &open(), &json!({}));
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let answer = wire.send(&clinic, &get(&url)).await.unwrap();
    assert_eq!((answer.body, answer.truncated), (vec![b' '; 1024].into(), true));
}

#[tokio::test]
async fn a_body_that_breaks_is_an_answer_all_the_same() {
    let fhir = Server::http(|_, _| {
        Act::Part("HTTP/1.1 202 Accepted\r\ncontent-location: /7\r\ncontent-length: 9\r\n\r\nhalf".to_owned())
    })
    .await;
    let clinic = server("clinic", &fhir.url(), &open(), &json!({}));
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let answer = wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap();
    assert_eq!((answer.status, &*answer.body, answer.truncated), (202, b"half".as_slice(), true));
    assert_eq!(answer.content_location.as_deref(), Some("/7"));
}

#[tokio::test]
async fn patience_belongs_to_the_base_url_and_the_identity_that_were_throttled() {
    let fhir = Server::http(|number, _| match number {
        0 => answer("429 Too Many Requests", "retry-after: 600\r\n", ""),
        _ => answer("200 OK", "", ""),
    })
    .await;
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let one = server("one", &format!("{}/a", fhir.url()), &open(), &json!({}));
    let two = server("two", &format!("{}/a/", fhir.url()), &open(), &json!({}));
    let other = server("other", &format!("{}/b", fhir.url()), &open(), &json!({}));

    assert_eq!(wire.send(&one, &get(&one.spec.url)).await.unwrap().status, 429);
    let failure = wire.send(&two, &get(&two.spec.url)).await.unwrap_err();
    assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::Throttled));
    let FailureKind::HeldBack { until } = failure.kind else { panic!("{failure:?}") };
    let wait = until.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((590..=600).contains(&wait), "{wait}");
    assert_eq!(wire.authorize(&two).await.unwrap_err().kind, FailureKind::HeldBack { until });
    let FailureKind::HeldBack { until } = wire.send(&two, &cancel(&two.spec.url)).await.unwrap_err().kind
    else {
        panic!("a cancel waits too")
    };
    assert!(until.duration_since(jiff::Timestamp::now()).as_secs() <= 30, "but not long");
    assert_eq!(fhir.seen().len(), 1);
    assert_eq!(wire.send(&other, &get(&other.spec.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_longest_wait_is_the_server_s_own_setting() {
    let fhir = Server::http(|_, _| answer("503 Service Unavailable", "retry-after: 600\r\n", "")).await;
    let clinic = server("clinic", &fhir.url(), &open(), &json!({ "limits": { "maxRetryAfterSeconds": 5 } }));
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    let FailureKind::HeldBack { until } = wire.send(&clinic, &get(&fhir.url())).await.unwrap_err().kind
    else {
        panic!("not held back")
    };
    assert!(until.duration_since(jiff::Timestamp::now()).as_secs() <= 5);
}
