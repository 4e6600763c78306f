//! The folder of a run in a container.

use std::collections::BTreeMap;

use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::BlobContainerClientListBlobsOptions;
use futures::TryStreamExt;

use crate::Error;

/// All blobs of a run's folder, by their names in it.
pub async fn folder(
    container: &BlobContainerClient,
    folder: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let prefix = format!("{}/", folder.trim_end_matches('/'));
    let options = BlobContainerClientListBlobsOptions { prefix: Some(prefix.clone()), ..Default::default() };
    let listed = container.list_blobs(Some(options)).map_err(|error| told(&error))?;
    let listed: Vec<_> = listed.try_collect().await.map_err(|error| told(&error))?;
    let mut files = BTreeMap::new();
    for name in listed.into_iter().filter_map(|blob| blob.name) {
        let blob = container.blob_client(&name).download(None).await.map_err(|error| told(&error))?;
        let pieces: Vec<_> = blob.body.try_collect().await.map_err(|error| told(&error))?;
        let inside = name.strip_prefix(&prefix).unwrap_or(&name);
        files.insert(inside.to_owned(), pieces.concat());
    }
    Ok(files)
}

fn told(error: &dyn std::fmt::Display) -> Error {
    let mut text = error.to_string();
    text.truncate(text.find('\n').unwrap_or(text.len()));
    Error::Storage(text)
}
