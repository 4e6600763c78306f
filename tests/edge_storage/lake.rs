//! A storage account with containers for the tests, and `FhirServer`s that name it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_storage_blob::BlobContainerClient;
use fhir_export_operator::api::{FhirServer, KeyRef, Reason};
use fhir_export_operator::core::reach::Reach;
use fhir_export_operator::core::volume::{VolumeFolder, VolumeGrants};
use fhir_export_operator::credentials::{
    CacheTimes, CachedSource, CredentialProblem, CredentialSource, EntraSettings, Identities,
};
use fhir_export_operator::ports::Tenure;
use fhir_export_operator::storage::{BlobStorage, FolderStorage, StorageByType, StorageHosts, http_client};
use secrecy::SecretString;
use serde_json::{Value, json};
use stage::{Azurite, AzuriteOptions};
use tokio::sync::OnceCell;
use url::Url;

/// The Azurite that all tests of this program share, except those that stop it.
pub async fn azurite() -> &'static Azurite {
    static AZURITE: OnceCell<Azurite> = OnceCell::const_new();
    AZURITE.get_or_init(|| async { Azurite::start(AzuriteOptions::default()).await.unwrap() }).await
}

/// A SAS token for an account, signed independently of the code under test.
pub fn sas(account: &str, key: &str, permissions: &str) -> String {
    blobs::sas(account, key, permissions).unwrap()
}

/// Opens a container for a test to fill, and creates it if it does not exist.
pub async fn container(azurite: &Azurite, name: &str) -> BlobContainerClient {
    blobs::container(azurite, name).await.unwrap()
}

/// Like [`container`], with an HTTP client of the test's own.
pub async fn container_over(azurite: &Azurite, name: &str, http: reqwest::Client) -> BlobContainerClient {
    blobs::container_over(azurite, name, http).await.unwrap()
}

/// Writes a blob, and replaces an existing one.
pub async fn put(container: &BlobContainerClient, name: &str, body: &[u8]) {
    blobs::put(container, name, body).await.unwrap();
}

/// Secrets that the tests change.
#[derive(Default)]
pub struct Secrets {
    values: Mutex<BTreeMap<String, String>>,
    reads: Mutex<u32>,
}

impl Secrets {
    pub fn set(&self, name: &str, value: &str) {
        self.values.lock().unwrap().insert(name.into(), value.into());
    }

    pub fn reads(&self) -> u32 {
        *self.reads.lock().unwrap()
    }
}

#[async_trait]
impl CredentialSource for Secrets {
    async fn secret_key(&self, _: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem> {
        *self.reads.lock().unwrap() += 1;
        let missing = || {
            let message = format!("there is no Secret {}; create it", key.name);
            CredentialProblem::lasting(Reason::SecretNotFound, message)
        };
        self.values.lock().unwrap().get(&key.name).cloned().map(Into::into).ok_or_else(missing)
    }

    async fn secret(&self, _: &str, _: &str) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        unreachable!("storage reads single keys")
    }

    async fn config_map_key(&self, _: &str, _: &str, _: &str) -> Result<String, CredentialProblem> {
        unreachable!("storage reads no ConfigMap")
    }

    async fn service_account_token(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<SecretString, CredentialProblem> {
        unreachable!("no test federates")
    }
}

/// The storage edge over these Secrets. It remembers a Secret for an hour, so that a second read proves that the
/// operator forgot the first on purpose.
pub fn storage(secrets: &Arc<Secrets>, settings: EntraSettings) -> BlobStorage {
    storage_with(secrets, settings, StorageHosts::default())
}

/// Like [`storage`], with the hosts that may receive Entra tokens.
pub fn storage_with(secrets: &Arc<Secrets>, settings: EntraSettings, hosts: StorageHosts) -> BlobStorage {
    let memory =
        CacheTimes { found: Duration::from_hours(1), missing: Duration::ZERO, spared: Duration::ZERO };
    let source = Arc::new(CachedSource::with_times(Arc::clone(secrets) as Arc<dyn CredentialSource>, memory));
    let http = settings.http_client().unwrap();
    let client = http_client(&settings.extra_ca, &Reach::default()).unwrap();
    BlobStorage::new(Arc::new(Identities::with_source(source, settings, http)), client, hosts)
}

/// A server whose storage is at `endpoint`.
pub fn server(endpoint: &Url, auth: &Value) -> Arc<FhirServer> {
    let server = json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": { "name": "clinic", "namespace": "fhir", "uid": "u1", "generation": 1 },
        "spec": {
            "url": "https://clinic.fhir.azurehealthcareapis.com", "dialect": "Azure", "auth": { "type": "None" },
            "storage": { "type": "AzureBlob", "azureBlob": { "endpoint": endpoint.as_str(), "auth": auth } },
        },
    });
    Arc::new(serde_json::from_value(server).unwrap())
}

/// A server in this namespace, whose storage is a folder of a volume.
pub fn volume_server(namespace: &str, claim: &str, path: Option<&str>) -> Arc<FhirServer> {
    let server = json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": { "name": "clinic", "namespace": namespace, "uid": "u2", "generation": 1 },
        "spec": {
            "url": "https://clinic.example.org/fhir", "dialect": "BulkData", "auth": { "type": "None" },
            "storage": { "type": "Volume", "volume": { "claimName": claim, "path": path } },
        },
    });
    Arc::new(serde_json::from_value(server).unwrap())
}

/// The storage edge as the operator has it, with volumes in a directory. `grants` are namespaces and folders. Parts in
/// volumes are small, so that files have many.
pub fn by_type(volumes: &Path, grants: &[(&str, &str)]) -> StorageByType {
    by_type_within(Tenure::default(), volumes, grants)
}

/// Like [`by_type`], for a process that may write to volumes only during `tenure`.
pub fn by_type_within(tenure: Tenure, volumes: &Path, grants: &[(&str, &str)]) -> StorageByType {
    let grants = grants.iter().map(|(to, folder)| ((*to).to_owned(), VolumeFolder::parse(folder).unwrap()));
    let grants = VolumeGrants::new(grants).unwrap();
    let volumes = FolderStorage::of_volumes(tenure, volumes, grants).with_part_size(256);
    StorageByType::new(storage(&Arc::new(Secrets::default()), EntraSettings::default()), volumes)
}

/// Creates a directory that is used as a volume, although nothing is mounted there.
pub fn volume(volumes: &Path, claim: &str) -> PathBuf {
    let volume = volumes.join(claim);
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join(".fhir-export-volume"), b"").unwrap();
    volume
}

/// Authentication with the account's key, in the Secret `key`.
pub fn by_key() -> Value {
    json!({ "type": "AccountKey", "secretRef": { "name": "key", "key": "value" } })
}

/// Authentication with a SAS token, in the Secret `sas`.
pub fn by_sas() -> Value {
    json!({ "type": "SASToken", "secretRef": { "name": "sas", "key": "value" } })
}

/// The shared Azurite, the storage edge, and a server that uses the account's key.
pub async fn ready() -> (&'static Azurite, BlobStorage, Arc<FhirServer>) {
    let azurite = azurite().await;
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", azurite.key());
    let server = server(&azurite.endpoint().unwrap(), &by_key());
    (azurite, storage(&secrets, EntraSettings::default()), server)
}
