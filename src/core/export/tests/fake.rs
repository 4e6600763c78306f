//! A FHIR server and its storage account as values: they behave as docs/azure-behaviour.md says, or as a script says.

mod server;
mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use crate::core::landing::{LandPlan, LandState, Landed};
use crate::core::ledger::{JobFolder, StorageFailure};
use crate::core::wire::{Answer, Failure, Method, Reply, Request};

/// How a generation of servers cancels (docs/azure-behaviour.md, "Cancelling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancels {
    /// 202 for any job, then 404 for ever.
    Y2026,
    /// 202, then 202 for a while, then 200 with an empty manifest; 500 for finished jobs.
    Y2022,
    /// Like `Y2022`, and 409 for finished jobs.
    Y2025,
    /// 202, but the job continues to its end.
    Slow,
    /// This status for every cancel.
    Never(u16),
}

/// How a kick-off is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum KickOff {
    /// 202 with a status URL.
    Accept,
    /// 202 with this `Content-Location`, in which `{id}` stands for the job's id.
    AcceptAt(Option<String>),
    /// The job is created, and the answer is lost.
    MadeAndLost(Failure),
    /// No job is created, and this is the reply.
    Reply(Reply),
}

/// How a job ends by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// With this many resources of each type.
    Files(Vec<(&'static str, u64)>),
    /// With this answer for ever.
    Answer(Answer),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Alive,
    /// The job was cancelled at this time (older builds).
    Cancelled(Timestamp),
    Gone,
}

/// A job on the fake server.
#[derive(Clone, Debug)]
pub(super) struct FakeJob {
    pub(super) id: String,
    pub(super) began: Timestamp,
    pub(super) ends: Timestamp,
    pub(super) ending: Ending,
    pub(super) state: State,
    pub(super) request: String,
}

/// The fake server and its storage account.
#[derive(Clone, Debug)]
// Each flag is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Fake {
    /// Whether the server answers as a Bulk Data server.
    pub(super) bulk: bool,
    pub(super) cancels: Cancels,
    pub(super) jobs: Vec<FakeJob>,
    /// The results of authorizations to come; when empty, all succeed.
    pub(super) authorizations: VecDeque<Failure>,
    pub(super) kick_offs: VecDeque<KickOff>,
    /// How often a request without an effect was sent and failed, because the server could not be reached.
    pub(super) out_of_reach: usize,
    pub(super) polls: VecDeque<Reply>,
    pub(super) deletes: VecDeque<Reply>,
    /// How long the jobs to come run, in seconds.
    pub(super) lasts: i64,
    pub(super) endings: VecDeque<Ending>,
    pub(super) sent: Vec<Request>,
    /// The failure of each use of the storage, until it is removed.
    pub(super) storage_down: Option<StorageFailure>,
    pub(super) store_fails: Option<StorageFailure>,
    /// The failures of the next tries to store the log; afterwards it can be stored.
    pub(super) log_fails: VecDeque<StorageFailure>,
    pub(super) missing: BTreeSet<usize>,
    pub(super) wrong_count: BTreeSet<usize>,
    pub(super) uncounted: BTreeSet<usize>,
    pub(super) strangers: Vec<JobFolder>,
    /// Whether files are visible in the container while a job runs.
    pub(super) shows_files: bool,
    pub(super) shows_folders: bool,
    pub(super) verifications: u32,
    /// The number of checks to come that panic.
    pub(super) panics: u32,
    /// Whether a check that was started never ends.
    pub(super) checks_for_ever: bool,
    /// Jobs that the server reported as over by a script: a run cannot know that this is wrong.
    pub(super) denied: BTreeSet<String>,
    /// Jobs whose cancel the server agreed to, although it continues them (Slow).
    pub(super) agreed: BTreeSet<String>,
    /// The states of landings to come; when empty, everything lands.
    pub(super) landings: VecDeque<LandState>,
    /// Changes what landed before it is reported.
    pub(super) spoil: fn(&mut Vec<Landed>),
    pub(super) landing_stopped: usize,
    pub(super) planned: Vec<LandPlan>,
    /// How many resources of a type the server counts in searches.
    pub(super) has: BTreeMap<&'static str, u64>,
    /// How many of these have not changed since the transaction time, if not all of them.
    pub(super) unchanged: BTreeMap<&'static str, u64>,
    /// Whether the server ignores `_lastUpdated`.
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

    /// Removes all scripted failures.
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
}
