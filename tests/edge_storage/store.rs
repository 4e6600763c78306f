//! Storing the operator's own files.

use azure_storage_blob::models::BlobClientGetPropertiesResultHeaders;
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::ports::{ObjectStore, Target};

use crate::lake;

#[tokio::test]
async fn the_same_again_is_done_and_other_content_is_kept() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "store").await;
    let path = "20261124T020000-1/a b+c%.json";
    let body = br#"{"transactionTime":"2026-11-24T02:00:00Z"}"#;
    let stored = storage.store(Target::new(&server, "store"), path, body).await.unwrap();
    // Computed with sha256sum.
    let expected = "cd56447521ef872e69ee7ba5c64c03b983d40767cc81b8c15a60e7f38d5ba80d";
    assert_eq!(stored, expected);
    assert_eq!(storage.store(Target::new(&server, "store"), path, body).await.unwrap(), expected);

    for other in [&b"{}"[..], b"", &[&body[..], b" "].concat()] {
        let failure = storage.store(Target::new(&server, "store"), path, other).await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent);
        assert!(failure.message.contains("is there already with other content"), "{}", failure.message);
    }
    let blob = container.blob_client(path);
    let kept = blob.download(None).await.unwrap().body.collect().await.unwrap();
    assert_eq!(&kept[..], body);
    let properties = blob.get_properties(None).await.unwrap();
    assert_eq!(properties.content_type().unwrap().as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_large_body_and_an_empty_one() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "store-large").await;
    // The large body needs several blocks.
    let large = b"0123456789abcdef".repeat((9 << 20) / 16);
    for (path, body) in [("large.json", &large[..]), ("empty.json", b"")] {
        let first = storage.store(Target::new(&server, "store-large"), path, body).await.unwrap();
        assert_eq!(storage.store(Target::new(&server, "store-large"), path, body).await.unwrap(), first);
        let there = container.blob_client(path).get_properties(None).await.unwrap();
        assert_eq!(there.content_length().unwrap(), Some(body.len() as u64));
    }
}

#[tokio::test]
async fn no_container_is_made() {
    let (_, storage, server) = lake::ready().await;
    let failure = storage.store(Target::new(&server, "not-made"), "m.json", b"{}").await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::NotFound);
    let failure = storage.probe(&server, Some("not-made")).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::NotFound);
}
