//! Folders and files that a FHIR service writes into a storage account by itself.

use jiff::Timestamp;

use super::account::Account;
use super::{BlobStorage, listing};
use crate::core::folder;
use crate::core::ledger::{JobFolder, Seen, StorageFailure};

/// The most days that a search for a job covers; a job begins near its kick-off.
const DAYS: usize = 31;

impl BlobStorage {
    /// Folders of jobs in a container that began at or after `after`. Like the names, `after` has whole seconds.
    pub(super) async fn folders_since(
        &self,
        account: &Account,
        container: &str,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let mut jobs = Vec::new();
        for day in folder::day_prefixes(after, Timestamp::now().max(after), DAYS) {
            for name in listing::folders(account, container, &day, self.page).await? {
                if let Some((began, id)) = folder::parse(&name).filter(|(began, _)| *began >= after) {
                    jobs.push(JobFolder {
                        container: container.to_owned(),
                        job_id: id.to_owned(),
                        began,
                        folder: Some(name),
                    });
                }
            }
        }
        Ok(jobs)
    }

    /// Containers of single jobs that changed at or after `after`.
    pub(super) async fn containers_since(
        &self,
        account: &Account,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let containers = listing::containers(account, folder::OWN_CONTAINER, self.page).await?;
        let jobs = containers.into_iter().filter(|(_, began)| *began >= after);
        let jobs = jobs.filter_map(|(container, began)| {
            let job_id = container.strip_prefix(folder::OWN_CONTAINER).filter(|id| folder::is_job_id(id))?;
            Some(JobFolder { job_id: job_id.to_owned(), container, folder: None, began })
        });
        Ok(jobs.collect())
    }

    /// Counts the NDJSON files of a job.
    pub(super) async fn count(
        &self,
        account: &Account,
        container: &str,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let folder = match job_id {
            Some(id) => match self.folder_of(account, container, id, began).await? {
                Some(folder) => Some(folder),
                None => return Ok(Seen::default()),
            },
            None => None,
        };
        let prefix = folder.as_ref().map(|folder| format!("{folder}/")).unwrap_or_default();
        let mut seen = Seen { folder, files: 0, bytes: 0 };
        listing::blobs(account, container, &prefix, self.page, |name, size| {
            if name.ends_with(".ndjson") {
                seen.files += 1;
                seen.bytes += size;
            }
        })
        .await?;
        Ok(seen)
    }

    /// The folder of a job that began at about `began`.
    async fn folder_of(
        &self,
        account: &Account,
        container: &str,
        job_id: &str,
        began: Timestamp,
    ) -> Result<Option<String>, StorageFailure> {
        let next_day = began.checked_add(jiff::SignedDuration::from_hours(23)).unwrap_or(began);
        for day in folder::day_prefixes(began, next_day, 3) {
            let folders = listing::folders(account, container, &day, self.page).await?;
            let found =
                folders.into_iter().find(|name| folder::parse(name).is_some_and(|(_, id)| id == job_id));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
