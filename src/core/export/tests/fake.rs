//! A FHIR server and its storage account, as values: they do what docs/azure-behaviour.md says, or what a script
//! says.

mod server;
mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use crate::core::landing::{LandPlan, Landed, Landing};
use crate::core::ledger::{JobFolder, StorageFailure};
use crate::core::wire::{Answer, Failure, Method, Reply, Request};

/// How a server generation cancels (docs/azure-behaviour.md, "Cancelling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancels {
    /// 202 for any job, 404 ever after.
    Y2026,
    /// 202, then 202 for a while, then 200 with an empty manifest; 500 for finished jobs.
    Y2022,
    /// As the one before, and 409 for finished jobs.
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
}
