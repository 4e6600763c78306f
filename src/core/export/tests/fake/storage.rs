//! The storage account: what is listed, checked, landed and stored in it.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::said::{container, folder};
use super::Fake;
use crate::core::landing::{FileForm, Issues, LandFile, LandPlan, LandState, Landed, Sum};
use crate::core::ledger::{Checked, JobFolder, Seen, StorageFailure, Verification, VerifyPlan};

impl Fake {
    fn storage(&self) -> Result<(), StorageFailure> {
        self.storage_down.clone().map_or(Ok(()), Err)
    }

    pub(in super::super) fn find_jobs(
        &self,
        wanted: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        self.storage()?;
        let own = self.jobs.iter().filter(|_| self.shows_folders).map(|job| match container(&job.request) {
            Some(container) => {
                JobFolder { container, folder: Some(folder(job)), began: job.began, job_id: job.id.clone() }
            }
            None => JobFolder {
                container: format!("export-{}", job.id),
                folder: None,
                began: job.began,
                job_id: job.id.clone(),
            },
        });
        let fits = |f: &JobFolder| {
            f.began >= after && wanted.map_or(f.container.starts_with("export-"), |w| f.container == w)
        };
        Ok(own.chain(self.strangers.iter().cloned()).filter(fits).collect())
    }

    pub(in super::super) fn count_files(&self) -> Result<Seen, StorageFailure> {
        self.storage()?;
        let files = u64::from(self.shows_files) * 3;
        Ok(Seen { folder: None, files, bytes: files * 1000 })
    }

    pub(in super::super) fn verify(&mut self, plan: &VerifyPlan) -> Verification {
        self.verifications += 1;
        if self.checks_for_ever {
            return Verification::Running { files: 1 };
        }
        if let Some(left) = self.panics.checked_sub(1) {
            self.panics = left;
            return Verification::Panicked;
        }
        if let Err(failure) = self.storage() {
            return Verification::Failed(failure);
        }
        let seen = plan.files.iter().enumerate().map(|(n, file)| {
            let count = file.count.unwrap_or(1);
            let lines = count + u64::from(self.wrong_count.contains(&n));
            let there = !self.missing.contains(&n);
            let read = there && !self.uncounted.contains(&n) && plan.max_bytes > 0;
            Checked { bytes: there.then_some(count * 100), lines: read.then_some(lines) }
        });
        Verification::Done(seen.collect())
    }

    pub(in super::super) fn land(&mut self, plan: &LandPlan) -> LandState {
        self.planned.push(plan.clone());
        if let Some(landing) = self.landings.pop_front() {
            return landing;
        }
        let landed = |file: &LandFile| Landed {
            sum: Sum {
                bytes: file.claims.bytes.unwrap_or(100),
                lines: file.claims.count.unwrap_or(1),
                sha256: file.claims.sha256.clone().unwrap_or_else(|| "00".repeat(32)),
            },
            form: FileForm::Framed,
            issues: Issues::default(),
            words: Vec::new(),
        };
        let mut all: Vec<Landed> = plan.files.iter().map(landed).collect();
        (self.spoil)(&mut all);
        LandState::Done(Arc::new(all))
    }

    pub(in super::super) fn store(&mut self, body: &[u8]) -> Result<String, StorageFailure> {
        self.storage()?;
        self.stored.push(body.to_vec());
        self.store_fails.clone().map_or_else(|| Ok(crate::core::manifest::sha256_hex(body)), Err)
    }

    pub(in super::super) fn store_log(&mut self, body: &[u8]) -> Result<String, StorageFailure> {
        self.log_fails.pop_front().map_or_else(|| self.store(body), Err)
    }
}
