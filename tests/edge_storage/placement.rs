//! Where a storage account puts what the operator writes: the encryption scope, and the tier of landed files. Azurite
//! knows no encryption scopes, so a stand-in records the headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fhir_export_operator::api::{Compression, FhirServer};
use fhir_export_operator::core::landing::{Checkpoint, Content, FileForm, Issues, Marks, Sum, Tally};
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{Committed, ObjectStore, Target, Upload};
use fhir_export_operator::storage::BlobStorage;
use serde_json::json;
use test_server::{Answering, HttpReply, Served, Socket, WholeRequest};
use url::Url;

use crate::lake::{self, Secrets, by_key};

const SCOPE: &str = "x-ms-encryption-scope";
const TIER: &str = "x-ms-access-tier";

/// A storage account that takes everything, or gives one answer to all, and records method, query and headers.
struct Account {
    answer: HttpReply,
    seen: Mutex<Vec<(String, BTreeMap<String, String>)>>,
}

impl Answering for Account {
    async fn answer(&self, request: WholeRequest) -> Served {
        let query = request.uri().query().unwrap_or_default();
        let what =
            ["comp=block&", "comp=blocklist"].into_iter().find(|what| format!("{query}&").contains(what));
        let what = format!("{} {}", request.method(), what.unwrap_or_default().trim_end_matches('&'));
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        self.seen.lock().unwrap().push((what.trim().to_owned(), headers.collect()));
        self.answer.clone().into()
    }
}

/// A server whose storage account is at this address and places what is written.
fn server(endpoint: &Url, change: &serde_json::Value) -> Arc<FhirServer> {
    let mut server = (*lake::server(endpoint, &by_key())).clone();
    let blob = server.spec.storage.as_mut().unwrap().azure_blob.as_mut().unwrap();
    let mut whole = serde_json::to_value(&*blob).unwrap();
    whole.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    *blob = serde_json::from_value(whole).unwrap();
    Arc::new(server)
}

fn marks(bytes: u64) -> Marks {
    Marks {
        source: "s".into(),
        sum: Sum { bytes, lines: 1, sha256: "ab".repeat(32) },
        form: FileForm::Framed,
        issues: Issues { errors: 0, warnings: 0, information: 0 },
    }
}

/// Lands a file of one part, and one of two blocks, and stores a manifest.
async fn write(storage: &BlobStorage, place: Target<'_>) {
    let content = Content::of_etag("s", "\"1\"");
    let small = storage.begin(place, "f/Patient-1.ndjson", content, Compression::None);
    let committed = small.commit(Bytes::from_static(b"{}\n"), &marks(3)).await.unwrap();
    assert_eq!(committed, Committed::Now);
    let mut large = storage.begin(place, "f/Patient-2.ndjson", content, Compression::None);
    let mut tally = Tally::default();
    for _ in 0..2 {
        let body = Bytes::from(vec![b'a'; large.part_size(tally.bytes()).unwrap()]);
        tally.feed(&body);
        large.part(body, &Checkpoint::after(content, &tally).unwrap()).await.unwrap();
    }
    let bytes = tally.bytes();
    assert_eq!(large.commit(Bytes::from_static(b"\n"), &marks(bytes + 1)).await.unwrap(), Committed::Now);
    storage.store(place, "f/manifest.json", b"{}").await.unwrap();
}

fn edge(azurite: &stage::Azurite) -> BlobStorage {
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", azurite.key());
    lake::storage(&secrets, EntraSettings::default())
}

#[tokio::test]
async fn everything_is_written_in_the_scope_and_files_in_the_tier() {
    let answer = HttpReply::empty(201).header("ETag", "\"1\"");
    let account = Arc::new(Account { answer, seen: Mutex::default() });
    let socket = Socket::open(0, None, Arc::clone(&account)).await.unwrap();
    let endpoint = Url::parse(&format!("http://{}/acc", socket.address)).unwrap();
    let storage = edge(lake::azurite().await);
    let placed = server(&endpoint, &json!({ "encryptionScope": "research-key", "accessTier": "Cool" }));
    write(&storage, Target::new(&placed, "lake")).await;
    let seen = std::mem::take(&mut *account.seen.lock().unwrap());
    let written: Vec<_> = seen.iter().filter(|(what, _)| what.starts_with("PUT")).collect();
    let kinds: Vec<&str> = written.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        kinds,
        ["PUT", "PUT comp=block", "PUT comp=block", "PUT comp=block", "PUT comp=blocklist", "PUT"]
    );
    for (place, (what, headers)) in written.iter().enumerate() {
        assert_eq!(headers.get(SCOPE).map(String::as_str), Some("research-key"), "{what}");
        // A block has no tier, and the manifest is read whenever the files are.
        let tiered = place == 0 || what == "PUT comp=blocklist";
        assert_eq!(headers.get(TIER).map(String::as_str), tiered.then_some("Cool"), "{what}");
    }
    // The same account without a placement is another one, although its credentials are the same.
    write(&storage, Target::new(&server(&endpoint, &json!({})), "lake")).await;
    let seen = account.seen.lock().unwrap();
    assert!(seen.iter().all(|(_, headers)| !headers.contains_key(SCOPE) && !headers.contains_key(TIER)));
}

#[tokio::test]
async fn a_scope_that_the_account_refuses_is_told_with_the_next_step() {
    for (status, code, next) in [
        (
            403,
            "RequestForbiddenByContainerEncryptionPolicy",
            "the container or the SAS token requires another one; leave out storage.azureBlob.encryptionScope",
        ),
        (
            409,
            "EncryptionScopeNotFound",
            "create it in the account, or correct storage.azureBlob.encryptionScope",
        ),
    ] {
        let answer = HttpReply::empty(status).header("x-ms-error-code", code);
        let account = Arc::new(Account { answer, seen: Mutex::default() });
        let socket = Socket::open(0, None, account).await.unwrap();
        let endpoint = Url::parse(&format!("http://{}/acc", socket.address)).unwrap();
        let storage = edge(lake::azurite().await);
        let placed = server(&endpoint, &json!({ "encryptionScope": "research-key" }));
        let failure =
            storage.store(Target::new(&placed, "lake"), "f/manifest.json", b"{}").await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent);
        assert!(failure.message.contains(next) && failure.message.contains(code), "{}", failure.message);
    }
}

#[tokio::test]
async fn azurite_stores_files_in_the_tier() {
    let azurite = lake::azurite().await;
    let storage = edge(azurite);
    let placed = server(&azurite.endpoint().unwrap(), &json!({ "accessTier": "Cool" }));
    let place = Target::new(&placed, "tiers");
    storage.make_container(place).await.unwrap();
    write(&storage, place).await;
    let container = blobs::container(azurite, "tiers").await.unwrap();
    for (name, tier) in [("Patient-1.ndjson", "Cool"), ("Patient-2.ndjson", "Cool"), ("manifest.json", "Hot")]
    {
        let there = container.blob_client(&format!("f/{name}")).get_properties(None).await.unwrap();
        let header = there.headers().get_optional_str(&"x-ms-access-tier".into()).map(str::to_owned);
        assert_eq!(header.as_deref(), Some(tier), "{name}");
    }
}
