//! The storage port, implemented with Azure Blob Storage.

use std::sync::Arc;

use jiff::Timestamp;

use super::{BlobStorage, BlobUpload, delete, failure, landed, listing, store};
use crate::api::{Compression, FhirServer};
use crate::core::landing::{Checkpoint, Content};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use crate::ports::{ObjectStore, Target};

impl ObjectStore for BlobStorage {
    type Upload = BlobUpload;

    async fn probe(&self, server: &Arc<FhirServer>, container: Option<&str>) -> Result<(), StorageFailure> {
        self.with_account(server, |account| async move {
            match container {
                Some(container) => listing::one_blob(&account, container).await,
                None => listing::one_container(&account).await,
            }
        })
        .await
    }

    async fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let after = Timestamp::from_second(after.as_second()).unwrap_or(after);
        self.with_account(server, |account| async move {
            match container {
                Some(container) => self.folders_since(&account, container, after).await,
                None => self.containers_since(&account, after).await,
            }
        })
        .await
    }

    async fn count_files(
        &self,
        target: Target<'_>,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let counted = self
            .with_account(target.server, |account| async move {
                self.count(&account, target.container, job_id, began).await
            })
            .await;
        match counted {
            Err(failure) if failure.kind == StorageFailureKind::NotFound => Ok(Seen::default()),
            other => other,
        }
    }

    async fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        self.check(server, plan, read).await
    }

    async fn store(&self, target: Target<'_>, key: &str, body: &[u8]) -> Result<String, StorageFailure> {
        failure::check_key(key)?;
        self.with_account(target.server, |account| async move {
            store::store(&account, target.container, key, body).await
        })
        .await
    }

    async fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        self.with_account(target.server, |account| async move {
            store::read(&account, target.container, key, max).await
        })
        .await
    }

    async fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        self.whole(target, key, take).await
    }

    async fn ledger(&self, target: Target<'_>, folder: &str) -> Result<Ledger, StorageFailure> {
        self.with_account(target.server, |account| async move {
            landed::ledger(&account, target.container, &format!("{folder}/"), self.page).await
        })
        .await
    }

    async fn make_container(&self, target: Target<'_>) -> Result<(), StorageFailure> {
        self.with_account(target.server, |account| async move {
            landed::make_container(&account, target.container).await
        })
        .await
    }

    fn begin(&self, target: Target<'_>, key: &str, content: Content, compression: Compression) -> BlobUpload {
        BlobUpload::begin(self, target, key, content, compression)
    }

    async fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> Result<Option<(BlobUpload, Checkpoint)>, StorageFailure> {
        BlobUpload::resume(self, target, key, compression).await
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        self.with_account(server, |account| async move { delete::folder(&account, plan, self.page).await })
            .await
    }
}
