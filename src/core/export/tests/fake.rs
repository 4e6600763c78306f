//! A FHIR server and its storage account, as values: they do what docs/azure-behaviour.md says, or what a script
//! says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::said::{answer, body, container, folder, listed, manifest, outcome, unknown};
use crate::core::landing::{FileForm, Issues, LandFile, LandPlan, Landed, Landing, Sum};
use crate::core::ledger::{Checked, JobFolder, Seen, StorageFailure, Verification, VerifyPlan};
use crate::core::wire::{Answer, Failure, Method, Reply, Request, Sent};

/// How a server generation cancels (docs/azure-behaviour.md, "Cancelling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancels {
    /// 202 for any job, 404 ever after.
    Y2026,
    /// 202, then 202 for a while, then 200 with an empty manifest; 500 for finished jobs.
    Y2022,
    /// The same, and 409 for finished jobs.
    Y2025,
    /// 202, and the job goes on to its end as if nothing had been said.
    Slow,
    /// It answers this, whatever one does.
    Never(u16),
}

/// What a kick-off meets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum KickOff {
    /// 202 with a status URL.
    Accept,
    /// 202, and `Content-Location` as given, with the job's id for `{id}`.
    AcceptAt(Option<String>),
    /// The job is made, and the answer is lost.
    MadeAndLost(Failure),
    /// No job is made; this comes back.
    Reply(Reply),
}

