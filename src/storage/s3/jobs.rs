//! Folders of jobs, and the files in them.

use jiff::{SignedDuration, Timestamp};

use super::bucket::Bucket;
use super::object::is_plain;
use crate::core::folder;
use crate::core::ledger::{JobFolder, Seen, StorageFailure};

/// The most days that a search for a job covers; a job begins near its kick-off.
const DAYS: usize = 31;

impl Bucket {
    /// Folders of jobs in a container that began at or after `after`. Like the names, `after` has whole seconds.
    pub(super) async fn jobs_since(
        &self,
        container: &str,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let mut jobs = Vec::new();
        for day in folder::day_prefixes(after, Timestamp::now().max(after), DAYS) {
            for name in self.folders(&day).await? {
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

    /// Counts the NDJSON files of a job that began at about `began`.
    pub(super) async fn count(&self, job_id: Option<&str>, began: Timestamp) -> Result<Seen, StorageFailure> {
        let folder = match job_id {
            Some(id) => match self.folder_of(id, began).await? {
                Some(folder) => Some(folder),
                None => return Ok(Seen::default()),
            },
            None => None,
        };
        let prefix = folder.as_ref().map(|folder| format!("{folder}/")).unwrap_or_default();
        let listed = self.list(&prefix).await?.into_iter();
        let files = listed.filter(|(key, _)| key.ends_with(".ndjson") && is_plain(key));
        let sizes: Vec<u64> = files.map(|(_, size)| size).collect();
        Ok(Seen { folder, files: sizes.len() as u64, bytes: sizes.iter().sum() })
    }

    async fn folder_of(&self, job_id: &str, began: Timestamp) -> Result<Option<String>, StorageFailure> {
        let next_day = began.checked_add(SignedDuration::from_hours(23)).unwrap_or(began);
        for day in folder::day_prefixes(began, next_day, 3) {
            let mut folders = self.folders(&day).await?.into_iter();
            let found = folders.find(|name| folder::parse(name).is_some_and(|(_, id)| id == job_id));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
