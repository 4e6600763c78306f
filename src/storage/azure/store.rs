//! Stores and reads small files of the operator's own.

use std::num::NonZero;

use azure_core::http::RequestContent;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders, BlockBlobClientUploadOptions, HttpRange,
};
use futures::StreamExt;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::failure;
use super::signature::Right;
use crate::core::ledger::StorageFailure;
use crate::core::manifest::sha256_hex;

const CONTENT_TYPE: &str = "application/json";
/// The size in bytes of the blocks in which larger bodies are sent.
const BLOCK: u64 = 8 << 20;

/// Stores `body` at `path` unless a blob exists there. A blob with the same content is a success. Returns
/// the SHA-256 in hexadecimal.
pub(super) async fn store(
    account: &Account,
    container: &str,
    path: &str,
    body: &[u8],
) -> Result<String, StorageFailure> {
    let failure = |error: &azure_core::Error| account.failure(error, Some(container), Right::Create);
    let client = account.container(container, Right::Create)?.blob_client(path).block_blob_client();
    let options = BlockBlobClientUploadOptions {
        blob_content_type: Some(CONTENT_TYPE.to_owned()),
        parallel: NonZero::new(1),
        partition_size: NonZero::new(BLOCK),
        encryption_scope: account.placement().encryption_scope.clone(),
        ..BlockBlobClientUploadOptions::default()
    }
    .if_not_exists();
    let digest = sha256_hex(body);
    match client.upload(RequestContent::from(body.to_vec()), Some(options)).await {
        Ok(_) => Ok(digest),
        Err(error) if is_there_already(&error) => {
            if same_content(account, container, path, body).await? {
                return Ok(digest);
            }
            Err(StorageFailure::permanent(format!(
                "the file {path} in container {container} of the storage account {} is there already with other \
                 content, and is not overwritten: move it away",
                account.name()
            )))
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Whether an error says that a blob already exists. Azure's answer depends on the request and the permissions.
pub(super) fn is_there_already(error: &azure_core::Error) -> bool {
    matches!(
        failure::code(error),
        Some(
            "BlobAlreadyExists"
                | "ConditionNotMet"
                | "UnauthorizedBlobOverwrite"
                | "BlobImmutableDueToPolicy"
                | "BlobImmutableDueToLegalHold"
        )
    )
}

/// Reads a small blob whole; `None` if it does not exist.
pub(super) async fn read(
    account: &Account,
    container: &str,
    path: &str,
    max: usize,
) -> Result<Option<Vec<u8>>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Read);
    let client = account.container(container, Right::Read)?.blob_client(path);
    let size = match client.get_properties(None).await {
        Ok(there) => there.content_length().map_err(failure)?.unwrap_or_default(),
        Err(error) if failure::is_not_there(&error) => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    let size = usize::try_from(size).ok().filter(|size| *size <= max).ok_or_else(|| {
        StorageFailure::permanent(format!(
            "the file {path} in container {container} is larger than {max} bytes"
        ))
    })?;
    let mut content = Vec::with_capacity(size);
    if size > 0 {
        let options = BlobClientDownloadOptions {
            range: Some(HttpRange::new(0, size as u64)),
            partition_size: NonZero::new(size),
            parallel: NonZero::new(1),
            ..BlobClientDownloadOptions::default()
        };
        let mut body = client.download(Some(options)).await.map_err(failure)?.body;
        while let Some(piece) = body.next().await {
            content.extend_from_slice(&piece.map_err(failure)?);
        }
    }
    Ok(Some(content))
}

async fn same_content(
    account: &Account,
    container: &str,
    path: &str,
    body: &[u8],
) -> Result<bool, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Create);
    let client = account.container(container, Right::Create)?.blob_client(path);
    let there = client.get_properties(None).await.map_err(failure)?;
    if there.content_length().map_err(failure)? != Some(body.len() as u64) {
        return Ok(false);
    }
    if body.is_empty() {
        return Ok(true);
    }
    let options = BlobClientDownloadOptions {
        range: Some(HttpRange::new(0, body.len() as u64)),
        partition_size: NonZero::new(body.len()),
        parallel: NonZero::new(1),
        ..BlobClientDownloadOptions::default()
    };
    let mut there = client.download(Some(options)).await.map_err(failure)?.body;
    let mut hash = Sha256::new();
    while let Some(piece) = there.next().await {
        hash.update(piece.map_err(failure)?);
    }
    Ok(hash.finalize() == Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use azure_core::error::ErrorKind;
    use azure_core::http::StatusCode;

    use super::is_there_already;

    fn refusal(code: &str) -> azure_core::Error {
        ErrorKind::HttpResponse {
            status: StatusCode::Conflict,
            error_code: Some(code.to_owned()),
            raw_response: None,
        }
        .into_error()
    }

    #[test]
    fn a_blob_under_a_policy_or_a_legal_hold_is_there() {
        assert!(is_there_already(&refusal("BlobImmutableDueToPolicy")));
        assert!(is_there_already(&refusal("BlobImmutableDueToLegalHold")));
        assert!(!is_there_already(&refusal("LeaseIdMissing")));
    }
}