/// How a job ends by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// With so many resources for each type.
    Files(Vec<(&'static str, u64)>),
    /// With this answer for ever.
    Answer(Answer),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Alive,
    /// Cancelled at that time (older builds).
    Cancelled(Timestamp),
    Gone,
}

/// One job.
#[derive(Clone, Debug)]
pub(super) struct FakeJob {
    pub(super) id: String,
    pub(super) began: Timestamp,
    pub(super) ends: Timestamp,
    pub(super) ending: Ending,
    pub(super) state: State,
    pub(super) request: String,
}

/// Server and storage account.
#[derive(Clone, Debug)]
// Each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Fake {
    /// It answers as a Bulk Data server.
    pub(super) bulk: bool,
    pub(super) cancels: Cancels,
    pub(super) jobs: Vec<FakeJob>,
    /// The answers to come; when empty, all is well.
    pub(super) authorizations: VecDeque<Failure>,
    pub(super) kick_offs: VecDeque<KickOff>,
    /// How often a request without an effect was to show whether the server can be reached, and it could not.
    pub(super) out_of_reach: usize,
    pub(super) polls: VecDeque<Reply>,
    pub(super) deletes: VecDeque<Reply>,
    /// For jobs to come.
    pub(super) lasts: i64,
    pub(super) endings: VecDeque<Ending>,
    pub(super) sent: Vec<Request>,
    /// Storage: what each use meets until it is taken back.
    pub(super) storage_down: Option<StorageFailure>,
    pub(super) store_fails: Option<StorageFailure>,
    /// Why the log cannot be stored, try after try; then it can be.
    pub(super) log_fails: VecDeque<StorageFailure>,
    pub(super) missing: BTreeSet<usize>,
    pub(super) wrong_count: BTreeSet<usize>,
    pub(super) uncounted: BTreeSet<usize>,
    pub(super) strangers: Vec<JobFolder>,
    /// Files are seen in the container of a running job.
    pub(super) shows_files: bool,
    pub(super) shows_folders: bool,
    pub(super) verifications: u32,
    /// So many checks end by a panic.
    pub(super) panics: u32,
    /// A check that is begun goes on for ever.
    pub(super) checks_for_ever: bool,
    /// Jobs that the server said to be over, by a script: that it lied is not our doing.
    pub(super) denied: BTreeSet<String>,
    /// Jobs whose cancel it agreed to, though it goes on with them (Slow).
    pub(super) agreed: BTreeSet<String>,
    /// What the landing meets; when empty, all lands.
    pub(super) landings: VecDeque<Landing>,
    /// What landed is changed so before it is told.
    pub(super) spoil: fn(&mut Vec<Landed>),
    pub(super) landing_stopped: usize,
    pub(super) planned: Vec<LandPlan>,
    /// How many resources of a type the server has, where its searches tell.
    pub(super) has: BTreeMap<&'static str, u64>,
    /// How many of these have not changed since the transaction time, where it is not all of them.
    pub(super) unchanged: BTreeMap<&'static str, u64>,
    /// It ignores `_lastUpdated`.
    pub(super) timeless: bool,
    /// The searches that counted resources.
    pub(super) counted: Vec<String>,
    pub(super) clean_ups: VecDeque<Reply>,
    pub(super) cleaned: Vec<String>,
    pub(super) stored: Vec<Vec<u8>>,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            bulk: false,
            cancels: Cancels::Y2026,
            jobs: Vec::new(),
            authorizations: VecDeque::new(),
            kick_offs: VecDeque::new(),
            out_of_reach: 0,
            polls: VecDeque::new(),
            deletes: VecDeque::new(),
            lasts: 100,
            endings: VecDeque::new(),
            sent: Vec::new(),
            storage_down: None,
            store_fails: None,
            log_fails: VecDeque::new(),
            missing: BTreeSet::new(),
            wrong_count: BTreeSet::new(),
            uncounted: BTreeSet::new(),
            strangers: Vec::new(),
            shows_files: false,
            shows_folders: true,
            verifications: 0,
            panics: 0,
            checks_for_ever: false,
            denied: BTreeSet::new(),
            agreed: BTreeSet::new(),
            landings: VecDeque::new(),
            spoil: |_| {},
            landing_stopped: 0,
            planned: Vec::new(),
            has: BTreeMap::new(),
            unchanged: BTreeMap::new(),
            timeless: false,
            counted: Vec::new(),
            clean_ups: VecDeque::new(),
            cleaned: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// All goes well from now on.
    pub(super) fn heal(&mut self) {
        self.authorizations.clear();
        self.kick_offs.clear();
        self.polls.clear();
        self.deletes.clear();
        self.endings.clear();
        self.storage_down = None;
        self.store_fails = None;
        self.log_fails.clear();
        self.landings.clear();
        self.clean_ups.clear();
        self.cancels = Cancels::Y2026;
    }

    pub(super) fn kick_offs_sent(&self) -> usize {
        self.sent.iter().filter(|r| r.prefer.is_some()).count()
    }

    pub(super) fn deletes_sent(&self) -> usize {
        self.sent.iter().filter(|r| r.method == Method::Delete).count()
    }

    /// Whether the server still works on a job.
    pub(super) fn works_on(job: &FakeJob, now: Timestamp) -> bool {
        job.state == State::Alive && job.ends > now
    }

    pub(super) fn authorize(&mut self, reach: bool) -> Result<(), Failure> {
        if let Some(failure) = self.authorizations.pop_front() {
            return Err(failure);
        }
        match self.kick_offs.front() {
            Some(KickOff::Reply(Err(failure))) if reach && failure.sent == Sent::No => {
                let failure = failure.clone();
                self.kick_offs.pop_front();
                self.out_of_reach += 1;
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn kick_off(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.sent.push(request.clone());
        let script = self.kick_offs.pop_front().unwrap_or(KickOff::Accept);
        if let KickOff::Reply(reply) = script {
            return reply;
        }
        let id = (self.jobs.len() + 7).to_string();
        let usual = Ending::Files(vec![("Observation", 20), ("Patient", 5)]);
        self.jobs.push(FakeJob {
            id: id.clone(),
            began: now,
            ends: now + SignedDuration::from_secs(self.lasts),
            ending: self.endings.pop_front().unwrap_or(usual),
            state: State::Alive,
            request: request.url.clone(),
        });
        let location = match script {
            KickOff::AcceptAt(location) => location.map(|l| l.replace("{id}", &id)),
            KickOff::MadeAndLost(failure) => return Err(failure),
            _ => Some(format!("https://clinic.example/_operations/export/{id}")),
        };
        Ok(Answer { content_location: location, ..answer(202) })
    }

    fn job(&mut self, url: &str) -> Option<&mut FakeJob> {
        let id = url.rsplit_once("/_operations/export/")?.1.split('?').next()?.to_owned();
        self.jobs.iter_mut().find(|job| job.id == id && job.state != State::Gone)
    }

    fn deny(&mut self, url: &str, over: bool) {
        if let Some(id) = self.job(url).filter(|_| over).map(|job| job.id.clone()) {
            self.denied.insert(id);
        }
    }

    pub(super) fn poll(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.sent.push(request.clone());
        if let Some(reply) = self.polls.pop_front() {
            let bulk = self.bulk;
            let over = |a: &Answer| {
                use crate::core::answer::{StatusAnswer as A, status};
                let meaning = if bulk { crate::core::bulk::answer::status(a, false) } else { status(a) };
                matches!(meaning, A::Done | A::JobFailed(_) | A::Gone(_))
            };
            self.deny(&request.url, reply.as_ref().is_ok_and(over));
            return reply;
        }
        let Some(job) = self.job(&request.url) else { return Ok(unknown()) };
        let job = job.clone();
        Ok(match (&job.state, &job.ending) {
            (State::Cancelled(at), _) if now < *at + SignedDuration::from_secs(30) => answer(202),
            (State::Cancelled(_), _) => manifest(&job.request, &json!([])),
            _ if now < job.ends => answer(202),
            (_, Ending::Answer(answer)) => answer.clone(),
            (_, Ending::Files(files)) => manifest(&job.request, &listed(&job, files)),
        })
    }

    pub(super) fn delete(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.sent.push(request.clone());
        if let Some(reply) = self.deletes.pop_front() {
            use crate::core::answer::{CancelAnswer, cancel};
            let over = reply.as_ref().is_ok_and(|a| cancel(a) == CancelAnswer::Settled);
            self.deny(&request.url, over);
            return reply;
        }
        let cancels = self.cancels;
        if let Cancels::Never(status) = cancels {
            return Ok(answer(status));
        }
        let Some(job) = self.job(&request.url) else { return Ok(unknown()) };
        let finished = now >= job.ends || matches!(job.state, State::Cancelled(_));
        Ok(match cancels {
            Cancels::Y2022 if finished => outcome(500, "exception", "x"),
            Cancels::Y2025 if finished => {
                outcome(409, "conflict", "Bulk update operation has already completed")
            }
            Cancels::Y2022 | Cancels::Y2025 => {
                job.state = State::Cancelled(now);
                answer(202)
            }
            Cancels::Slow => {
                let id = job.id.clone();
                self.agreed.insert(id);
                answer(202)
            }
            _ => {
                job.state = State::Gone;
                answer(202)
            }
        })
    }

    fn storage(&self) -> Result<(), StorageFailure> {
        self.storage_down.clone().map_or(Ok(()), Err)
    }

    pub(super) fn find_jobs(
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

    pub(super) fn count_files(&self) -> Result<Seen, StorageFailure> {
        self.storage()?;
        let files = u64::from(self.shows_files) * 3;
        Ok(Seen { folder: None, files, bytes: files * 1000 })
    }

    pub(super) fn verify(&mut self, plan: &VerifyPlan) -> Verification {
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

    pub(super) fn land(&mut self, plan: &LandPlan) -> Landing {
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
        Landing::Done(Arc::new(all))
    }

    pub(super) fn count_type(&mut self, type_: &str, request: &Request) -> Answer {
        self.counted.push(request.url.clone());
        let timed = request.url.contains("_lastUpdated=le") && !self.timeless;
        let Some(all) = self.has.get(type_) else { return answer(403) };
        let total = if timed { self.unchanged.get(type_).unwrap_or(all) } else { all };
        let searched = if timed { "x?_lastUpdated=le2026" } else { "x" };
        let link = json!([{"relation": "self", "url": searched}]);
        body(
            &json!({"resourceType": "Bundle", "type": "searchset", "total": total, "link": link}).to_string(),
        )
    }

    pub(super) fn clean_up(&mut self, request: &Request) -> Reply {
        self.cleaned.push(request.url.clone());
        if let Some(reply) = self.clean_ups.pop_front() {
            return reply;
        }
        if let Some(job) = self.job(&request.url) {
            job.state = State::Gone;
        }
        Ok(answer(202))
    }

    pub(super) fn store(&mut self, body: &[u8]) -> Result<String, StorageFailure> {
        self.storage()?;
        self.stored.push(body.to_vec());
        self.store_fails.clone().map_or_else(|| Ok(crate::core::manifest::sha256_hex(body)), Err)
    }

    pub(super) fn store_log(&mut self, body: &[u8]) -> Result<String, StorageFailure> {
        self.log_fails.pop_front().map_or_else(|| self.store(body), Err)
    }
}
