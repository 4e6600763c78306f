//! Uploads: blocks, several of which are sent at a time, and one commit; or one request for a file that fits into one.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;

use azure_core::http::Body;
use azure_storage_blob::models::{
    BlockBlobClientCommitBlockListOptions, BlockBlobClientStageBlockOptions, BlockBlobClientUploadOptions,
    BlockListType, BlockLookupList,
};
use bytes::Bytes;

use super::account::Account;
use super::block::{BlockId, Cut, Row, chain};
use super::in_flight::InFlight;
use super::signature::Right;
use super::store::is_there_already;
use super::{BlobStorage, failure, landed};
use crate::api::{Compression, FhirServer};
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::StorageFailure;
use crate::ports::{Committed, Target, Upload};
use crate::storage::at_rest;

/// The longest body, in bytes, that one Put Blob stores. Larger than any block.
pub(super) const ONE_REQUEST: u64 = 8 << 20;

/// An upload of one blob.
pub struct BlobUpload {
    storage: BlobStorage,
    server: Arc<FhirServer>,
    container: String,
    blob: String,
    content: Content,
    compression: Compression,
    cut: Cut,
    /// The ids of all blocks, those on their way included.
    ids: Vec<BlockId>,
    in_flight: InFlight,
}

impl BlobUpload {
    /// An upload from the first byte.
    pub(super) fn begin(
        storage: &BlobStorage,
        target: Target<'_>,
        blob: &str,
        content: Content,
        compression: Compression,
    ) -> Self {
        Self {
            storage: storage.clone(),
            server: Arc::clone(target.server),
            container: target.container.to_owned(),
            blob: blob.to_owned(),
            content,
            compression,
            cut: Cut::Evenly,
            ids: Vec::new(),
            in_flight: InFlight::after(0),
        }
    }

    /// Continues after the uncommitted blocks of a blob, if an upload can be continued from them.
    pub(super) async fn resume(
        storage: &BlobStorage,
        target: Target<'_>,
        blob: &str,
        compression: Compression,
    ) -> Result<Option<(Self, Checkpoint)>, StorageFailure> {
        let ids = storage
            .with_account(target.server, |account| async move {
                uncommitted(&account, target.container, blob).await
            })
            .await?;
        Ok(chain(ids).map(|Row { cut, ids, checkpoint }| {
            let begun = Self::begin(storage, target, blob, checkpoint.content(), compression);
            let in_flight = InFlight::after(count(&ids));
            (Self { cut, ids, in_flight, ..begun }, checkpoint)
        }))
    }

    /// Sends a block, whose bytes are compressed on the way if the blob is compressed.
    fn send(&mut self, id: BlockId, body: Bytes, compression: Compression) {
        let (storage, server) = (self.storage.clone(), Arc::clone(&self.server));
        let (container, blob, block) = (self.container.clone(), self.blob.clone(), id.clone());
        self.in_flight.send(count(&self.ids), async move {
            let stored = at_rest::pack(body, compression).await?;
            let (container, blob, block) = (&container, &blob, &block);
            storage
                .with_account(&server, |account| {
                    let stored = stored.clone();
                    async move { stage(&account, container, blob, block, stored).await }
                })
                .await
        });
        self.ids.push(id);
    }

    fn content_type(&self) -> &'static str {
        match self.compression {
            Compression::None => "application/fhir+ndjson",
            Compression::Gzip => "application/gzip",
        }
    }
}

impl Upload for BlobUpload {
    fn part_size(&self, offset: u64) -> Option<usize> {
        self.cut.part_size(offset)
    }

    async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        let next = BlockId::new(self.cut, count(&self.ids), after);
        let id = next.filter(|_| after.content() == self.content).ok_or_else(|| {
            StorageFailure::permanent(format!("a part of {} is not the next one of its upload", self.blob))
        })?;
        failure::check_key(&self.blob)?;
        self.in_flight.take_in()?;
        self.send(id, body, self.compression);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        self.in_flight.settle().await
    }

    fn stored(&self) -> u64 {
        self.cut.offset_of(self.in_flight.stored())
    }

    async fn commit(mut self, last: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        failure::check_key(&self.blob)?;
        let stored = at_rest::pack(last, self.compression).await?;
        if self.ids.is_empty() {
            let upload = &self;
            return self
                .storage
                .with_account(&self.server, |account| {
                    let stored = stored.clone();
                    async move { put(&account, upload, stored, marks).await }
                })
                .await;
        }
        if !stored.is_empty() {
            let id = BlockId::last(self.content, count(&self.ids), &stored);
            self.send(id, stored, Compression::None);
        }
        self.settle().await?;
        let upload = &self;
        self.storage
            .with_account(&self.server, |account| async move { commit(&account, upload, marks).await })
            .await
    }
}

