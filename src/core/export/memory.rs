//! What the operator remembers of a run between two looks. Each phase has a type of its own, which holds
//! only what means something in that phase. A restart forgets it all: delays and counts of failures begin
//! anew, and no data is lost.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::type_counts::TypeCounts;
use crate::api::Reason;
use crate::core::answer::JobFailure;
use crate::core::bulk::manifest::Pages;
use crate::core::landing::{LandProgress, Landed};
use crate::core::ledger::Checked;
use crate::core::manifest::Manifest;
use crate::core::retry::{Retry, set_back};
use crate::core::wire::Request;

/// What a check of the files saw, or the reason and one sentence why it could not be done.
pub type CheckOutcome = Result<Arc<Vec<Checked>>, (Reason, String)>;

/// What is remembered before the kick-off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waiting {
    /// Requests that were not sent, or were refused for now, and when the next one is due.
    pub retry: Retry,
    /// When the credentials were last found to be available.
    pub authorized_at: Option<Timestamp>,
    /// The last kick-off never left: before the next intent is written, a harmless request checks that
    /// the server can be reached.
    pub unreached: bool,
    /// What the run was last found to wait for.
    pub waits_for: WaitsFor,
}

/// What holds a run back before its kick-off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitsFor {
    /// Something in the cluster, an answer of the server, or time.
    #[default]
    Obstacle,
    /// `spec.suspend` of the export or of its server.
    Resume,
    /// A place among the exports that its server runs at once.
    Place,
}

/// What is remembered while the kick-off is being sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starting {
    /// The kick-off, until it is handed out to be sent.
    pub kick_off: Option<Request>,
    /// The same as in [`Waiting`]: the count continues if the server answers that it cannot start the export now.
    pub retry: Retry,
}

/// What is remembered while it is not known whether the kick-off started a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertain {
    /// Why it is not known whether a job runs.
    pub doubt: Doubt,
    /// Searches of the container for the job.
    pub search: Retry,
}

/// Why it is not known whether a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The operator was stopped before it wrote down an answer, and the user has not been told yet.
    Untold,
    /// The kick-off was sent, and no definite answer came back.
    AnswerLost,
    /// The server accepted the kick-off and named no usable status URL.
    NoStatusUrl,
}

/// Whose job it is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobOwner {
    /// The server named this job in answer to the kick-off, or its manifest proved whose it is.
    #[default]
    Own,
    /// The job was found in the container, and its manifest has not yet proved whose it is.
    Adopted,
}

/// What is remembered while the server works on the job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// Whether the job was started by this run, as far as is known.
    pub owner: JobOwner,
    /// `spec.suspend` holds the polls.
    pub held: bool,
    /// Polls that failed in a way that may pass, and when the next poll is due.
    pub poll: Retry,
    /// The number of consecutive polls that found the job running.
    pub polls: u32,
    /// Whether this process has followed the job since its kick-off, so that `polls` counts all of its polls.
    pub since_kick_off: bool,
    /// The number of consecutive answers that were refusals or could not be read.
    pub nonsense: u32,
    /// When progress was last looked for or written.
    pub progress_at: Option<Timestamp>,
    /// The pages of the manifest so far, while further pages have to be fetched.
    pub pages: Option<Arc<Pages>>,
    /// How long the status URL has led to nothing; `None` if it leads to a job.
    pub absence: Option<Absence>,
    /// The failure of a job that may pass, and the tries to tell the server to forget the job before the next attempt.
    pub failed: Option<(JobFailure, CleanUp)>,
    /// The failed tries of the landing, while a fresh manifest is awaited because the links of the last one have
    /// expired.
    pub refresh: Option<LandingTries>,
}

/// How long a status URL has led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Since when every answer, from the FHIR server or from a proxy in front of it, has been 404 or 410.
    pub since: Timestamp,
    /// Since when every such answer has been the FHIR server's own; `None` if the last one was not.
    pub by_server: Option<Timestamp>,
}

/// The failed tries of a landing, counted across fresh manifests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LandingTries {
    /// Consecutive tries that landed nothing, and when the next is due.
    pub retry: Retry,
    /// The number of consecutive fresh manifests that landed nothing.
    pub refreshes: u32,
    /// When the first try failed in the present series of tries that neither landed a file nor kept a further byte.
    pub fruitless_since: Option<Timestamp>,
    /// How far the landing has come. Each new try counts the files that have landed before from the start.
    pub progress: LandProgress,
    /// The names of the objects whose files the last try could not land.
    pub obstructed: Arc<Vec<String>>,
}

impl LandingTries {
    /// Moves all times back by as much as the clock of the machine was set back.
    fn set_back(&mut self, by: SignedDuration) {
        self.retry.set_back(by);
        set_back(&mut self.fruitless_since, by);
    }
}

/// What is remembered while the operator lands the files of a Bulk Data server.
#[derive(Clone, Debug, PartialEq)]
pub struct Landing {
    /// The manifest whose files land.
    pub manifest: Arc<Manifest>,
    /// `spec.suspend` holds the landing.
    pub held: bool,
    /// Whether the landing takes so long that the status shows it.
    pub told: bool,
    /// How far the landing has come, and how it has failed so far.
    pub tries: LandingTries,
    /// When progress was last written.
    pub progress_at: Option<Timestamp>,
    /// The generation of the FhirServer with which the task that copies files was started.
    pub task_generation: Option<i64>,
    /// What the landing is doing.
    pub stage: LandingStage,
}

