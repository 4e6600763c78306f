//! What lies in the storage account, as the account itself tells: listed and read, believing neither the FHIR server nor the
//! operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use azure_core::http::{ClientOptions, Transport, Url};
use azure_fhir::Storage;
use azure_storage_blob::models::BlobContainerClientListBlobsOptions;
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use futures::TryStreamExt;

use crate::{Error, Result};

/// Old enough for every Azurite.
const API_VERSION: &str = "2021-12-02";

/// A container.
pub struct Lake(BlobContainerClient);

/// A blob that was read to its end.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its name without the folder.
    pub name: String,
    /// Its bytes.
    pub bytes: usize,
    /// Its lines.
    pub lines: usize,
    /// The resource types in it, as its lines say.
    pub types: BTreeMap<String, usize>,
}

impl Lake {
    /// The container of this name.
    pub fn open(storage: &Storage, container: &str) -> Result<Self> {
        let url = format!("{}/{container}?{}", storage.endpoint, storage.sas()?);
        let url = Url::parse(&url).map_err(|error| Error::Lake(error.to_string()))?;
        let transport =
            Transport::new(Arc::new(reqwest::Client::builder().no_gzip().no_deflate().no_proxy().build()?));
        let options = BlobContainerClientOptions {
            client_options: ClientOptions { transport: Some(transport), ..ClientOptions::default() },
            version: API_VERSION.to_owned(),
        };
        Ok(Self(BlobContainerClient::new(url, None, Some(options)).map_err(|error| told(&error))?))
    }

    /// The names of all blobs in a folder.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let options = BlobContainerClientListBlobsOptions { prefix: Some(prefix), ..Default::default() };
        let blobs: Vec<_> = self
            .0
            .list_blobs(Some(options))
            .map_err(|error| told(&error))?
            .try_collect()
            .await
            .map_err(|error| told(&error))?;
        Ok(blobs.into_iter().filter_map(|blob| blob.name).collect())
    }

    /// Reads a blob.
    pub async fn read(&self, name: &str) -> Result<Blob> {
        let answer = self.0.blob_client(name).download(None).await.map_err(|error| told(&error))?;
        let body = answer.body.collect().await.map_err(|error| told(&error))?;
        let mut blob = Blob {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            bytes: body.len(),
            lines: 0,
            types: BTreeMap::new(),
        };
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let resource: serde_json::Value = serde_json::from_slice(line)
                .map_err(|error| Error::Lake(format!("{name} holds a line that is no JSON: {error}")))?;
            let kind = resource.get("resourceType").and_then(serde_json::Value::as_str).unwrap_or("?");
            blob.lines += 1;
            *blob.types.entry(kind.to_owned()).or_default() += 1;
        }
        Ok(blob)
    }
}

fn told(error: &azure_core::Error) -> Error {
    let mut text = error.to_string();
    text.truncate(text.find('\n').unwrap_or(text.len()));
    Error::Lake(text)
}
