//! The ledger of a landing: the blobs of its folder, with the marks in their metadata.

use std::collections::HashMap;

use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, ListBlobsIncludeItem, ListBlobsResponse,
};
use futures::TryStreamExt;

use super::account::Account;
use super::failure;
use super::listing::{options, read};
use super::signature::Right;
use crate::core::landing::{LedgerEntry, Marks};
use crate::core::ledger::{Ledger, StorageFailure};
use crate::storage::marks::{fields, read_marks};

/// What the names of the metadata begin with that hold the marks of a blob.
const PREFIX: &str = "fhirexport_";

/// Lists the blobs below a prefix, committed or only started.
pub(super) async fn ledger(
    account: &Account,
    container: &str,
    prefix: &str,
    page: i32,
) -> Result<Ledger, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?;
    let options = BlobContainerClientListBlobsOptions {
        include: Some(vec![ListBlobsIncludeItem::Metadata, ListBlobsIncludeItem::UncommittedBlobs]),
        ..options(prefix, page)
    };
    let mut pages = client.list_blobs(Some(options)).map_err(failure)?.into_pages();
    let mut ledger = Ledger::default();
    while let Some(page) = pages.try_next().await.map_err(failure)? {
        for item in read::<ListBlobsResponse>(&page.into_body()).map_err(failure)?.blob_items {
            let Some(blob) = item.name else { continue };
            // A blob that was only started has no ETag on Azure, but has one on Azurite; on both its length
            // is zero. If an empty blob of somebody else is taken for one, the commit finds that out.
            let committed = item
                .properties
                .as_ref()
                .is_some_and(|p| p.etag.is_some() && p.content_length.is_some_and(|length| length > 0));
            let values = item.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
            match marks(&values) {
                Some(marks) => ledger.landed.push(LedgerEntry { blob, marks: Some(marks) }),
                None if committed => ledger.landed.push(LedgerEntry { blob, marks: None }),
                None => ledger.begun.push(blob),
            }
        }
    }
    Ok(ledger)
}

/// Creates a container. One that exists is a success.
pub(super) async fn make_container(account: &Account, container: &str) -> Result<(), StorageFailure> {
    let client = account.container(container, Right::CreateContainer)?;
    match client.create(None).await {
        Ok(_) => Ok(()),
        Err(error) if failure::code(&error) == Some("ContainerAlreadyExists") => Ok(()),
        Err(error) => Err(account.failure(&error, Some(container), Right::CreateContainer)),
    }
}

/// The metadata that hold the marks of a blob.
pub(super) fn metadata(marks: &Marks) -> HashMap<String, String> {
    fields(marks).into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)).collect()
}

/// Parses the marks from metadata; `None` for a blob that no landing wrote.
fn marks(values: &HashMap<String, String>) -> Option<Marks> {
    // The service keeps the case of names, but not every emulator or proxy does.
    read_marks(|field| {
        let wanted = format!("{PREFIX}{field}");
        values.iter().find(|(name, _)| name.eq_ignore_ascii_case(&wanted)).map(|(_, value)| value.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::landing::{FileForm, Issues, Sum};

    #[test]
    fn marks_are_read_back() {
        let marks = Marks {
            source: "abc".into(),
            sum: Sum { bytes: 7, lines: 2, sha256: "def".into() },
            form: FileForm::Framed,
            issues: Issues { errors: 1, warnings: 2, information: 3 },
        };
        let values = metadata(&marks);
        assert_eq!(values["fhirexport_sha256"], "def");
        assert_eq!(super::marks(&values), Some(marks.clone()));
        let upper = values.iter().map(|(name, value)| (name.to_uppercase(), value.clone())).collect();
        assert_eq!(super::marks(&upper), Some(marks));
    }
}
