//! Landing in Azure: requests for blocks, uncommitted blocks, also those of the previous release, and the ledger.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::RequestContent;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fhir_export_operator::api::Compression;
use fhir_export_operator::core::landing::{Checkpoint, Content, FileForm, Issues, Marks, Sum, Tally};
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{Committed, ObjectStore, Target, Upload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::lake::{self, Secrets, by_key};

const MIB: usize = 1 << 20;
/// The size of a part of a new upload, in bytes.
const PART: usize = 4 * MIB;

fn marks(source: &str) -> Marks {
    Marks {
        source: source.into(),
        sum: Sum { bytes: 6, lines: 2, sha256: "ab".repeat(32) },
        form: FileForm::Framed,
        issues: Issues { errors: 1, warnings: 2, information: 3 },
    }
}

/// Stores one part for each byte in `filling`, filled with that byte.
async fn parts(upload: &mut impl Upload, content: Content, tally: &mut Tally, filling: &[u8]) {
    for byte in filling {
        let body = Bytes::from(vec![*byte; upload.part_size(tally.bytes()).unwrap()]);
        tally.feed(&body);
        upload.part(body, &Checkpoint::after(content, tally).unwrap()).await.unwrap();
    }
    upload.settle().await.unwrap();
}

#[tokio::test]
async fn blocks_become_a_blob_once_and_the_ledger_knows_it() {
    let (azurite, storage, server) = lake::ready().await;
    let place = Target::new(&server, "blocks");
    let missing = storage.ledger(place, "f").await.unwrap_err();
    assert_eq!(missing.kind, StorageFailureKind::NotFound);
    storage.make_container(place).await.unwrap();
    storage.make_container(place).await.unwrap();
    assert_eq!(storage.ledger(place, "f").await.unwrap().landed, []);

    let key = "f/Patient-1.ndjson";
    let (ours, theirs) = (Content::of_etag("s", "\"1\""), Content::of_etag("s", "\"2\""));
    let mut upload = storage.begin(place, key, ours, Compression::None);
    let mut other = storage.begin(place, key, theirs, Compression::None);
    parts(&mut upload, ours, &mut Tally::default(), b"a").await;
    parts(&mut other, theirs, &mut Tally::default(), b"x").await;
    let mut tally = Tally::default();
    tally.feed(&vec![b'a'; PART]);
    parts(&mut upload, ours, &mut tally, b"b").await;
    let ledger = storage.ledger(place, "f").await.unwrap();
    assert_eq!((ledger.landed.len(), ledger.begun.as_slice()), (0, &[key.to_owned()][..]));
    let (resumed, checkpoint) = storage.resume(place, key, Compression::None).await.unwrap().unwrap();
    assert_eq!((checkpoint.content(), checkpoint.bytes()), (ours, 2 * PART as u64));

    let committed = resumed.commit(Bytes::from_static(b"rest"), &marks("a")).await.unwrap();
    assert_eq!(committed, Committed::Now);
    let container = lake::container(azurite, "blocks").await;
    let content = container.blob_client(key).download(None).await.unwrap().body.collect().await.unwrap();
    let whole = [vec![b'a'; PART], vec![b'b'; PART], b"rest".to_vec()].concat();
    assert!(content[..] == whole[..], "no block of another fetch is in it");
    let ledger = storage.ledger(place, "f").await.unwrap();
    assert_eq!((ledger.landed[0].marks.clone(), ledger.begun.len()), (Some(marks("a")), 0));

    // A later upload changes nothing.
    let mut late = storage.begin(place, key, theirs, Compression::None);
    parts(&mut late, theirs, &mut Tally::default(), b"l").await;
    assert_eq!(late.commit(Bytes::new(), &marks("b")).await.unwrap(), Committed::AlreadyThere);
    let late = storage.begin(place, key, theirs, Compression::None);
    let committed = late.commit(Bytes::from_static(b"late"), &marks("b")).await.unwrap();
    assert_eq!(committed, Committed::AlreadyThere);
    let ledger = storage.ledger(place, "f").await.unwrap();
    assert_eq!(ledger.landed[0].marks, Some(marks("a")));
}

#[tokio::test]
async fn a_landing_that_the_previous_release_began_is_continued_and_its_last_block_is_not() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "previous").await;
    let place = Target::new(&server, "previous");
    let (key, content) = ("f/Patient-1.ndjson", Content::of_etag("s", "\"1\""));
    let mut tally = Tally::default();
    let blob = container.blob_client(key).block_blob_client();
    // The block ids of that release consist of content, index and state. The last block of a file had no state.
    for index in 0_u32..3 {
        let body = vec![b'a'; if index < 2 { MIB } else { 7 }];
        tally.feed(&body);
        let state = if index < 2 { tally.stand().unwrap() } else { [0; 41] };
        let id = [&content.to_bytes()[..], &index.to_be_bytes(), &state].concat();
        blob.stage_block(&id, body.len() as u64, RequestContent::from(body), None).await.unwrap();
    }
    let (mut upload, checkpoint) = storage.resume(place, key, Compression::None).await.unwrap().unwrap();
    assert_eq!((checkpoint.content(), checkpoint.bytes()), (content, 2 * MIB as u64));
    let mut tally = checkpoint.tally().unwrap();
    // The rest of the file has parts of that release's size, too.
    assert_eq!(upload.part_size(2 * MIB as u64), Some(MIB));
    parts(&mut upload, content, &mut tally, b"c").await;
    drop(upload);
    let (upload, checkpoint) = storage.resume(place, key, Compression::None).await.unwrap().unwrap();
    assert_eq!((checkpoint.bytes(), upload.part_size(3 * MIB as u64)), (3 * MIB as u64, Some(MIB)));
    tally.feed(b"bbb");
    let marks = Marks { sum: tally.finish(), ..marks("a") };
    upload.commit(Bytes::from_static(b"bbb"), &marks).await.unwrap();
    let stored = storage.read(place, key, 4 * MIB).await.unwrap().unwrap();
    assert!(stored == [vec![b'a'; 2 * MIB], vec![b'c'; MIB], b"bbb".to_vec()].concat());
}

