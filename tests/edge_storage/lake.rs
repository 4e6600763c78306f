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
    CacheTimes, CachedSource, CredentialProblem, CredentialSource, EntraSettings, Federated, Identities,
};
use fhir_export_operator::ports::Tenure;
use fhir_export_operator::storage::{
    BlobStorage, FolderStorage, S3Storage, StorageByType, StorageHosts, http_client, s3_client,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use stage::{Azurite, AzuriteOptions, S3_KEY, S3_KEY_ID, S3_REGION};
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

    async fn secret(&self, _: &str, name: &str) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        *self.reads.lock().unwrap() += 1;
        let values = self.values.lock().unwrap();
        let keys = values.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(name)?.strip_prefix('/')?.to_owned(), value.clone().into()))
        });
        Ok(keys.collect())
    }

    async fn config_map_key(&self, _: &str, _: &str, _: &str) -> Result<String, CredentialProblem> {
        unreachable!("storage reads no ConfigMap")
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        of: &Federated,
    ) -> Result<SecretString, CredentialProblem> {
        let token = format!("{namespace}/{name} for {} of {}", of.audience(), of.name());
        Ok(token.into())
    }
}

/// The storage edge over these Secrets. It remembers a Secret for an hour, so that a second read proves that the
/// operator forgot the first on purpose.
pub fn storage(secrets: &Arc<Secrets>, settings: EntraSettings) -> BlobStorage {
    storage_with(secrets, settings, StorageHosts::default())
}

/// Like [`storage`], with the hosts that may receive Entra tokens.
pub fn storage_with(secrets: &Arc<Secrets>, settings: EntraSettings, hosts: StorageHosts) -> BlobStorage {
    let client = http_client(&settings.extra_ca, &Reach::default()).unwrap();
    BlobStorage::new(identities(secrets, settings), client, hosts)
}

fn identities(secrets: &Arc<Secrets>, settings: EntraSettings) -> Arc<Identities> {
    let memory =
        CacheTimes { found: Duration::from_hours(1), missing: Duration::ZERO, spared: Duration::ZERO };
    let source = Arc::new(CachedSource::with_times(Arc::clone(secrets) as Arc<dyn CredentialSource>, memory));
    let http = settings.http_client().unwrap();
    Arc::new(Identities::with_source(source, settings, http))
}

/// The storage edge for S3 over these Secrets, which it remembers as [`storage`] does.
pub fn s3_storage(secrets: &Arc<Secrets>, settings: EntraSettings, hosts: StorageHosts) -> S3Storage {
    let client = s3_client(&settings.extra_ca, &Reach::default()).unwrap();
    S3Storage::new(Tenure::default(), identities(secrets, settings), client, hosts, Reach::default())
}

/// The Secret `s3` with the access key of the stores.
pub fn s3_secrets() -> Arc<Secrets> {
    let secrets = Arc::new(Secrets::default());
    secrets.set("s3/AWS_ACCESS_KEY_ID", S3_KEY_ID);
    secrets.set("s3/AWS_SECRET_ACCESS_KEY", S3_KEY);
    secrets
}

/// A server in this namespace, whose storage is an S3 store. `more` is merged into its settings, which name the access
/// key in the Secret `s3`.
pub fn s3_server(namespace: &str, endpoint: &str, more: &Value) -> Arc<FhirServer> {
    let auth = json!({ "type": "AccessKey", "secretRef": { "name": "s3" } });
    let mut s3 = json!({ "region": S3_REGION, "endpoint": endpoint, "auth": auth });
    s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let server = json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": { "name": "clinic", "namespace": namespace, "uid": "u3", "generation": 1 },
        "spec": {
            "url": "https://clinic.example.org/fhir", "dialect": "BulkData", "auth": { "type": "None" },
            "storage": { "type": "S3", "s3": s3 },
        },
    });
    Arc::new(serde_json::from_value(server).unwrap())
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
    let none = Arc::new(Secrets::default());
    let s3 = s3_storage(&none, EntraSettings::default(), StorageHosts::default());
    StorageByType::new(storage(&none, EntraSettings::default()), volumes, s3)
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
