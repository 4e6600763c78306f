//! Blocks of a blob: laid down one by one, and made a blob of once.

use std::collections::HashMap;
use std::io::Write;

use azure_core::http::Body;
use azure_storage_blob::models::{BlockBlobClientCommitBlockListOptions, BlockListType, BlockLookupList};
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;

use super::account::Account;
use super::signature::Right;
use super::store::is_there_already;
use super::{failure, landed};
use crate::api::Compression;
use crate::core::landing::{BlockId, Marks};
use crate::core::ledger::StorageFailure;

/// The blocks of a blob that lie there uncommitted.
pub(super) async fn staged(
    account: &Account,
    container: &str,
    blob: &str,
) -> Result<Vec<BlockId>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Create);
    let client =
        account.container(container, Right::Create, Vec::new())?.blob_client(blob).block_blob_client();
    let list = match client.get_block_list(BlockListType::Uncommitted, None).await {
        Ok(list) => list.into_model().map_err(failure)?,
        Err(error) if failure::is_not_there(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failure(error)),
    };
    let blocks = list.uncommitted_blocks.unwrap_or_default();
    Ok(blocks.into_iter().filter_map(|block| block.name).map(BlockId).collect())
}

/// Each block is a gzip member of its own, so that it can be gone on after any of them; readers of gzip take several
/// for one file.
pub(super) async fn at_rest(body: Bytes, compression: Compression) -> Result<Bytes, StorageFailure> {
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => tokio::task::spawn_blocking(move || {
            let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 4), Level::default());
            gzip.write_all(&body).and_then(|()| gzip.finish()).map(Bytes::from)
        })
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| failure::transient("a block could not be compressed".to_owned())),
    }
}

/// Lays down one block.
pub(super) async fn stage(
    account: &Account,
    container: &str,
    blob: &str,
    id: &BlockId,
    body: Bytes,
) -> Result<(), StorageFailure> {
    let client =
        account.container(container, Right::Create, Vec::new())?.blob_client(blob).block_blob_client();
    let length = body.len() as u64;
    let staged = client.stage_block(&id.0, length, Body::from(body).into(), None).await;
    staged.map(|_| ()).map_err(|error| account.failure(&error, Some(container), Right::Create))
}

/// Makes a blob of these blocks; false if one is there already.
pub(super) async fn commit(
    account: &Account,
    container: &str,
    blob: &str,
    ids: &[BlockId],
    marks: &Marks,
    compression: Compression,
) -> Result<bool, StorageFailure> {
    let failure = |error: &azure_core::Error| account.failure(error, Some(container), Right::Create);
    let client =
        account.container(container, Right::Create, Vec::new())?.blob_client(blob).block_blob_client();
    let list = BlockLookupList {
        latest: Some(ids.iter().map(|id| id.0.clone()).collect()),
        ..BlockLookupList::default()
    };
    let metadata: HashMap<String, String> = landed::metadata(marks);
    let content_type = match compression {
        Compression::None => "application/fhir+ndjson",
        Compression::Gzip => "application/gzip",
    };
    let options = BlockBlobClientCommitBlockListOptions {
        blob_content_type: Some(content_type.to_owned()),
        metadata: Some(metadata),
        if_none_match: Some("*".into()),
        ..BlockBlobClientCommitBlockListOptions::default()
    };
    let list = list.try_into().map_err(|error: azure_core::Error| failure(&error))?;
    match client.commit_block_list(list, Some(options)).await {
        Ok(_) => Ok(true),
        Err(error) if is_there_already(&error) => Ok(false),
        Err(error) => Err(failure(&error)),
    }
}
