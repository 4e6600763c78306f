//! Files read with the caller's own credential, whole and from the middle, from an account and from a directory.

use std::sync::Arc;

use fhir_export_operator::api::FhirServer;
use fhir_export_operator::core::ledger::{StorageFailure, StorageFailureKind};
use fhir_export_operator::core::reach::Reach;
use fhir_export_operator::core::stored_manifest::Retrieved;
use fhir_export_operator::ports::Target;
use fhir_export_operator::storage::{
    BlobStorage, CallerCredential, EndpointFrom, FolderStorage, http_client,
};
use secrecy::SecretString;
use serde_json::json;
use test_server::{Answering, HttpReply, Served, Socket, WholeRequest};

use crate::lake::{azurite, container, put, sas};

const CONTAINER: &str = "callers";
const KEY: &str = "f/Patient-1.ndjson";
const COMPRESSED: &str = "f/Patient-1.ndjson.gz";

enum Store {
    Account(BlobStorage),
    Directory(FolderStorage),
}

impl Store {
    /// Reads a file after its first `from` bytes as it is stored, or decompressed if there is no `from`.
    async fn read(&self, key: &str, from: Option<u64>) -> Result<(Retrieved, Vec<u8>), StorageFailure> {
        let spec = json!({"url": "https://localhost", "dialect": "BulkData", "auth": {"type": "None"}});
        let nobody = Arc::new(FhirServer::new("nobody", serde_json::from_value(spec).unwrap()));
        let (target, mut read) = (Target::new(&nobody, CONTAINER), Vec::new());
        let mut take = |piece: &[u8]| read.extend_from_slice(piece);
        let retrieved = match (self, from) {
            (Self::Account(account), None) => account.read_whole(target, key, &mut take).await?,
            (Self::Account(account), Some(from)) => account.read_rest(target, key, from, &mut take).await?,
            (Self::Directory(directory), None) => directory.read_whole(target, key, &mut take).await?,
            (Self::Directory(directory), Some(from)) => {
                directory.read_rest(target, key, from, &mut take).await?
            }
        };
        Ok((retrieved, read))
    }
}

async fn account(permissions: &str) -> BlobStorage {
    let azurite = azurite().await;
    let sas = SecretString::from(sas(azurite.account(), azurite.key(), permissions));
    account_at(azurite.endpoint().unwrap().as_str(), sas)
}

fn account_at(endpoint: &str, sas: SecretString) -> BlobStorage {
    let http = http_client(&[], &Reach::default()).unwrap();
    BlobStorage::of_caller(endpoint, EndpointFrom::Caller, CallerCredential::Sas(sas), http).unwrap()
}

/// A stand-in for an account with one file of three bytes, which it lists and refuses to give.
struct Archive {
    code: &'static str,
}

impl Answering for Archive {
    async fn answer(&self, request: WholeRequest) -> Served {
        if !request.uri().query().unwrap_or_default().contains("comp=list") {
            return HttpReply::empty(409).header("x-ms-error-code", self.code).into();
        }
        let blob = format!(
            "<Blob><Name>{KEY}</Name><Properties><Content-Length>3</Content-Length></Properties></Blob>"
        );
        let listing = format!(
            "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>"
        );
        HttpReply::text(200, "application/xml", &listing).into()
    }
}

#[tokio::test]
async fn a_blob_in_the_archive_tier_is_to_be_rehydrated() {
    for code in ["BlobArchived", "BlobBeingRehydrated"] {
        let socket = Socket::open(0, None, Arc::new(Archive { code })).await.unwrap();
        let sas = SecretString::from(sas("acc", azurite().await.key(), "rl"));
        let account = account_at(&format!("http://{}/acc", socket.address), sas);
        for from in [None, Some(1)] {
            let account = Store::Account(account.clone());
            let failure = account.read(KEY, from).await.unwrap_err();
            assert_eq!(failure.kind, StorageFailureKind::Permanent, "it says nothing about the data");
            let next =
                "callers/f/Patient-1.ndjson is in the archive tier, where it cannot be read: rehydrate it by";
            assert!(failure.message.contains(next), "{code}: {}", failure.message);
        }
    }
}

#[tokio::test]
async fn a_file_is_read_on_where_it_was_left() {
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let container = container(azurite().await, CONTAINER).await;
    put(&container, KEY, &body).await;
    put(&container, COMPRESSED, b"no gzip").await;
    let folder = stage::Folder::new("callers").unwrap();
    std::fs::create_dir_all(folder.path().join(CONTAINER).join("f")).unwrap();
    std::fs::write(folder.path().join(CONTAINER).join(KEY), &body).unwrap();
    std::fs::write(folder.path().join(CONTAINER).join(COMPRESSED), "no gzip").unwrap();
    let size = body.len() as u64;
    for store in [Store::Account(account("rl").await), Store::Directory(FolderStorage::new(folder.path()))] {
        for from in [0, 1, 700_001, size - 1, size] {
            let (retrieved, rest) = store.read(KEY, Some(from)).await.unwrap();
            assert_eq!(retrieved, Retrieved::Whole);
            assert!(rest == body[usize::try_from(from).unwrap()..], "from {from}: {} bytes", rest.len());
        }
        assert!(store.read(KEY, None).await.unwrap() == (Retrieved::Whole, body.clone()));
        for from in [None, Some(0)] {
            assert_eq!(store.read("f/Patient-2.ndjson", from).await.unwrap().0, Retrieved::Missing);
        }
        for (key, from, why) in
            [(KEY, Some(size + 1), "is shorter than it was"), (COMPRESSED, None, "cannot be decompressed")]
        {
            let (retrieved, _) = store.read(key, from).await.unwrap();
            assert!(matches!(&retrieved, Retrieved::Damaged(said) if said.contains(why)), "{retrieved:?}");
        }
    }
    let blind = Store::Account(account("w").await).read(KEY, Some(0)).await.unwrap_err();
    assert_eq!(blind.kind, StorageFailureKind::Denied, "{blind:?}");
}