/// The stages of a landing.
#[derive(Clone, Debug, PartialEq)]
pub enum LandingStage {
    /// The files are being copied from the server to storage.
    Copying {
        /// Since when a task has copied the files beside the reconcile; `None` if no task is known to run.
        task_since: Option<Timestamp>,
    },
    /// Every file has landed: the files are judged, and the manifest is stored.
    Landed(Concluding),
    /// This attempt cannot land. The server is told to forget the job before the next attempt begins.
    GivingUp {
        /// Why, as a reason and one sentence.
        why: (Reason, String),
        /// The tries to tell the server that it may forget the job.
        clean_up: CleanUp,
    },
}

/// What is remembered between the landing of the last file and the end of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Concluding {
    /// What landed: one entry for each file of the manifest.
    pub landed: Arc<Vec<Landed>>,
    /// What the server counts of each requested type without a file.
    pub counted_types: TypeCounts,
    /// The tries to store `log.ndjson`.
    pub log: Storing,
    /// The tries to store the manifest.
    pub store: Storing,
}

/// What is remembered while the files that an Azure server wrote are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checking {
    /// The manifest whose files are checked.
    pub manifest: Arc<Manifest>,
    /// Whether the job was started by this run, as far as is known.
    pub owner: JobOwner,
    /// Whether the check takes so long that the status shows it.
    pub told: bool,
    /// When the check was started.
    pub check_began: Option<Timestamp>,
    /// Checks that failed in a way that may pass, and when the next try is due.
    pub check: Retry,
    /// Since when the run is to end, because the deadline has passed or `spec.cancel` is set.
    pub end_asked: Option<Timestamp>,
    /// The outcome of the check, once it is over.
    pub outcome: Option<CheckOutcome>,
    /// The tries to store the manifest.
    pub store: Storing,
}

/// The tries to store the manifest or the log beside the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storing {
    /// Tries that failed in a way that may pass, and when the next is due.
    pub retry: Retry,
    /// The SHA-256 of the stored bytes in hexadecimal, or why storing was given up; `None` until it is settled.
    pub outcome: Option<Result<String, String>>,
}

/// What is remembered while the server is asked to cancel the job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cancelling {
    /// Whether the job was started by this run, as far as is known.
    pub owner: JobOwner,
    /// Whether a landing may still run beside the reconcile, so that it has to be stopped.
    pub landing_runs: bool,
    /// When the next try is due; `status.cancellation` counts the tries.
    pub retry: Retry,
    /// Whether the job's status was requested before the cancel.
    pub looked: bool,
    /// Whether the server answered the cancel with 409: a manifest that is found after that is the job's own.
    pub already_finished: bool,
    /// How the next try of the cancel is counted.
    pub next_try: NextTry,
    /// Why the last try failed.
    pub failure: Option<String>,
}

/// How the next try of a cancel is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextTry {
    /// The next try counts as one more.
    #[default]
    Counts,
    /// The next try is already counted, because it was held back before it was sent.
    WasCounted,
}

/// What is remembered while a deleted object has nothing left but its finalizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Whether an event has already told what became of the job.
    pub told: bool,
}

/// What is remembered of a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The tries to tell the server that its job is no longer needed.
    pub clean_up: CleanUp,
}

/// The tries to tell the server that it may forget a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanUp {
    /// Whether the server was told that it may forget the job, or cannot be told.
    pub done: bool,
    /// Tries that failed, and when the next is due.
    pub retry: Retry,
}

impl Landing {
    /// The memory at the start of a landing.
    pub fn new(manifest: Manifest, tries: LandingTries, progress_at: Option<Timestamp>) -> Self {
        Self {
            manifest: Arc::new(manifest),
            held: false,
            told: false,
            tries,
            progress_at,
            task_generation: None,
            stage: LandingStage::Copying { task_since: None },
        }
    }

    /// Whether a task may land files beside the reconcile.
    pub fn task_runs(&self) -> bool {
        matches!(self.stage, LandingStage::Copying { task_since: Some(_) })
    }

    /// Moves all times back by as much as the clock of the machine was set back.
    pub fn set_back(&mut self, by: SignedDuration) {
        self.tries.set_back(by);
        set_back(&mut self.progress_at, by);
        match &mut self.stage {
            LandingStage::Copying { task_since } => set_back(task_since, by),
            LandingStage::Landed(concluding) => concluding.store.retry.set_back(by),
            LandingStage::GivingUp { clean_up, .. } => clean_up.retry.set_back(by),
        }
    }
}

impl Checking {
    /// The memory at the start of a check.
    pub fn new(manifest: Manifest, owner: JobOwner) -> Self {
        Self {
            manifest: Arc::new(manifest),
            owner,
            told: false,
            check_began: None,
            check: Retry::default(),
            end_asked: None,
            outcome: None,
            store: Storing::default(),
        }
    }

    /// Moves all times back by as much as the clock of the machine was set back.
    pub fn set_back(&mut self, by: SignedDuration) {
        set_back(&mut self.check_began, by);
        set_back(&mut self.end_asked, by);
        self.check.set_back(by);
        self.store.retry.set_back(by);
    }
}

impl Running {
    /// Moves all times back by as much as the clock of the machine was set back.
    pub fn set_back(&mut self, by: SignedDuration) {
        self.poll.set_back(by);
        set_back(&mut self.progress_at, by);
        if let Some(tries) = &mut self.refresh {
            tries.set_back(by);
        }
        if let Some((_, clean_up)) = &mut self.failed {
            clean_up.retry.set_back(by);
        }
        if let Some(Absence { since, by_server }) = self.absence {
            let (mut first, mut by_server) = (Some(since), by_server);
            set_back(&mut first, by);
            set_back(&mut by_server, by);
            self.absence = first.map(|since| Absence { since, by_server });
        }
    }
}
