//! The store of each `FhirServer`, by its `storage.type`.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::azure::{BlobStorage, BlobUpload};
use super::folder::{FolderStorage, FolderUpload};
use super::s3::{S3Storage, S3Upload};
use crate::api::{Compression, FhirServer, StorageType};
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, VerifyPlan,
};
use crate::ports::{Committed, ObjectStore, Target, Upload};

/// The stores of all types. Each operation goes to the store of the type that the `FhirServer` names.
#[derive(Clone)]
pub struct StorageByType {
    blobs: BlobStorage,
    volumes: FolderStorage,
    s3: S3Storage,
}

impl StorageByType {
    /// Uses `blobs` for type `AzureBlob`, `volumes` for type `Volume` and `s3` for type `S3`.
    pub fn new(blobs: BlobStorage, volumes: FolderStorage, s3: S3Storage) -> Self {
        Self { blobs, volumes, s3 }
    }
}

/// The type of a server's storage. The store of blobs answers for a server without storage, too: it says that none is
/// configured.
fn type_of(server: &FhirServer) -> StorageType {
    server.spec.storage.as_ref().map_or(StorageType::AzureBlob, |storage| storage.type_)
}

/// An upload into a store of any type.
pub enum UploadByType {
    /// An upload into a storage account.
    AzureBlob(BlobUpload),
    /// An upload into a folder of a volume.
    Volume(FolderUpload),
    /// An upload into an S3 store.
    S3(S3Upload),
}

impl Upload for UploadByType {
    fn part_size(&self, offset: u64) -> Option<usize> {
        match self {
            Self::AzureBlob(upload) => upload.part_size(offset),
            Self::Volume(upload) => upload.part_size(offset),
            Self::S3(upload) => upload.part_size(offset),
        }
    }

    async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        match self {
            Self::AzureBlob(upload) => upload.part(body, after).await,
            Self::Volume(upload) => upload.part(body, after).await,
            Self::S3(upload) => upload.part(body, after).await,
        }
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        match self {
            Self::AzureBlob(upload) => upload.settle().await,
            Self::Volume(upload) => upload.settle().await,
            Self::S3(upload) => upload.settle().await,
        }
    }

    fn stored(&self) -> u64 {
        match self {
            Self::AzureBlob(upload) => upload.stored(),
            Self::Volume(upload) => upload.stored(),
            Self::S3(upload) => upload.stored(),
        }
    }

    async fn commit(self, last: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        match self {
            Self::AzureBlob(upload) => upload.commit(last, marks).await,
            Self::Volume(upload) => upload.commit(last, marks).await,
            Self::S3(upload) => upload.commit(last, marks).await,
        }
    }
}

impl ObjectStore for StorageByType {
    type Upload = UploadByType;

    async fn probe(&self, server: &Arc<FhirServer>, container: Option<&str>) -> Result<(), StorageFailure> {
        match type_of(server) {
            StorageType::AzureBlob => self.blobs.probe(server, container).await,
            StorageType::Volume => self.volumes.probe(server, container).await,
            StorageType::S3 => self.s3.probe(server, container).await,
        }
    }

    async fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        match type_of(server) {
            StorageType::AzureBlob => self.blobs.find_jobs(server, container, after).await,
            StorageType::Volume => self.volumes.find_jobs(server, container, after).await,
            StorageType::S3 => self.s3.find_jobs(server, container, after).await,
        }
    }

    async fn count_files(
        &self,
        target: Target<'_>,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.count_files(target, job_id, began).await,
            StorageType::Volume => self.volumes.count_files(target, job_id, began).await,
            StorageType::S3 => self.s3.count_files(target, job_id, began).await,
        }
    }

    async fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        match type_of(server) {
            StorageType::AzureBlob => self.blobs.verify(server, plan, read).await,
            StorageType::Volume => self.volumes.verify(server, plan, read).await,
            StorageType::S3 => self.s3.verify(server, plan, read).await,
        }
    }

    async fn store(&self, target: Target<'_>, key: &str, body: &[u8]) -> Result<String, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.store(target, key, body).await,
            StorageType::Volume => self.volumes.store(target, key, body).await,
            StorageType::S3 => self.s3.store(target, key, body).await,
        }
    }

    async fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.read(target, key, max).await,
            StorageType::Volume => self.volumes.read(target, key, max).await,
            StorageType::S3 => self.s3.read(target, key, max).await,
        }
    }

    async fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.read_through(target, key, take).await,
            StorageType::Volume => self.volumes.read_through(target, key, take).await,
            StorageType::S3 => self.s3.read_through(target, key, take).await,
        }
    }

    async fn ledger(&self, target: Target<'_>, folder: &str) -> Result<Ledger, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.ledger(target, folder).await,
            StorageType::Volume => self.volumes.ledger(target, folder).await,
            StorageType::S3 => self.s3.ledger(target, folder).await,
        }
    }

    async fn marks(
        &self,
        target: Target<'_>,
        folder: &str,
        key: &str,
    ) -> Result<Option<Marks>, StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.marks(target, folder, key).await,
            StorageType::Volume => self.volumes.marks(target, folder, key).await,
            StorageType::S3 => self.s3.marks(target, folder, key).await,
        }
    }

    async fn make_container(&self, target: Target<'_>) -> Result<(), StorageFailure> {
        match type_of(target.server) {
            StorageType::AzureBlob => self.blobs.make_container(target).await,
            StorageType::Volume => self.volumes.make_container(target).await,
            StorageType::S3 => self.s3.make_container(target).await,
        }
    }

    fn begin(
        &self,
        target: Target<'_>,
        key: &str,
        content: Content,
        compression: Compression,
    ) -> UploadByType {
        match type_of(target.server) {
            StorageType::AzureBlob => {
                UploadByType::AzureBlob(self.blobs.begin(target, key, content, compression))
            }
            StorageType::Volume => {
                UploadByType::Volume(self.volumes.begin(target, key, content, compression))
            }
            StorageType::S3 => UploadByType::S3(self.s3.begin(target, key, content, compression)),
        }
    }

    async fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> Result<Option<(UploadByType, Checkpoint)>, StorageFailure> {
        Ok(match type_of(target.server) {
            StorageType::AzureBlob => {
                let resumed = self.blobs.resume(target, key, compression).await?;
                resumed.map(|(upload, after)| (UploadByType::AzureBlob(upload), after))
            }
            StorageType::Volume => {
                let resumed = self.volumes.resume(target, key, compression).await?;
                resumed.map(|(upload, after)| (UploadByType::Volume(upload), after))
            }
            StorageType::S3 => {
                let resumed = self.s3.resume(target, key, compression).await?;
                resumed.map(|(upload, after)| (UploadByType::S3(upload), after))
            }
        })
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        match type_of(server) {
            StorageType::AzureBlob => self.blobs.delete_folder(server, plan).await,
            StorageType::Volume => self.volumes.delete_folder(server, plan).await,
            StorageType::S3 => self.s3.delete_folder(server, plan).await,
        }
    }
}
