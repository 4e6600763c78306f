//! The storage port, implemented with S3.

use std::sync::Arc;

use jiff::Timestamp;

use super::lane::Object;
use super::{S3Storage, S3Upload, connect};
use crate::api::{Compression, FhirServer};
use crate::core::folder;
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use crate::ports::{ObjectStore, Target};
use crate::storage::at_rest::was_there;

impl S3Storage {
    fn object(&self, target: Target<'_>, key: &str, compression: Compression) -> Object {
        Object {
            storage: self.clone(),
            server: Arc::clone(target.server),
            container: target.container.to_owned(),
            key: key.to_owned(),
            compression,
        }
    }
}

impl ObjectStore for S3Storage {
    type Upload = S3Upload;

    async fn probe(&self, server: &Arc<FhirServer>, container: Option<&str>) -> Result<(), StorageFailure> {
        self.with_account(server, |account| async move {
            let place = match container {
                Some(container) => Some(connect::container(server, &account, container)?),
                None => connect::all(server, &account)?,
            };
            match place {
                Some(place) => place.one().await,
                None => connect::store(server, &account)?.buckets("").await.map(drop),
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
            if let Some(container) = container {
                return connect::container(server, &account, container)?.jobs_since(container, after).await;
            }
            let containers = match connect::all(server, &account)? {
                // A folder does not tell when it was made.
                Some(all) => {
                    all.folders(folder::OWN_CONTAINER).await?.into_iter().map(|name| (name, after)).collect()
                }
                None => connect::store(server, &account)?.buckets(folder::OWN_CONTAINER).await?,
            };
            let jobs = containers.into_iter().filter(|(_, began)| *began >= after);
            let jobs = jobs.filter_map(|(container, began)| {
                let id = container.strip_prefix(folder::OWN_CONTAINER).filter(|id| folder::is_job_id(id))?;
                Some(JobFolder { job_id: id.to_owned(), container, folder: None, began })
            });
            Ok(jobs.collect())
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
            .with_bucket(target.server, target.container, |bucket| async move {
                bucket.count(job_id, began).await
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
        self.with_bucket(target.server, target.container, |bucket| async move { bucket.key(key).map(drop) })
            .await?;
        self.prove(target.server, target.container).await?;
        self.with_bucket(target.server, target.container, |bucket| async move {
            bucket.store_small(key, body).await
        })
        .await
    }

    async fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        self.with_bucket(
            target.server,
            target.container,
            |bucket| async move { bucket.whole(key, max).await },
        )
        .await
    }

    async fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        was_there(self.read_whole(target, key, take).await?)
    }

    async fn ledger(&self, target: Target<'_>, folder: &str) -> Result<Ledger, StorageFailure> {
        self.with_bucket(target.server, target.container, |bucket| bucket.ledger(folder)).await
    }

    async fn marks(
        &self,
        target: Target<'_>,
        _folder: &str,
        key: &str,
    ) -> Result<Option<Marks>, StorageFailure> {
        let marks = self
            .with_bucket(target.server, target.container, |bucket| async move { bucket.marks(key).await })
            .await?;
        Ok(marks.flatten())
    }

    async fn make_container(&self, target: Target<'_>) -> Result<(), StorageFailure> {
        self.with_bucket(target.server, target.container, |bucket| async move { bucket.make().await }).await
    }

    fn begin(&self, target: Target<'_>, key: &str, content: Content, compression: Compression) -> S3Upload {
        S3Upload::begin(self.object(target, key, compression), content)
    }

    async fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> Result<Option<(S3Upload, Checkpoint)>, StorageFailure> {
        S3Upload::resume(self.object(target, key, compression)).await
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        self.with_bucket(server, &plan.container, |bucket| async move { bucket.delete_folder(plan).await })
            .await
    }
}
