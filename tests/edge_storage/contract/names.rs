//! Names that a server chose, and small objects.

use bytes::Bytes;
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::core::manifest::sha256_hex;
use fhir_export_operator::ports::{ObjectStore, Target};

use super::kit::{File, Kit};

pub async fn from_the_servers_hand<S: ObjectStore>(kit: &Kit<S>) {
    let beside = format!("{}-beside", kit.container);
    let beside = Target::new(&kit.server, &beside);
    kit.store.make_container(beside).await.unwrap();
    for key in [
        "../names-beside/escaped.ndjson".to_owned(),
        "../contract-names-beside/escaped.ndjson".to_owned(),
        "f/../../names-beside/escaped.ndjson".to_owned(),
        "f/../../contract-names-beside/escaped.ndjson".to_owned(),
        "f/./escaped.ndjson".to_owned(),
        "f/../escaped.ndjson".to_owned(),
        "f//escaped.ndjson".to_owned(),
        "/escaped.ndjson".to_owned(),
        "f/".to_owned(),
        "..".to_owned(),
        String::new(),
        "f/esc\0aped.ndjson".to_owned(),
        "f/..\\escaped.ndjson".to_owned(),
    ] {
        let file = File::new(&key, "1", 9);
        let failure = kit.land(&file).await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent, "{key:?}: {}", failure.message);
        let failure = kit.store.store(kit.target(), &key, b"{}").await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent, "{key:?}: {}", failure.message);
    }
    for folder in ["f", "names-beside", "contract-names-beside"] {
        let ledger = kit.store.ledger(kit.target(), folder).await.unwrap();
        assert_eq!(ledger.landed, [], "{folder}");
    }
    let read = kit.store.read(beside, "escaped.ndjson", 100).await.unwrap();
    assert_eq!(read, None, "nothing is beside the container");

    for key in ["f/a b+c%.ndjson", "f/%2e%2e.ndjson", "f/\u{e4}\u{1f600}.ndjson", "f/x?y#z&.ndjson", "f/-rf"]
    {
        let mut file = File::new(key, "1", 9);
        file.body = Bytes::from_static(b"{\"a\":1}\n\n");
        kit.land(&file).await.unwrap();
        assert_eq!(kit.content(key).await.as_deref(), Some(&file.body[..]), "{key}");
    }
    assert_eq!(kit.store.ledger(kit.target(), "f").await.unwrap().landed.len(), 5);
}

pub async fn small_objects<S: ObjectStore>(kit: &Kit<S>) {
    let key = "f/manifest.json";
    for _ in 0..2 {
        assert_eq!(kit.store.store(kit.target(), key, b"{}").await.unwrap(), sha256_hex(b"{}"));
    }
    for other in [&b""[..], b"[]", b"{} "] {
        let failure = kit.store.store(kit.target(), key, other).await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent);
        assert!(failure.message.contains("is there already with other content"), "{}", failure.message);
    }
    kit.store.store(kit.target(), "f/empty.txt", b"").await.unwrap();
    let read = |key: &'static str, max| kit.store.read(kit.target(), key, max);
    assert_eq!(read(key, 2).await.unwrap().as_deref(), Some(&b"{}"[..]));
    assert_eq!(read("f/empty.txt", 2).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(read("f/nothing.txt", 2).await.unwrap(), None);
    assert_eq!(read("g/nothing.txt", 2).await.unwrap(), None);
    assert_eq!(read(key, 1).await.unwrap_err().kind, StorageFailureKind::Permanent);

    // Only an explicit request creates a container.
    let nowhere = Target::new(&kit.server, "not-made");
    for failure in [
        kit.store.store(nowhere, key, b"{}").await.unwrap_err(),
        kit.store.ledger(nowhere, "f").await.unwrap_err(),
        kit.store.probe(&kit.server, Some("not-made")).await.unwrap_err(),
    ] {
        assert_eq!(failure.kind, StorageFailureKind::NotFound, "{}", failure.message);
    }
    kit.store.probe(&kit.server, Some(&kit.container)).await.unwrap();
    kit.store.probe(&kit.server, None).await.unwrap();
}
