//! Deletes the folder of a run: only files that a run writes, only if it is the folder that the plan
//! means, and the manifest last.

use std::cmp::Reverse;
use std::sync::Arc;

use azure_core::http::Etag;
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions,
    BlobMetadata, DeleteSnapshotsOptionType, ListBlobsIncludeItem, ListBlobsResponse,
};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::account::Account;
use super::failure::{self, is_not_there};
use super::listing::{options, read};
use super::signature::Right;
use crate::core::folder;
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure};
use crate::core::manifest::hex;

/// How many files are deleted at the same time.
const PARALLEL: usize = 8;
/// The metadata key of a blob that represents a folder, in accounts with a hierarchical namespace.
const IS_FOLDER: &str = "hdi_isfolder";

/// What lies in a folder.
#[derive(Default)]
struct Content {
    /// Files of a run except its manifest, no more than the plan allows.
    files: Vec<String>,
    /// Whether there are more files than the plan allows.
    more: bool,
    /// Blobs that represent folders below.
    markers: Vec<String>,
    /// Files that no run writes.
    others: u64,
}

/// Deletes files of a run's folder, see [`ObjectStore::delete_folder`](crate::ports::ObjectStore::delete_folder).
pub(super) async fn folder(
    account: &Account,
    plan: &FolderPlan,
    page: i32,
) -> Result<FolderDeletion, StorageFailure> {
    // Whatever a status may say, only the folder of a run is deleted.
    if folder::parse(&plan.folder).is_none() || !folder::is_container(&plan.container) {
        return Err(StorageFailure::permanent(format!("{} is not the folder of a run", plan.folder)));
    }
    let path = format!("{}/{}", plan.folder, folder::MANIFEST);
    let manifest = manifest(account, &plan.container, &path).await?;
    let content = content(account, plan, page).await?;
    let found = manifest.as_ref().map(|(sha256, _)| sha256.as_str());
    if !plan.is_meant(found, !content.files.is_empty()) {
        return Ok(FolderDeletion::Changed);
    }
    let deleter = Deleter {
        account,
        container: &plan.container,
        client: account.container(&plan.container, Right::Delete)?,
    };
    let mut files = 0;
    let deletions = content.files.iter().map(|name| deleter.delete(name, None)).collect::<Vec<_>>();
    let mut going = stream::iter(deletions).buffer_unordered(PARALLEL);
    let mut failed = None;
    while let Some(result) = going.next().await {
        match result {
            Ok(was_there) => files += u64::from(was_there),
            Err(failure) => failed = Some(failure),
        }
    }
    drop(going);
    match failed {
        // The deleted files count; the next try will meet the failure again.
        Some(_) if files > 0 => return Ok(FolderDeletion::Going { files }),
        Some(failure) => return Err(failure),
        None if content.more => return Ok(FolderDeletion::Going { files }),
        None => {}
    }
    if content.others == 0 {
        for marker in &content.markers {
            deleter.delete_marker(marker).await?;
        }
    }
    if let Some((_, etag)) = manifest {
        files += u64::from(deleter.delete(&path, etag).await?);
    }
    if content.others == 0 {
        deleter.delete_if_marker(&plan.folder).await?;
    }
    Ok(FolderDeletion::Done { files, others: content.others })
}

/// The SHA-256 of a blob in hexadecimal, and its `ETag`; `None` if it does not exist.
async fn manifest(
    account: &Account,
    container: &str,
    path: &str,
) -> Result<Option<(String, Option<Etag>)>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?.blob_client(path);
    let there = match client.get_properties(None).await {
        Ok(there) => there,
        Err(error) if is_not_there(&error) => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    // The ETag from before the content is read: if the manifest changes meanwhile, it is not deleted.
    let etag = there.etag().map_err(failure)?;
    let mut hash = Sha256::new();
    if there.content_length().map_err(failure)?.unwrap_or_default() > 0 {
        let mut body = client.download(None).await.map_err(failure)?.body;
        while let Some(piece) = body.next().await {
            hash.update(piece.map_err(failure)?);
        }
    }
    Ok(Some((hex(&hash.finalize()), etag)))
}

