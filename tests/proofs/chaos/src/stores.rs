//! The stores that files land in: a storage account, an S3 store and a volume, side by side. The operator reaches the first
//! two through relays, so that their outages concern only it.

use std::path::{Path, PathBuf};

use azure_fhir::Storage;
use blobs::s3::Bucket;
use fhir_export_operator::core::manifest::sha256_hex;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use stage::{Azurite, AzuriteOptions, Folder, Manner, Relay, S3_KEY, S3_KEY_ID, S3_REGION, S3Kind, S3Server};

use crate::plan::{DOOMED, NAMESPACE, Site};
use crate::record::{Blob, Store};
use crate::{Error, Result};

/// How many objects are read at once.
const AT_ONCE: usize = 8;
/// The bucket in which each container is a folder.
const BUCKET: &str = "chaos-lake";
/// The claim of the volume.
const CLAIM: &str = "lake";

/// The kind of the store of a site.
fn kind(site: Site) -> Store {
    match site {
        // The servers of Azure's dialect write into the account themselves.
        Site::Azure | Site::Entra | Site::Bulk => Store::Account,
        Site::Smart => Store::Bucket,
        Site::Hapi => Store::Volume,
    }
}

/// The stores, with their relays.
#[derive(Debug)]
pub struct Stores {
    azurite: Azurite,
    s3: S3Server,
    bucket: Bucket,
    volumes: Folder,
    account: Storage,
    to_account: Relay,
    to_bucket: Relay,
}

impl Stores {
    /// Starts all stores.
    pub async fn start() -> Result<Self> {
        let (azurite, s3) =
            tokio::try_join!(Azurite::start(AzuriteOptions::default()), S3Server::start(S3Kind::Versity))?;
        let mut endpoint = azurite.endpoint()?;
        let mut account = Storage::new(endpoint.as_str(), azurite.account(), azurite.key());
        let to_account = Relay::start(endpoint.port().unwrap_or_default()).await?;
        // The servers write to the account directly.
        let _ = endpoint.set_port(Some(to_account.port()));
        account.named = Some(endpoint.as_str().trim_end_matches('/').to_owned());
        let to_bucket = Relay::start(s3.endpoint()?.port().unwrap_or_default()).await?;
        let bucket = Bucket::open(&s3, BUCKET)?;
        bucket.create().await?;
        let volumes = Folder::new("chaos-volumes")?;
        let volume = volumes.path().join(CLAIM);
        std::fs::create_dir(&volume)?;
        // It stands for a mounted volume.
        std::fs::write(volume.join(".fhir-export-volume"), b"")?;
        Ok(Self { azurite, s3, bucket, volumes, account, to_account, to_bucket })
    }

    /// The storage account, as the servers of Azure's dialect write to it.
    pub fn account(&self) -> &Storage {
        &self.account
    }

    /// Sets how the relays treat connections of the operator.
    pub fn set(&self, manner: Manner) {
        self.to_account.set(manner);
        self.to_bucket.set(manner);
    }

    /// The flags that the operator needs to use the volume.
    pub fn flags(&self) -> [String; 2] {
        let grants = [NAMESPACE, DOOMED].map(|namespace| format!("{namespace}={CLAIM}/{namespace}"));
        [
            format!("--volumes={}", self.volumes.path().display()),
            format!("--volume-grants={}", grants.join(",")),
        ]
    }

    /// The Secrets of a namespace, by name.
    pub fn secrets(&self) -> [(&'static str, Value); 2] {
        let key = json!({ "AWS_ACCESS_KEY_ID": S3_KEY_ID, "AWS_SECRET_ACCESS_KEY": S3_KEY });
        [("storage", json!({ "key": self.account.key })), ("s3", key)]
    }

    /// The values in the Secrets.
    pub fn secret_words(&self) -> [String; 2] {
        [self.account.key.clone(), S3_KEY.to_owned()]
    }

    /// The storage of a site's FhirServer in a namespace.
    pub fn spec(&self, site: Site, namespace: &str) -> Value {
        match kind(site) {
            Store::Account => json!({ "type": "AzureBlob", "azureBlob": { "endpoint": self.account.named,
                "auth": { "type": "AccountKey", "secretRef": { "name": "storage", "key": "key" } } } }),
            Store::Bucket => {
                let endpoint = format!("http://127.0.0.1:{}", self.to_bucket.port());
                json!({ "type": "S3", "s3": { "bucket": BUCKET, "region": S3_REGION, "endpoint": endpoint,
                    "auth": { "type": "AccessKey", "secretRef": { "name": "s3" } } } })
            }
            Store::Volume => json!({ "type": "Volume", "volume": { "claimName": CLAIM, "path": namespace } }),
        }
    }

    /// Every visible object in the containers of all sites, as the stores themselves list them.
    pub async fn objects(&self) -> Result<Vec<Blob>> {
        let mut objects = Vec::new();
        for site in Site::ALL {
            for container in site.containers() {
                objects.extend(match kind(site) {
                    Store::Account => self.of_account(&container).await?,
                    Store::Bucket => self.of_bucket(&container).await?,
                    Store::Volume => self.of_volume(&container)?,
                });
            }
        }
        Ok(objects)
    }

    /// Every blob of a container. Empty if the container was never created.
    async fn of_account(&self, container: &str) -> Result<Vec<Blob>> {
        let Storage { endpoint, account, key, .. } = &self.account;
        let client = blobs::open(endpoint, account, key, container)?;
        if !client.exists().await.map_err(blobs::Error::from)? {
            return Ok(Vec::new());
        }
        stream::iter(blobs::names(&client, "").await?)
            .map(|name| {
                let client = &client;
                async move {
                    Ok::<_, Error>(blob(Store::Account, container, &name, &blobs::read(client, &name).await?))
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn of_bucket(&self, container: &str) -> Result<Vec<Blob>> {
        let prefix = format!("{container}/");
        let mut found = Vec::new();
        for key in self.bucket.keys(&prefix).await? {
            let Some(name) = key.strip_prefix(&prefix).filter(|name| is_visible(name)) else { continue };
            found.push(blob(Store::Bucket, container, name, &self.bucket.read(&key).await?));
        }
        Ok(found)
    }

    fn of_volume(&self, container: &str) -> Result<Vec<Blob>> {
        let mut found = Vec::new();
        for namespace in [NAMESPACE, DOOMED] {
            let root = self.volumes.path().join(CLAIM).join(namespace).join(container);
            for path in files_below(&root)? {
                let below = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                if is_visible(&below) {
                    found.push(blob(Store::Volume, container, &below, &std::fs::read(&path)?));
                }
            }
        }
        Ok(found)
    }

    /// Ends all stores.
    pub async fn stop(mut self) -> Result<()> {
        self.s3.stop().await?;
        self.azurite.stop().await?;
        Ok(())
    }
}

fn blob(store: Store, container: &str, name: &str, body: &[u8]) -> Blob {
    Blob { store, container: container.to_owned(), name: name.to_owned(), sha256: sha256_hex(body) }
}

/// Whether an object is one for readers, and not one in which the operator keeps checkpoints and marks.
fn is_visible(name: &str) -> bool {
    !name.split('/').any(|part| part.starts_with('.'))
}

/// All files below a directory. Empty if there is no such directory.
fn files_below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { left.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    Ok(files)
}