/// The number of blocks, which is the index of the next one.
fn count(ids: &[BlockId]) -> u32 {
    u32::try_from(ids.len()).unwrap_or(u32::MAX)
}

/// Lists the uncommitted blocks of a blob.
async fn uncommitted(account: &Account, container: &str, blob: &str) -> Result<Vec<BlockId>, StorageFailure> {
    let failure = |error: azure_core::Error| account.failure(&error, Some(container), Right::Create);
    let client = account.container(container, Right::Create)?.blob_client(blob).block_blob_client();
    let list = match client.get_block_list(BlockListType::Uncommitted, None).await {
        Ok(list) => list.into_model().map_err(failure)?,
        Err(error) if failure::is_not_there(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failure(error)),
    };
    let blocks = list.uncommitted_blocks.unwrap_or_default();
    Ok(blocks.into_iter().filter_map(|block| block.name).map(BlockId).collect())
}

/// Sends one block.
async fn stage(
    account: &Account,
    container: &str,
    blob: &str,
    id: &BlockId,
    body: Bytes,
) -> Result<(), StorageFailure> {
    let client = account.container(container, Right::Create)?.blob_client(blob).block_blob_client();
    let length = body.len() as u64;
    let options = BlockBlobClientStageBlockOptions {
        encryption_scope: account.placement().encryption_scope.clone(),
        ..BlockBlobClientStageBlockOptions::default()
    };
    let staged = client.stage_block(&id.0, length, Body::from(body).into(), Some(options)).await;
    staged.map(|_| ()).map_err(|error| account.failure(&error, Some(container), Right::Create))
}

/// Stores a whole blob with one request, unless one exists.
async fn put(
    account: &Account,
    upload: &BlobUpload,
    body: Bytes,
    marks: &Marks,
) -> Result<Committed, StorageFailure> {
    let container = account.container(&upload.container, Right::Create)?;
    let client = container.blob_client(&upload.blob).block_blob_client();
    let options = BlockBlobClientUploadOptions {
        blob_content_type: Some(upload.content_type().to_owned()),
        metadata: Some(landed::metadata(marks)),
        parallel: NonZero::new(1),
        partition_size: NonZero::new(ONE_REQUEST),
        encryption_scope: account.placement().encryption_scope.clone(),
        tier: account.placement().tier(),
        ..BlockBlobClientUploadOptions::default()
    }
    .if_not_exists();
    committed(account, upload, client.upload(Body::from(body).into(), Some(options)).await.map(|_| ()))
}

/// Creates a blob from the blocks of an upload, unless one exists.
async fn commit(account: &Account, upload: &BlobUpload, marks: &Marks) -> Result<Committed, StorageFailure> {
    let container = account.container(&upload.container, Right::Create)?;
    let client = container.blob_client(&upload.blob).block_blob_client();
    let list = BlockLookupList {
        latest: Some(upload.ids.iter().map(|id| id.0.clone()).collect()),
        ..BlockLookupList::default()
    };
    let metadata: HashMap<String, String> = landed::metadata(marks);
    let options = BlockBlobClientCommitBlockListOptions {
        blob_content_type: Some(upload.content_type().to_owned()),
        metadata: Some(metadata),
        if_none_match: Some("*".into()),
        encryption_scope: account.placement().encryption_scope.clone(),
        tier: account.placement().tier(),
        ..BlockBlobClientCommitBlockListOptions::default()
    };
    let list = list.try_into().map_err(|error: azure_core::Error| {
        account.failure(&error, Some(&upload.container), Right::Create)
    })?;
    committed(account, upload, client.commit_block_list(list, Some(options)).await.map(|_| ()))
}

fn committed(
    account: &Account,
    upload: &BlobUpload,
    result: azure_core::Result<()>,
) -> Result<Committed, StorageFailure> {
    match result {
        Ok(()) => Ok(Committed::Now),
        Err(error) if is_there_already(&error) => Ok(Committed::AlreadyThere),
        Err(error) => Err(account.failure(&error, Some(&upload.container), Right::Create)),
    }
}
