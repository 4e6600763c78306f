//! The storage account, as the client of the storage edge sees it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use fhir_export_operator::api::{Compression, Dialect, FhirServer};
use fhir_export_operator::core::landing::{Checkpoint, Content, Marks};
use fhir_export_operator::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use fhir_export_operator::ports::{Committed, ObjectStore, Target, Upload};
use jiff::Timestamp;

use super::{Course, Process, panics};
use crate::container::{ENDPOINT, at, failure};
use crate::faults::Outage;
use crate::laws::endpoint_of;
use crate::plan::{Edge, FaultKind};
use crate::state::{State, locked};
use crate::time::SECOND;

/// How long after its beginning a job writes its first file, which makes its folder visible, in microseconds.
const FIRST_FILE: i64 = 20 * SECOND;

/// The size of the first parts of an upload, in bytes. It is small, so that small files have several parts.
const SMALL: usize = 64;
const SMALL_UPTO: u64 = 4 * 64;
const LARGE: usize = 1 << 20;

/// The name of the target's container among those of all accounts.
fn of(target: Target<'_>) -> String {
    at(endpoint_of(target.server), target.container)
}

fn no_answer() -> StorageFailure {
    failure(StorageFailureKind::Transient { retry_after: None })
}

impl Process {
    /// Sends one request that only reads.
    async fn look<T: Send + 'static>(
        &self,
        server: &FhirServer,
        act: impl FnOnce(&mut State) -> Result<T, StorageFailure> + Send + 'static,
    ) -> Result<T, StorageFailure> {
        self.ask(server, false, act).await
    }

    /// Sends one request that writes.
    async fn write<T: Send + 'static>(
        &self,
        server: &FhirServer,
        act: impl FnOnce(&mut State) -> Result<T, StorageFailure> + Send + 'static,
    ) -> Result<T, StorageFailure> {
        self.ask(server, true, act).await
    }

    /// Sends one request to the account, with its retries.
    async fn ask<T: Send + 'static>(
        &self,
        server: &FhirServer,
        writes: bool,
        act: impl FnOnce(&mut State) -> Result<T, StorageFailure> + Send + 'static,
    ) -> Result<T, StorageFailure> {
        if server.spec.storage.is_none() {
            return Err(failure(StorageFailureKind::NotConfigured));
        }
        let Course::Goes(fault) = self.course(Edge::Storage) else {
            self.for_ever().await;
            return Err(no_answer());
        };
        if writes {
            self.leaves(fault.as_ref(), None).await;
        }
        let (out, denied) = {
            let state = locked(&self.state);
            // Outages strike only the first account.
            let first = endpoint_of(server) == Some(ENDPOINT);
            let out = |what| first && state.faults.is_out(what, state.time.now);
            (out(Outage::Storage), out(Outage::Role))
        };
        match fault {
            _ if out => {
                self.pause(5 * SECOND).await;
                return Err(no_answer());
            }
            Some(FaultKind::NotDone | FaultKind::NotSent) => {
                self.travel().await;
                return Err(no_answer());
            }
            Some(FaultKind::Denied) => {
                self.travel().await;
                return Err(failure(StorageFailureKind::Denied));
            }
            _ if denied => {
                self.travel().await;
                return Err(failure(StorageFailureKind::Denied));
            }
            _ => {}
        }
        let done = self
            .carry(fault.as_ref(), move |state| {
                let now = state.time.now;
                let State { fhir, lake, .. } = state;
                fhir.write(lake, now);
                act(state)
            })
            .await;
        match fault {
            Some(FaultKind::AnswerLost) => Err(no_answer()),
            Some(FaultKind::PanicsAfter) => panics(),
            _ => done,
        }
    }
}

impl ObjectStore for Process {
    type Upload = Laying;

    async fn probe(&self, server: &Arc<FhirServer>, _: Option<&str>) -> Result<(), StorageFailure> {
        self.look(server, |_| Ok(())).await
    }

