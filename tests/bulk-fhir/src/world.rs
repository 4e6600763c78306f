//! What the server knows while it runs, shared by all of its sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use azure_fhir::{Fault, Level, On, Patients, Request, RequestFault};
use tokio::time::Instant;

use crate::Error;
use crate::access::Access;
use crate::job::{Job, JobView};
use crate::options::{Options, Quirks};
use crate::script::Script;

/// A token that was given out.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) client: String,
    pub(crate) until: Instant,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    /// Origins of the foreign host over http and https.
    pub(crate) foreign: OnceLock<(String, Option<String>)>,
    numbers: AtomicU64,
    seed: u64,
    patients: Mutex<Patients>,
    jobs: Mutex<BTreeMap<String, Job>>,
    scripts: Mutex<Vec<Script>>,
    faults: Mutex<Vec<RequestFault>>,
    access: Mutex<Access>,
    quirks: Mutex<Quirks>,
    requests: Mutex<Vec<Request>>,
    tokens: Mutex<BTreeMap<String, Issued>>,
    used_assertions: Mutex<BTreeSet<String>>,
    recent: Mutex<BTreeMap<String, VecDeque<Instant>>>,
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
        Ok(Self {
            foreign: OnceLock::new(),
            numbers: AtomicU64::new(1),
            seed: RandomState::new().hash_one(0),
            patients: Mutex::new(patients),
            jobs: Mutex::default(),
            scripts: Mutex::default(),
            faults: Mutex::default(),
            access: Mutex::new(std::mem::take(&mut options.access)),
            quirks: Mutex::new(std::mem::take(&mut options.quirks)),
            requests: Mutex::default(),
            tokens: Mutex::default(),
            used_assertions: Mutex::default(),
            recent: Mutex::default(),
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

    pub(crate) fn quirks(&self) -> MutexGuard<'_, Quirks> {
        lock(&self.quirks)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        lock(&self.requests)
    }

    pub(crate) fn tokens(&self) -> MutexGuard<'_, BTreeMap<String, Issued>> {
        lock(&self.tokens)
    }

    /// Whether this assertion is seen for the first time.
    pub(crate) fn first_use(&self, assertion: &str) -> bool {
        lock(&self.used_assertions).insert(assertion.to_owned())
    }

    pub(crate) fn views(&self) -> Vec<JobView> {
        let mut views: Vec<JobView> = self.jobs().values().map(Job::view).collect();
        views.sort_by_key(|view| view.created);
        views
    }

    /// A text that nobody has seen before: for tokens, jobs and signatures.
    pub(crate) fn fresh(&self) -> String {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        format!("{number}{:016x}", RandomState::new().hash_one(self.seed ^ number))
    }

    /// The foreign host's origin, of the same scheme where it has one.
    pub(crate) fn foreign_origin(&self, https: bool) -> String {
        let Some((plain, tls)) = self.foreign.get() else { return String::new() };
        tls.as_ref().filter(|_| https).unwrap_or(plain).clone()
    }

    /// The first queued script for this kick-off, else the server's own.
    pub(crate) fn take_script(&self, level: Level, group: Option<&str>, text: &str) -> Script {
        let mut scripts = self.scripts();
        let found = scripts.iter_mut().find(|script| {
            let matching = &script.matching;
            matching.level.is_none_or(|wanted| wanted == level)
                && matching.group.as_deref().is_none_or(|wanted| group == Some(wanted))
                && matching.contains.as_deref().is_none_or(|wanted| text.contains(wanted))
        });
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

    /// Seconds until the caller may come again, if it came too often.
    pub(crate) fn too_often(&self, caller: &str) -> Option<u64> {
        let rate = self.quirks().rate?;
        let window = Duration::from_millis(rate.millis);
        let now = Instant::now();
        let mut recent = lock(&self.recent);
        let times = recent.entry(caller.to_owned()).or_default();
        while times.front().is_some_and(|first| now.duration_since(*first) >= window) {
            times.pop_front();
        }
        if times.len() < rate.requests {
            times.push_back(now);
            return None;
        }
        let first = times.front()?;
        Some(window.saturating_sub(now.duration_since(*first)).as_secs() + 1)
    }

    /// Remembers a request; the number is for [`World::answered`].
    pub(crate) fn remember(&self, mut request: Request) -> usize {
        let mut requests = self.requests();
        let number = requests.len();
        request.number = number;
        requests.push(request);
        number
    }

    pub(crate) fn answered(&self, number: usize, status: u16) {
        if let Some(request) = self.requests().get_mut(number) {
            request.status = Some(status);
        }
    }
}
