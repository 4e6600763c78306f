//! Lists blobs, folders and containers.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::response::ResponseBody;
use azure_core::http::{Context, Request};
use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, BlobServiceClientListContainersOptions, ListBlobsResponse,
    ListContainersResponse,
};
use futures::TryStreamExt;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::account::Account;
use super::signature::Right;
use crate::core::ledger::StorageFailure;

/// The number of names that one request asks for, which is the most that the service returns.
pub(super) const PAGE: i32 = 5000;

/// Calls `seen` with name and size of each blob whose name begins with `prefix`.
pub(super) async fn blobs(
    account: &Account,
    container: &str,
    prefix: &str,
    page: i32,
    mut seen: impl FnMut(String, u64),
) -> Result<(), StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?;
    let mut pages = client.list_blobs(Some(options(prefix, page))).map_err(failure)?.into_pages();
    while let Some(page) = pages.try_next().await.map_err(failure)? {
        for blob in read::<ListBlobsResponse>(&page.into_body()).map_err(failure)?.blob_items {
            let size = blob.properties.and_then(|properties| properties.content_length);
            if let (Some(name), Some(size)) = (blob.name, size) {
                seen(name, size);
            }
        }
    }
    Ok(())
}

/// Whether the container can be listed: asks for one name.
pub(super) async fn one_blob(account: &Account, container: &str) -> Result<(), StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?;
    let mut pages = client.list_blobs(Some(options("", 1))).map_err(failure)?.into_pages();
    match pages.try_next().await.map_err(failure)? {
        Some(page) => read::<ListBlobsResponse>(&page.into_body()).map_err(failure).map(|_| ()),
        None => Ok(()),
    }
}

/// The folders at the root of a container whose names begin with `prefix`, without their trailing slash.
pub(super) async fn folders(
    account: &Account,
    container: &str,
    prefix: &str,
    page: i32,
) -> Result<Vec<String>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container_with(container, Right::Read, vec![Arc::new(Delimited)])?;
    let mut pages = client.list_blobs(Some(options(prefix, page))).map_err(failure)?.into_pages();
    let mut folders = Vec::new();
    while let Some(page) = pages.try_next().await.map_err(failure)? {
        let page: FolderPage = read(&page.into_body()).map_err(failure)?;
        folders.extend(page.blobs.entries.into_iter().filter_map(Entry::folder));
    }
    Ok(folders)
}

/// The containers whose names begin with `prefix`, each with the time of its last change.
pub(super) async fn containers(
    account: &Account,
    prefix: &str,
    page: i32,
) -> Result<Vec<(String, Timestamp)>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, None, Right::Read);
    let options = BlobServiceClientListContainersOptions {
        prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        maxresults: Some(page),
        ..BlobServiceClientListContainersOptions::default()
    };
    let mut pages = account.service()?.list_containers(Some(options)).map_err(failure)?.into_pages();
    let mut containers = Vec::new();
    while let Some(page) = pages.try_next().await.map_err(failure)? {
        for container in read::<ListContainersResponse>(&page.into_body()).map_err(failure)?.container_items {
            let changed = container.properties.and_then(|properties| properties.last_modified);
            let changed = changed.and_then(|at| Timestamp::from_second(at.unix_timestamp()).ok());
            if let (Some(name), Some(changed)) = (container.name, changed) {
                containers.push((name, changed));
            }
        }
    }
    Ok(containers)
}

/// Whether the account's containers can be listed: asks for one.
pub(super) async fn one_container(account: &Account) -> Result<(), StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, None, Right::Read);
    let options = BlobServiceClientListContainersOptions {
        maxresults: Some(1),
        ..BlobServiceClientListContainersOptions::default()
    };
    let mut pages = account.service()?.list_containers(Some(options)).map_err(failure)?.into_pages();
    match pages.try_next().await.map_err(failure)? {
        Some(page) => read::<ListContainersResponse>(&page.into_body()).map_err(failure).map(|_| ()),
        None => Ok(()),
    }
}

/// Parses a page of a listing. The client takes any markup for an empty list, so the error page of a gateway
/// would mean that every file is missing: here it is an error.
pub(super) fn read<T: DeserializeOwned>(body: &ResponseBody) -> azure_core::Result<T> {
    let start = body.get(..body.len().min(512)).unwrap_or_default();
    if !String::from_utf8_lossy(start).contains("<EnumerationResults") {
        return Err(azure_core::Error::with_message(ErrorKind::DataConversion, "this is not a list"));
    }
    body.xml()
}

pub(super) fn options(prefix: &str, page: i32) -> BlobContainerClientListBlobsOptions<'static> {
    BlobContainerClientListBlobsOptions {
        prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        maxresults: Some(page),
        ..BlobContainerClientListBlobsOptions::default()
    }
}

/// Adds the delimiter to a list request. The client itself can only list all blobs, so this
/// module also parses the answer.
#[derive(Debug)]
struct Delimited;

#[async_trait]
impl Policy for Delimited {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((policy, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "the pipeline has no transport"));
        };
        request.url_mut().query_pairs_mut().append_pair("delimiter", "/");
        policy.send(ctx, request, rest).await
    }
}

#[derive(Deserialize)]
struct FolderPage {
    #[serde(rename = "Blobs", default)]
    blobs: Entries,
}

#[derive(Default, Deserialize)]
struct Entries {
    // Blobs and prefixes come interleaved, in the order of their names.
    #[serde(rename = "$value", default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
enum Entry {
    BlobPrefix {
        #[serde(rename = "Name")]
        name: Name,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

impl Entry {
    fn folder(self) -> Option<String> {
        let Self::BlobPrefix { name } = self else { return None };
        let text = if name.encoded {
            percent_decode_str(&name.text).decode_utf8().ok()?.into_owned()
        } else {
            name.text
        };
        text.strip_suffix('/').map(ToOwned::to_owned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn folders_among_blobs() {
        let folders = |xml: &str| -> Vec<String> {
            let page: FolderPage = read(&ResponseBody::from_bytes(xml.to_owned())).unwrap();
            page.blobs.entries.into_iter().filter_map(Entry::folder).collect()
        };
        let head = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="lake">"#;
        let mixed = format!(
            "{head}<Prefix>2026</Prefix><Delimiter>/</Delimiter><Blobs>\
             <BlobPrefix><Name>20261124T020000-1/</Name></BlobPrefix>\
             <Blob><Name>20261124T020000.txt</Name><Properties><Content-Length>3</Content-Length></Properties></Blob>\
             <BlobPrefix><Name>20261124T020000-2/</Name><Properties /></BlobPrefix>\
             <BlobPrefix><Name Encoded=\"true\">a%20b/</Name></BlobPrefix>\
             </Blobs><NextMarker /></EnumerationResults>"
        );
        assert_eq!(folders(&mixed), ["20261124T020000-1", "20261124T020000-2", "a b"]);
        assert_eq!(folders(&format!("{head}<Blobs /><NextMarker /></EnumerationResults>")), [""; 0]);
        assert_eq!(folders(&format!("{head}<NextMarker /></EnumerationResults>")), [""; 0]);
        let page = ResponseBody::from_bytes("<html><body>Sign in</body></html>");
        assert!(read::<FolderPage>(&page).is_err() && read::<ListBlobsResponse>(&page).is_err());
    }
}