    async fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let container = container.map(str::to_owned);
        self.look(server, move |state| {
            let now = state.time.now;
            let azure = |number| state.fhir.server(number).is_some_and(|s| s.dialect == Dialect::Azure);
            let wrote = |began: i64, ends: i64| now >= ends.min(began + FIRST_FILE);
            let seen = state.fhir.jobs.iter().filter(|job| {
                azure(job.server)
                    && job.stamp >= after
                    && !job.files().is_empty()
                    && wrote(job.began, job.ends)
            });
            let folders = seen.map(|job| {
                let (container, folder) = job.place();
                let began = Timestamp::from_second(job.stamp.as_second()).unwrap_or(job.stamp);
                JobFolder { container, folder, began, job_id: job.id() }
            });
            let here = |folder: &JobFolder| match &container {
                Some(container) => folder.container == *container && folder.folder.is_some(),
                None => folder.folder.is_none(),
            };
            Ok(folders.filter(here).collect())
        })
        .await
    }

    async fn count_files(
        &self,
        target: Target<'_>,
        job_id: Option<&str>,
        _: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let (container, job_id) = (of(target), job_id.map(str::to_owned));
        self.look(target.server, move |state| {
            let blobs = state.lake.containers.get(&container).map(|c| &c.blobs);
            let ours = |name: &&String| job_id.as_ref().is_none_or(|id| name.contains(&format!("-{id}/")));
            let found = blobs.into_iter().flatten().filter(|(name, _)| ours(name));
            let sizes: Vec<u64> = found.map(|(_, blob)| blob.body.len() as u64).collect();
            Ok(Seen { folder: None, files: sizes.len() as u64, bytes: sizes.iter().sum() })
        })
        .await
    }

    async fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        let takes = {
            let mut state = locked(&self.state);
            if state.chance.one_in(4) { state.chance.between(1, 120) } else { 0 }
        };
        self.pause(takes * SECOND).await;
        read(1);
        let plan = plan.clone();
        self.look(server, move |state| state.lake.verify(&plan)).await
    }

    async fn store(&self, target: Target<'_>, key: &str, body: &[u8]) -> Result<String, StorageFailure> {
        locked(&self.state).check_place(target, Some(key), None);
        let (container, path, body) = (of(target), key.to_owned(), body.to_owned());
        self.write(target.server, move |state| state.lake.store(&container, &path, &body)).await
    }

    async fn read(
        &self,
        target: Target<'_>,
        key: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        let (container, path) = (of(target), key.to_owned());
        self.look(target.server, move |state| state.lake.read(&container, &path, max)).await
    }

    async fn read_through(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        let (container, path) = (of(target), key.to_owned());
        let body: Option<Vec<u8>> =
            self.look(target.server, move |state| state.lake.read(&container, &path, usize::MAX)).await?;
        Ok(body.map(|body| take(&body)).is_some())
    }

    async fn ledger(&self, target: Target<'_>, folder: &str) -> Result<Ledger, StorageFailure> {
        let (container, folder) = (of(target), folder.to_owned());
        self.look(target.server, move |state| state.lake.ledger(&container, &folder)).await
    }

    async fn make_container(&self, target: Target<'_>) -> Result<(), StorageFailure> {
        locked(&self.state).check_place(target, None, None);
        let container = of(target);
        self.write(target.server, move |state| {
            state.lake.make(&container);
            Ok(())
        })
        .await
    }

    fn begin(&self, target: Target<'_>, key: &str, content: Content, compression: Compression) -> Laying {
        locked(&self.state).check_place(target, Some(key), Some(compression));
        Laying {
            process: self.this.clone(),
            server: Arc::clone(target.server),
            place: (of(target), key.to_owned()),
            upto: (content, 0),
        }
    }

    async fn resume(
        &self,
        target: Target<'_>,
        key: &str,
        compression: Compression,
    ) -> Result<Option<(Laying, Checkpoint)>, StorageFailure> {
        let (container, blob) = (of(target), key.to_owned());
        let found = self.look(target.server, move |state| state.lake.furthest(&container, &blob)).await?;
        Ok(found.map(|checkpoint| {
            let begun = self.begin(target, key, checkpoint.content(), compression);
            (Laying { upto: (checkpoint.content(), checkpoint.bytes()), ..begun }, checkpoint)
        }))
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        let plan = plan.clone();
        self.write(server, move |state| {
            state.check_folder_deletion(&plan);
            state.lake.delete_folder(&plan)
        })
        .await
    }
}

/// The upload of one file.
pub struct Laying {
    process: Weak<Process>,
    server: Arc<FhirServer>,
    place: (String, String),
    /// The content of the upload, and how many bytes of it are in parts.
    upto: (Content, u64),
}

impl Upload for Laying {
    fn part_size(&self, offset: u64) -> Option<usize> {
        Some(if offset < SMALL_UPTO { SMALL } else { LARGE })
    }

    async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        let Some(process) = self.process.upgrade() else { return Err(no_answer()) };
        assert_eq!(
            (after.content(), after.bytes()),
            (self.upto.0, self.upto.1 + body.len() as u64),
            "not the next part"
        );
        let ((container, blob), after) = (self.place.clone(), after.clone());
        let upto = after.bytes();
        process.write(&self.server, move |state| state.lake.part((&container, &blob), body, after)).await?;
        self.upto.1 = upto;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        Ok(())
    }

    fn stored(&self) -> u64 {
        self.upto.1
    }

    async fn commit(self, last: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        let Some(process) = self.process.upgrade() else { return Err(no_answer()) };
        let ((container, blob), upto, marks) = (self.place, self.upto, marks.clone());
        process
            .write(&self.server, move |state| {
                state.tell(45, || format!("commit {container}/{blob}"));
                state.lake.commit((&container, &blob), upto, &last, &marks)
            })
            .await
    }
}
