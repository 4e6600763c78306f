//! Storage accounts that fail, and connections to them that break.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fhir_export_operator::core::ledger::{Checked, StorageFailureKind};
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::ObjectStore;
use futures::FutureExt;
use stage::{Azurite, AzuriteOptions, OnCut, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::lake::{self, Secrets, by_key};
use crate::verify::plan;

const LINE: &[u8] = b"{\"resourceType\":\"Patient\",\"id\":\"0123456789\"}\n";

/// The URL that leads to `target` through `relay`.
fn through(relay: &Relay, target: &Url) -> Url {
    let mut url = target.clone();
    url.set_port(Some(relay.port())).unwrap();
    url
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (azurite, storage, _) = lake::ready().await;
    let container = lake::container(azurite, "resume").await;
    let body = LINE.repeat(60_000);
    lake::put(&container, "big.ndjson", &body).await;

    let target = azurite.endpoint().unwrap();
    let relay = Relay::cutting(target.port().unwrap(), 500_000, 4, None).await.unwrap();
    let server = lake::server(&through(&relay, &target), &by_key());
    let seen =
        storage.verify(&server, &plan("resume", "", &["big.ndjson"], u64::MAX), &|_| ()).await.unwrap();
    assert_eq!(seen, [Checked { bytes: Some(body.len() as u64), lines: Some(60_000) }]);
    assert_eq!(relay.cuts(), 4);
}

#[tokio::test]
async fn a_file_that_changes_under_the_reader_is_not_counted() {
    let (azurite, storage, _) = lake::ready().await;
    let container = Arc::new(lake::container(azurite, "change").await);
    lake::put(&container, "big.ndjson", &LINE.repeat(60_000)).await;

    let target = azurite.endpoint().unwrap();
    let changed = Arc::clone(&container);
    let change: OnCut = Box::new(move || {
        let container = Arc::clone(&changed);
        // The new content has the same length, so that only the ETag differs.
        async move { lake::put(&container, "big.ndjson", &b"\n".repeat(60_000 * LINE.len())).await }.boxed()
    });
    let relay = Relay::cutting(target.port().unwrap(), 500_000, 1, Some(change)).await.unwrap();
    let server = lake::server(&through(&relay, &target), &by_key());
    let failure =
        storage.verify(&server, &plan("change", "", &["big.ndjson"], u64::MAX), &|_| ()).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Transient { retry_after: None });
    assert!(failure.message.contains("changed while it was read"), "{}", failure.message);
}

#[tokio::test]
async fn a_download_that_never_comes_ends() {
    let (azurite, storage, _) = lake::ready().await;
    let container = lake::container(azurite, "endless").await;
    lake::put(&container, "big.ndjson", &LINE.repeat(60_000)).await;

    let target = azurite.endpoint().unwrap();
    // Lists fit into this limit, but no piece of a file does.
    let relay = Relay::cutting(target.port().unwrap(), 2_000, usize::MAX, None).await.unwrap();
    let server = lake::server(&through(&relay, &target), &by_key());
    let failure =
        storage.verify(&server, &plan("endless", "", &["big.ndjson"], u64::MAX), &|_| ()).await.unwrap_err();
    assert!(matches!(failure.kind, StorageFailureKind::Transient { .. }), "{failure:?}");
}

#[tokio::test]
async fn an_outage_is_transient_and_ends() {
    let mut azurite = Azurite::start(AzuriteOptions::default()).await.unwrap();
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", azurite.key());
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_key());
    storage.probe(&server, None).await.unwrap();

    azurite.stop().await.unwrap();
    let started = Instant::now();
    let failure = storage.probe(&server, None).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Transient { retry_after: None });
    assert!(failure.message.contains("no connection to the storage account devstoreaccount1"), "{failure:?}");
    assert!(!failure.message.contains("sig="), "{failure:?}");
    assert!(started.elapsed() < Duration::from_secs(25), "tried for {:?}", started.elapsed());

    azurite.resume().await.unwrap();
    storage.probe(&server, None).await.unwrap();
}