#[tokio::test]
async fn an_upload_that_is_begun_anew_is_not_mixed_up_with_blocks_of_the_previous_release() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "anew").await;
    let place = Target::new(&server, "anew");
    let (key, content) = ("f/Patient-1.ndjson", Content::of_etag("s", "\"1\""));
    // A block of the same content and index but of that release's size does not belong to the new upload.
    let (mut old, body) = (Tally::default(), vec![b'a'; MIB]);
    old.feed(&body);
    let id = [&content.to_bytes()[..], &[0; 4], &old.stand().unwrap()].concat();
    let blob = container.blob_client(key).block_blob_client();
    blob.stage_block(&id, body.len() as u64, RequestContent::from(body), None).await.unwrap();
    let mut tally = Tally::default();
    let mut upload = storage.begin(place, key, content, Compression::None);
    parts(&mut upload, content, &mut tally, b"a").await;
    drop(upload);
    let (upload, checkpoint) = storage.resume(place, key, Compression::None).await.unwrap().unwrap();
    assert_eq!((checkpoint.bytes(), upload.part_size(PART as u64)), (PART as u64, Some(PART)));
    tally.feed(b"{}\n");
    let marks = Marks { sum: tally.finish(), ..marks("a") };
    upload.commit(Bytes::from_static(b"{}\n"), &marks).await.unwrap();
    let stored = storage.read(place, key, 2 * PART).await.unwrap().unwrap();
    assert!(stored == [vec![b'a'; PART], b"{}\n".to_vec()].concat());
}

#[tokio::test]
async fn a_file_of_nothing_and_a_compressed_one() {
    let (azurite, storage, server) = lake::ready().await;
    let place = Target::new(&server, "rest");
    storage.make_container(place).await.unwrap();
    let content = Content::of_etag("s", "\"1\"");
    let empty = storage.begin(place, "f/Empty-1.ndjson", content, Compression::None);
    assert_eq!(empty.commit(Bytes::new(), &marks("a")).await.unwrap(), Committed::Now);
    let key = "f/Patient-1.ndjson.gz";
    let mut upload = storage.begin(place, key, content, Compression::Gzip);
    parts(&mut upload, content, &mut Tally::default(), b"\n").await;
    upload.commit(Bytes::from_static(b"{}\n"), &marks("b")).await.unwrap();
    let container = lake::container(azurite, "rest").await;
    let content = container.blob_client(key).download(None).await.unwrap().body.collect().await.unwrap();
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&content[..]).read_to_end(&mut plain).unwrap();
    assert!(plain == [vec![b'\n'; PART], b"{}\n".to_vec()].concat());
    let ledger = storage.ledger(place, "f").await.unwrap();
    assert_eq!(ledger.landed.len(), 2);
    lake::put(&container, "g/Patient-1.ndjson", b"{}").await;
    assert_eq!(storage.ledger(place, "g").await.unwrap().landed[0].marks, None, "somebody else's");
}

#[tokio::test]
async fn small_blobs_are_read_whole_or_not_at_all() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "small").await;
    lake::put(&container, "list.txt", b"Patient/1\n").await;
    lake::put(&container, "empty.txt", b"").await;
    let read = |path: &'static str, max| storage.read(Target::new(&server, "small"), path, max);
    assert_eq!(read("list.txt", 100).await.unwrap().as_deref(), Some(&b"Patient/1\n"[..]));
    assert_eq!(read("empty.txt", 100).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(read("nothing.txt", 100).await.unwrap(), None);
    let large = read("list.txt", 9).await.unwrap_err();
    assert_eq!(large.kind, StorageFailureKind::Permanent);
}

/// Starts a server that answers 201, but only when three requests have arrived.
async fn answers_three_at_a_time() -> url::Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/acc", listener.local_addr().unwrap()).parse().unwrap();
    let three = Arc::new(Barrier::new(3));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let three = Arc::clone(&three);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
                three.wait().await;
                let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            });
        }
    });
    url
}

#[tokio::test]
async fn blocks_of_one_file_are_on_their_way_together() {
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", &BASE64_STANDARD.encode("key"));
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&answers_three_at_a_time().await, &by_key());
    let content = Content::of_etag("s", "\"1\"");
    let mut upload =
        storage.begin(Target::new(&server, "lake"), "f/Patient-1.ndjson", content, Compression::None);
    let mut tally = Tally::default();
    let all = parts(&mut upload, content, &mut tally, b"abc");
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("one block waits for the answer to another");
    assert_eq!(upload.stored(), 3 * PART as u64);
}
