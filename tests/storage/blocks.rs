//! Landing's side of the storage: blocks, blobs made of them once, the ledger.

use azure_core::Bytes;
use fhir_export_operator::api::Compression;
use fhir_export_operator::core::landing::{Block, BlockId, Issues, Marks, Sum, Tag, Tally, chain};
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::ports::Container;

use crate::lake;

fn marks(source: &str) -> Marks {
    Marks {
        source: source.into(),
        sum: Sum { bytes: 6, lines: 2, sha256: "ab".repeat(32) },
        issues: Issues { errors: 1, warnings: 2, information: 3 },
    }
}

/// The ids of blocks of a file of zeros.
fn ids(tag: Tag, number: u32) -> Vec<BlockId> {
    let mut tally = Tally::default();
    let id = |index| {
        tally.feed(&vec![0; 1 << 20]);
        Block::new(tag, index, &tally).id()
    };
    (0..number).map(id).collect()
}

#[tokio::test]
async fn blocks_become_a_blob_once_and_the_ledger_knows_it() {
    let (azurite, storage, server) = lake::ready().await;
    let missing = storage.ledger(&server, "blocks", "f").await.unwrap_err();
    assert_eq!(missing.kind, StorageFailureKind::NotFound);
    storage.make_container(&server, "blocks").await.unwrap();
    storage.make_container(&server, "blocks").await.unwrap();
    assert_eq!(storage.ledger(&server, "blocks", "f").await.unwrap().landed, []);

    let (ours, theirs) = (ids(Tag::of_etag("s", "\"1\""), 2), ids(Tag::of_etag("s", "\"2\""), 1));
    let place = ("blocks", "f/Patient-1.ndjson");
    for (id, body) in [(&ours[0], "one"), (&theirs[0], "not of this"), (&ours[1], "two")] {
        let body = Bytes::from_static(body.as_bytes());
        storage.stage(&server, place, id, body, Compression::None).await.unwrap();
    }
    let ledger = storage.ledger(&server, "blocks", "f").await.unwrap();
    assert_eq!((ledger.landed.len(), ledger.begun.as_slice()), (0, &["f/Patient-1.ndjson".to_owned()][..]));
    let staged = storage.staged(&server, "blocks", place.1).await.unwrap();
    assert_eq!((staged.len(), chain(&staged).iter().map(Block::id).collect::<Vec<_>>()), (3, ours.clone()));

    assert!(storage.commit(&server, place, &ours, &marks("a"), Compression::None).await.unwrap());
    let container = lake::container(azurite, "blocks").await;
    let content = container.blob_client(place.1).download(None).await.unwrap().body.collect().await.unwrap();
    assert_eq!(&content[..], b"onetwo", "no block of another fetch is in it");
    let ledger = storage.ledger(&server, "blocks", "f").await.unwrap();
    assert_eq!((ledger.landed[0].marks.clone(), ledger.begun.len()), (Some(marks("a")), 0));

    // Whoever comes later changes nothing.
    let late = Bytes::from_static(b"late");
    storage.stage(&server, place, &theirs[0], late, Compression::None).await.unwrap();
    assert!(!storage.commit(&server, place, &theirs, &marks("b"), Compression::None).await.unwrap());
    let ledger = storage.ledger(&server, "blocks", "f").await.unwrap();
    assert_eq!(ledger.landed[0].marks, Some(marks("a")));
}

#[tokio::test]
async fn a_file_of_nothing_and_a_compressed_one() {
    let (azurite, storage, server) = lake::ready().await;
    storage.make_container(&server, "rest").await.unwrap();
    assert!(
        storage
            .commit(&server, ("rest", "f/Empty-1.ndjson"), &[], &marks("a"), Compression::None)
            .await
            .unwrap()
    );
    let place = ("rest", "f/Patient-1.ndjson.gz");
    let blocks = ids(Tag::of_etag("s", "\"1\""), 2);
    for (id, body) in [(&blocks[0], "{}\n"), (&blocks[1], "{}\n")] {
        let body = Bytes::from_static(body.as_bytes());
        storage.stage(&server, place, id, body, Compression::Gzip).await.unwrap();
    }
    assert!(storage.commit(&server, place, &blocks, &marks("b"), Compression::Gzip).await.unwrap());
    let container = lake::container(azurite, "rest").await;
    let content = container.blob_client(place.1).download(None).await.unwrap().body.collect().await.unwrap();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&content[..]), &mut plain).unwrap();
    assert_eq!(plain, "{}\n{}\n");
    let ledger = storage.ledger(&server, "rest", "f").await.unwrap();
    assert_eq!(ledger.landed.len(), 2);
    lake::put(&container, "g/Patient-1.ndjson", b"{}").await;
    assert_eq!(storage.ledger(&server, "rest", "g").await.unwrap().landed[0].marks, None, "somebody else's");
}

#[tokio::test]
async fn small_blobs_are_read_whole_or_not_at_all() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "small").await;
    lake::put(&container, "list.txt", b"Patient/1\n").await;
    lake::put(&container, "empty.txt", b"").await;
    let read = |path: &'static str, max| storage.read(&server, "small", path, max);
    assert_eq!(read("list.txt", 100).await.unwrap().as_deref(), Some(&b"Patient/1\n"[..]));
    assert_eq!(read("empty.txt", 100).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(read("nothing.txt", 100).await.unwrap(), None);
    let large = read("list.txt", 9).await.unwrap_err();
    assert_eq!(large.kind, StorageFailureKind::Permanent);
}