/// Lists the content of a folder. The prefix ends with a slash, so that it matches no other folder.
async fn content(account: &Account, plan: &FolderPlan, page: i32) -> Result<Content, StorageFailure> {
    let container = plan.container.as_str();
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?;
    let prefix = format!("{}/", plan.folder);
    let options = BlobContainerClientListBlobsOptions {
        include: Some(vec![ListBlobsIncludeItem::Metadata]),
        ..options(&prefix, page)
    };
    let mut pages = client.list_blobs(Some(options)).map_err(failure)?.into_pages();
    let mut content = Content::default();
    while let Some(page) = pages.try_next().await.map_err(failure)? {
        for item in read::<ListBlobsResponse>(&page.into_body()).map_err(failure)?.blob_items {
            let Some(name) = item.name else { continue };
            // A name outside the prefix was not asked for, and is not deleted.
            let Some(below) = name.strip_prefix(&prefix) else { continue };
            if is_marker(item.metadata) {
                content.markers.push(name);
            } else if below == folder::MANIFEST {
                // The manifest goes last, by itself.
            } else if !folder::is_of_a_run(below) {
                content.others += 1;
            } else if content.files.len() < plan.at_most {
                content.files.push(name);
            } else {
                content.more = true;
            }
        }
    }
    // The deepest come first: a folder that is not empty cannot be deleted.
    content.markers.sort_by_key(|name| Reverse(name.matches('/').count()));
    Ok(content)
}

/// Deletes blobs of one container.
struct Deleter<'a> {
    account: &'a Account,
    container: &'a str,
    client: Arc<BlobContainerClient>,
}

impl Deleter<'_> {
    /// Deletes a blob with its snapshots, if it still has this version. Returns false if it was already gone.
    async fn delete(&self, name: &str, etag: Option<Etag>) -> Result<bool, StorageFailure> {
        let options = BlobClientDeleteOptions {
            delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
            if_match: etag,
            ..BlobClientDeleteOptions::default()
        };
        match self.client.blob_client(name).delete(Some(options)).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_there(&error) => Ok(false),
            Err(error) => Err(self.account.failure(&error, Some(self.container), Right::Delete)),
        }
    }

    /// Deletes a blob that represents a folder, unless the folder is no longer empty. Such a blob has no snapshots.
    async fn delete_marker(&self, name: &str) -> Result<(), StorageFailure> {
        match self.client.blob_client(name).delete(None).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_there(&error) || is_not_empty(&error) => Ok(()),
            Err(error) => Err(self.account.failure(&error, Some(self.container), Right::Delete)),
        }
    }

    /// Deletes the blob with this name if it represents a folder: a blob with the name of the folder may be anything.
    async fn delete_if_marker(&self, name: &str) -> Result<(), StorageFailure> {
        let prefix = name.to_owned();
        let failure =
            |error: azure_core::Error| self.account.failure(&error, Some(self.container), Right::Read);
        let client = self.account.container(self.container, Right::Read)?;
        let options = BlobContainerClientListBlobsOptions {
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            ..options(&prefix, 1)
        };
        // Names are listed in order, so a name that equals the prefix comes first.
        let mut pages = client.list_blobs(Some(options)).map_err(failure)?.into_pages();
        let Some(page) = pages.try_next().await.map_err(failure)? else { return Ok(()) };
        let first =
            read::<ListBlobsResponse>(&page.into_body()).map_err(failure)?.blob_items.into_iter().next();
        let Some(first) = first.filter(|item| item.name.as_deref() == Some(name)) else { return Ok(()) };
        let empty = first.properties.as_ref().is_none_or(|p| p.content_length.unwrap_or_default() == 0);
        if empty && is_marker(first.metadata) { self.delete_marker(name).await } else { Ok(()) }
    }
}

fn is_marker(metadata: Option<BlobMetadata>) -> bool {
    let values = metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    values
        .iter()
        .any(|(key, value)| key.eq_ignore_ascii_case(IS_FOLDER) && value.eq_ignore_ascii_case("true"))
}

fn is_not_empty(error: &azure_core::Error) -> bool {
    matches!(failure::code(error), Some("DirectoryIsNotEmpty" | "DirectoryNotEmpty"))
}
