//! Files read with the caller's own credential, whole and from the middle, from an account and from a directory.

use std::sync::Arc;

use fhir_export_operator::api::FhirServer;
use fhir_export_operator::core::ledger::{StorageFailure, StorageFailureKind};
use fhir_export_operator::core::reach::Reach;
use fhir_export_operator::ports::Target;
use fhir_export_operator::storage::{
    BlobStorage, CallerCredential, EndpointFrom, FolderStorage, http_client,
};
use secrecy::SecretString;
use serde_json::json;

use crate::lake::{azurite, container, put, sas};

const CONTAINER: &str = "callers";
const KEY: &str = "f/Patient-1.ndjson";

enum Store {
    Account(BlobStorage),
    Directory(FolderStorage),
}

impl Store {
    async fn rest(&self, key: &str, from: u64) -> Result<Option<Vec<u8>>, StorageFailure> {
        let spec = json!({"url": "https://localhost", "dialect": "BulkData", "auth": {"type": "None"}});
        let nobody = Arc::new(FhirServer::new("nobody", serde_json::from_value(spec).unwrap()));
        let (target, mut read) = (Target::new(&nobody, CONTAINER), Vec::new());
        let mut take = |piece: &[u8]| read.extend_from_slice(piece);
        let found = match self {
            Self::Account(account) => account.read_rest(target, key, from, &mut take).await?,
            Self::Directory(directory) => directory.read_rest(target, key, from, &mut take).await?,
        };
        Ok(found.then_some(read))
    }
}

async fn account(permissions: &str) -> BlobStorage {
    let azurite = azurite().await;
    let sas = SecretString::from(sas(azurite.account(), azurite.key(), permissions));
    let endpoint = azurite.endpoint().unwrap().to_string();
    let http = http_client(&[], &Reach::default()).unwrap();
    BlobStorage::of_caller(&endpoint, EndpointFrom::Caller, CallerCredential::Sas(sas), http).unwrap()
}

#[tokio::test]
async fn a_file_is_read_on_where_it_was_left() {
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    put(&container(azurite().await, CONTAINER).await, KEY, &body).await;
    let folder = stage::Folder::new("callers").unwrap();
    std::fs::create_dir_all(folder.path().join(CONTAINER).join("f")).unwrap();
    std::fs::write(folder.path().join(CONTAINER).join(KEY), &body).unwrap();
    let size = body.len() as u64;
    for store in [Store::Account(account("rl").await), Store::Directory(FolderStorage::new(folder.path()))] {
        for from in [0, 1, 700_001, size - 1, size] {
            let rest = store.rest(KEY, from).await.unwrap().unwrap();
            assert!(rest == body[usize::try_from(from).unwrap()..], "from {from}: {} bytes", rest.len());
        }
        assert_eq!(store.rest("f/Patient-2.ndjson", 0).await.unwrap(), None);
        let beyond = store.rest(KEY, size + 1).await.unwrap_err();
        assert_eq!(beyond.kind, StorageFailureKind::Permanent, "{beyond:?}");
        assert!(beyond.message.contains("is shorter than it was"), "{beyond:?}");
    }
    let blind = Store::Account(account("w").await).rest(KEY, 0).await.unwrap_err();
    assert_eq!(blind.kind, StorageFailureKind::Denied, "{blind:?}");
}
