//! What the server knows while it runs, shared by all of its sockets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::Error;
use crate::container::Account;
use crate::failure::Failure;
use crate::fault::{Fault, On, RequestFault};
use crate::job::{Job, JobView};
use crate::manifest::NO_STORAGE;
use crate::outcome::Answer;
use crate::parameters::{Anonymization, Level};
use crate::patients::Patients;
use crate::record::Request;
use crate::script::Script;
use crate::server::Options;
use crate::strike::strike;
use crate::token::Access;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) account: Option<Account>,
    pub(crate) foreign: OnceLock<String>,
    numbers: AtomicU64,
    patients: Mutex<Patients>,
    jobs: Mutex<BTreeMap<String, Job>>,
    scripts: Mutex<Vec<Script>>,
    faults: Mutex<Vec<RequestFault>>,
    access: Mutex<Access>,
    requests: Mutex<Vec<Request>>,
    writers: Mutex<JoinSet<()>>,
}

/// A test that panicked while it held a lock has failed already; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(mut options: Options) -> Result<Self, Error> {
        let patients = match options.patients.take() {
            Some(patients) => patients,
            None => Patients::checked_in()?,
        };
        // Servers of parallel tests share one storage account, where `export-<id>` must not meet.
        let any = RandomState::new().hash_one(0) % 900_000_000 + 1_000;
        Ok(Self {
            account: options.storage.take().map(Account::connect).transpose()?,
            foreign: OnceLock::new(),
            numbers: AtomicU64::new(options.first_job.unwrap_or(any)),
            patients: Mutex::new(patients),
            jobs: Mutex::default(),
            scripts: Mutex::new(std::mem::take(&mut options.scripts)),
            faults: Mutex::default(),
            access: Mutex::new(std::mem::take(&mut options.access)),
            requests: Mutex::default(),
            writers: Mutex::new(JoinSet::new()),
            options,
        })
    }

    pub(crate) fn patients(&self) -> MutexGuard<'_, Patients> {
        lock(&self.patients)
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        lock(&self.jobs)
    }

    pub(crate) fn scripts(&self) -> MutexGuard<'_, Vec<Script>> {
        lock(&self.scripts)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Vec<RequestFault>> {
        lock(&self.faults)
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        lock(&self.requests)
    }

    pub(crate) fn writers(&self) -> MutexGuard<'_, JoinSet<()>> {
        lock(&self.writers)
    }

    pub(crate) fn views(&self) -> Vec<JobView> {
        let mut views: Vec<JobView> = self.jobs().values().map(|job| job.view.clone()).collect();
        views.sort_by_key(|view| view.created);
        views
    }

    /// Job ids and sub-job ids come from one sequence.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Where manifests say that files are.
    pub(crate) fn endpoint(&self) -> &str {
        self.account.as_ref().map_or(NO_STORAGE, Account::endpoint)
    }

    /// The first queued script for this kick-off, else the server's own.
    pub(crate) fn take_script(
        &self,
        level: Level,
        group: Option<&str>,
        container: Option<&str>,
        url: &str,
    ) -> Script {
        let mut scripts = self.scripts();
        let found = scripts.iter_mut().find(|script| script.matching.agrees(level, group, container, url));
        let Some(script) = found else { return self.options.script.clone() };
        let taken = script.clone();
        if let Some(uses) = &mut script.uses {
            *uses = uses.saturating_sub(1);
        }
        scripts.retain(|script| script.uses != Some(0));
        taken
    }

    /// The fault, if one is waiting for this request.
    pub(crate) fn take_fault(&self, on: On, path_and_query: &str) -> Option<Fault> {
        let mut faults = self.faults();
        let taken = faults.iter_mut().find_map(|fault| fault.take(on, path_and_query));
        faults.retain(|fault| !fault.spent());
        taken
    }

    /// Gives a fault as an answer; `None` when the right answer shall follow after all.
    pub(crate) async fn strike(&self, fault: &Fault, path_and_query: &str) -> Option<Answer> {
        let foreign = self.foreign.get().map(String::as_str).unwrap_or_default();
        strike(fault, foreign, path_and_query).await
    }

    /// Whether the container `anonymization` has the configuration that was asked for.
    pub(crate) fn check_anonymization(&self, asked: Option<&Anonymization>) -> Result<(), Failure> {
        let (Some(asked), Some(configs)) = (asked, &self.options.anonymization_configs) else {
            return Ok(());
        };
        let config = || asked.config.clone();
        match configs.get(&asked.config) {
            None => Err(Failure::AnonymizationConfigNotFound { config: config() }),
            Some(etag)
                if asked
                    .etag
                    .as_ref()
                    .is_some_and(|asked| asked.trim_matches('"') != etag.trim_matches('"')) =>
            {
                Err(Failure::AnonymizationEtagMismatch { config: config() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Remembers a request; the number is for [`World::answered`].
    pub(crate) fn remember(&self, mut request: Request) -> usize {
        let mut requests = self.requests();
        request.number = requests.len();
        requests.push(request);
        requests.len() - 1
    }

    /// Remembers how a request was answered.
    pub(crate) fn answered(&self, number: usize, answer: &Answer) {
        if let (Answer::Reply(reply), Some(request)) = (answer, self.requests().get_mut(number)) {
            request.status = Some(reply.status);
        }
    }
}

/// A GUID as the time of a job makes it.
pub fn guid(created: Timestamp, number: u64) -> String {
    let hash = RandomState::new();
    let (a, b) = (hash.hash_one(created.as_nanosecond()), hash.hash_one(number));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