/// Starts a server that answers each request with the next of `answers`, and then repeats the last one.
async fn answering(answers: &'static [&'static str]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/acc", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let (head, body) = answers[n.min(answers.len() - 1)].split_once('|').unwrap();
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

const EMPTY: &str = "200 OK\r\ncontent-type: application/xml|<?xml version=\"1.0\"?>\
     <EnumerationResults><Containers /><NextMarker /></EnumerationResults>";

#[tokio::test]
async fn answers_of_an_account_in_trouble() {
    let transient = |seconds: Option<u64>| StorageFailureKind::Transient {
        retry_after: seconds.map(Duration::from_secs),
    };
    let xml = "<Error><Code>X</Code><Message>a secret name</Message></Error>";
    let busy = format!("503 Busy\r\nretry-after: 120\r\nx-ms-error-code: ServerBusy|{xml}");
    let denied = format!("403 Forbidden\r\nx-ms-error-code: AuthorizationFailure|{xml}");
    let odd = format!("400 Bad\r\nx-ms-error-code: <b>not a code</b>|{xml}");
    let table = [
        (busy, transient(Some(120)), "busy or out of order (503 ServerBusy)"),
        (denied, StorageFailureKind::Denied, "refuses the account key (403 AuthorizationFailure)"),
        (odd, StorageFailureKind::Permanent, "refuses the request (400)"),
        (
            "307 Moved\r\nlocation: https://elsewhere.example/?sig=s|".into(),
            StorageFailureKind::Permanent,
            "redirect",
        ),
        ("200 OK|<html>Sign in</html>".into(), transient(None), "does not answer as blob storage does"),
    ];
    for (answer, kind, expected) in table {
        let secrets = Arc::new(Secrets::default());
        secrets.set("key", "a2V5");
        let storage = lake::storage(&secrets, EntraSettings::default());
        let answers = Box::leak(Box::new([&*answer.leak()]));
        let server = lake::server(&answering(answers).await, &by_key());
        let failure = storage.probe(&server, None).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(expected) && failure.message.contains("acc"), "{}", failure.message);
        assert!(
            !failure.message.contains("secret") && !failure.message.contains("sig="),
            "{}",
            failure.message
        );
    }
}

#[tokio::test]
async fn a_short_trouble_is_sat_out() {
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", "a2V5");
    let storage = lake::storage(&secrets, EntraSettings::default());
    let url = answering(&["500 Oops|", "503 Busy\r\nretry-after: 1|", EMPTY]).await;
    storage.probe(&lake::server(&url, &by_key()), None).await.unwrap();
}

#[tokio::test]
async fn a_list_or_a_failure_without_an_end_is_not_taken_in() {
    let (_, storage, _) = lake::ready().await;
    for head in ["200 OK", "403 Forbidden"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endless = tokio::spawn(async move {
            let mut most = 0_usize;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let head = format!(
                    "HTTP/1.1 {head}\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n<?xml?>"
                );
                let (mut sent, piece) = (0, vec![b' '; 1 << 20]);
                if stream.write_all(head.as_bytes()).await.is_ok() {
                    // Send until the client closes the connection, up to far more than it may accept.
                    while sent < 256 << 20 && stream.write_all(&piece).await.is_ok() {
                        sent += piece.len();
                    }
                }
                most = most.max(sent);
                if most >= 256 << 20 {
                    break;
                }
            }
            most
        });
        let server = lake::server(&Url::parse(&format!("http://127.0.0.1:{port}/acc")).unwrap(), &by_key());
        let failure = storage.probe(&server, None).await.unwrap_err();
        assert!(!failure.message.is_empty(), "{head}");
        assert!(!endless.is_finished(), "{head}: all that came was taken");
        endless.abort();
    }
}
