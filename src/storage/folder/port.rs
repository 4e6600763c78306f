//! The storage port, implemented with folders of the file system.

use std::sync::Arc;

use jiff::Timestamp;

use super::blocking::blocking;
use super::open::Object;
use super::place::container_name;
use super::{FolderStorage, FolderUpload, failure};
use crate::api::{Compression, FhirServer};
use crate::core::landing::{Checkpoint, Content};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use crate::ports::{ObjectStore, Target};

impl FolderStorage {
    pub(super) fn object(&self, target: Target<'_>, key: &str) -> Object {
        Object {
            storage: self.of(target.server),
            container: target.container.to_owned(),
            key: key.to_owned(),
        }
    }
}

impl ObjectStore for FolderStorage {
    type Upload = FolderUpload;

    async fn probe(&self, server: &Arc<FhirServer>, container: Option<&str>) -> Result<(), StorageFailure> {
        let (storage, container) = (self.of(server), container.map(str::to_owned));
        blocking(move || storage.look(container.as_deref())).await
    }

    async fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let after = Timestamp::from_second(after.as_second()).unwrap_or(after);
        let (storage, container) = (self.of(server), container.map(str::to_owned));
        blocking(move || storage.jobs(container.as_deref(), after)).await
    }

    async fn count_files(
        &self,
        target: Target<'_>,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let (storage, container) = (self.of(target.server), target.container.to_owned());
        let job_id = job_id.map(str::to_owned);
        match blocking(move || storage.count(&container, job_id.as_deref(), began)).await {
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
        self.of(server).check(plan, read).await
    }

    async fn store(&self, target: Target<'_>, key: &str, body: &[u8]) -> Result<String, StorageFailure> {
        let (object, body) = (self.object(target, key), body.to_owned());
        blocking(move || object.store(&body)).await
    }

    async fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        let object = self.object(target, key);
        blocking(move || object.read(max)).await
    }

    async fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        self.of(target.server).through(self.object(target, key), take).await
    }

    async fn ledger(&self, target: Target<'_>, folder: &str) -> Result<Ledger, StorageFailure> {
        let (storage, container) = (self.of(target.server), target.container.to_owned());
        let folder = folder.to_owned();
        blocking(move || storage.ledger_of(&container, &folder)).await
    }

    async fn make_container(&self, target: Target<'_>) -> Result<(), StorageFailure> {
        let (storage, container) = (self.of(target.server), target.container.to_owned());
        blocking(move || {
            container_name(&container)?;
            storage.tenure.look();
            let made = storage.root.make()?.enter_or_make(&container);
            made.map(drop).map_err(|error| failure::of(&format!("the directory {container}"), &error))
        })
        .await
    }

    fn begin(
        &self,
        target: Target<'_>,
        key: &str,
        content: Content,
        compression: Compression,
    ) -> FolderUpload {
        FolderUpload::begin(self.object(target, key), content, compression)
    }

    async fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> Result<Option<(FolderUpload, Checkpoint)>, StorageFailure> {
        let object = self.object(target, key);
        blocking(move || FolderUpload::resume(object, compression)).await
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        let (storage, plan) = (self.of(server), plan.clone());
        blocking(move || storage.delete(&plan)).await
    }
}
