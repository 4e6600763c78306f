//! What lies in the storage account, as the account itself tells.

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

impl Lake {
    /// Makes a new container.
    pub async fn make(storage: &Storage, container: &str) -> Result<Self> {
        let url = format!("{}/{container}?{}", storage.endpoint, storage.sas()?);
        let url = Url::parse(&url).map_err(|error| Error::Lake(error.to_string()))?;
        let client = reqwest::Client::builder().no_gzip().no_deflate().no_proxy().build()?;
        let options = BlobContainerClientOptions {
            client_options: ClientOptions {
                transport: Some(Transport::new(Arc::new(client))),
                ..ClientOptions::default()
            },
            version: API_VERSION.to_owned(),
        };
        let client = BlobContainerClient::new(url, None, Some(options)).map_err(|error| told(&error))?;
        client.create(None).await.map_err(|error| told(&error))?;
        Ok(Self(client))
    }

    /// The lines of all resources in a folder; not those of its folders, which are about deleted resources and errors.
    pub async fn landed(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let mut lines = Vec::new();
        for name in self.list(&prefix).await? {
            let file = name.strip_prefix(&prefix).unwrap_or(&name);
            if !file.contains('/') && file.ends_with(".ndjson") {
                lines.extend(self.lines(&name).await?);
            }
        }
        Ok(lines)
    }

    /// What a run of a schedule brought: nothing without a folder.
    pub async fn run(&self, folder: Option<&str>) -> Result<replay::Run> {
        let Some(folder) = folder else { return Ok(replay::Run::default()) };
        let files = replay::folder(&self.0, folder).await;
        files
            .and_then(|files| replay::Run::of(&files))
            .map_err(|error| Error::Lake(format!("{folder}: {error}")))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let options =
            BlobContainerClientListBlobsOptions { prefix: Some(prefix.to_owned()), ..Default::default() };
        let blobs = self.0.list_blobs(Some(options)).map_err(|error| told(&error))?;
        let blobs: Vec<_> = blobs.try_collect().await.map_err(|error| told(&error))?;
        Ok(blobs.into_iter().filter_map(|blob| blob.name).collect())
    }

    async fn lines(&self, name: &str) -> Result<Vec<String>> {
        let answer = self.0.blob_client(name).download(None).await.map_err(|error| told(&error))?;
        let body = answer.body.collect().await.map_err(|error| told(&error))?;
        let text = str::from_utf8(&body).map_err(|error| Error::Lake(format!("{name}: {error}")))?;
        Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

fn told(error: &azure_core::Error) -> Error {
    let mut text = error.to_string();
    text.truncate(text.find('\n').unwrap_or(text.len()));
    Error::Lake(text)
}
