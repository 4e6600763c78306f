//! What the operator remembers of a run between two looks: one type for each phase, so that nothing is there that means
//! nothing in that phase. A restart forgets it all, and nothing is lost but patience.

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
    /// Requests that did not go out, or were refused for now.
    pub retry: Retry,
    /// When the credentials were last found to be there.
    pub authorized_at: Option<Timestamp>,
    /// The last kick-off never left: whether the server can be reached is asked before the next intent is written.
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

/// What is remembered while the kick-off is on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starting {
    /// The kick-off, until it was handed out to be sent.
    pub kick_off: Option<Request>,
    /// As in [`Waiting`]: an answer that asks for patience is counted on.
    pub retry: Retry,
}

/// Remembered while nobody knows whether the kick-off started a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertain {
    /// Why nobody knows whether a job runs.
    pub doubt: Doubt,
    /// Searches of the container for the job.
    pub search: Retry,
}

/// Why nobody knows whether a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The operator was stopped before it wrote down an answer. The user was not told yet.
    Untold,
    /// The kick-off was sent, and no definite answer to it came.
    AnswerLost,
    /// The server accepted the kick-off and named no usable status URL.
    NoStatusUrl,
}

/// Whose a job is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobOwner {
    /// The server named this job in answer to the kick-off, or its manifest proved whose it is.
    #[default]
    Own,
    /// The job was found in the container. Its manifest has not proved yet whose it is.
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
    /// Polls in a row that found the job running.
    pub polls: u32,
    /// This process has followed the job since its kick-off, so `polls` are all of them.
    pub since_kick_off: bool,
    /// Answers in a row that were refusals or made no sense.
    pub nonsense: u32,
    /// When progress was last looked for or written.
    pub progress_at: Option<Timestamp>,
    /// The manifest so far, while further pages of it are to come.
    pub pages: Option<Arc<Pages>>,
    /// Since when the status URL leads to nothing, as long as it does.
    pub absence: Option<Absence>,
    /// The server says that the job failed in a way that may pass, and is told to forget it before the next attempt.
    pub failed: Option<(JobFailure, CleanUp)>,
    /// The failed tries of the landing, while a fresh manifest is awaited because the links of the last one have
    /// expired.
    pub refresh: Option<LandingTries>,
}

/// Since when a status URL leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Since when each answer, of the FHIR server or of something before it, has been 404 or 410.
    pub since: Timestamp,
    /// Since when each of these was the FHIR server's own answer; `None` if the last one was not.
    pub by_server: Option<Timestamp>,
}

/// The failed tries of a landing, counted across fresh manifests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LandingTries {
    /// Tries in a row that brought nothing, and when the next is due.
    pub retry: Retry,
    /// Fresh manifests in a row that brought nothing.
    pub refreshes: u32,
    /// When the first of the tries failed that have neither landed a file nor kept a further byte since.
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

/// Remembered while the operator lands the files of a Bulk Data server.
#[derive(Clone, Debug, PartialEq)]
pub struct Landing {
    /// The manifest whose files land.
    pub manifest: Arc<Manifest>,
    /// `spec.suspend` holds the landing.
    pub held: bool,
    /// The landing takes so long that the status tells of it.
    pub told: bool,
    /// How far the landing came, and how it failed so far.
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
        /// Since when a task copies them beside the reconcile, as far as is known.
        task_since: Option<Timestamp>,
    },
    /// Every file has landed: they are judged, and the manifest is stored.
    Landed(Concluding),
    /// This attempt cannot land. The server is told to forget the job before the next attempt begins.
    GivingUp {
        /// Why, as a reason and one sentence.
        why: (Reason, String),
        /// The tries to tell the server that it may forget the job.
        clean_up: CleanUp,
    },
}

/// Remembered between the last file and the end of a landing.
#[derive(Clone, Debug, PartialEq)]
pub struct Concluding {
    /// What landed: one entry for each file of the manifest.
    pub landed: Arc<Vec<Landed>>,
    /// What the server counts of the types that no file came of.
    pub counted_types: TypeCounts,
    /// The tries to store `log.ndjson`.
    pub log: Storing,
    /// The tries to store the manifest.
    pub store: Storing,
}

/// Remembered while the files that an Azure server wrote are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checking {
    /// The manifest whose files are checked.
    pub manifest: Arc<Manifest>,
    /// Whether the job was started by this run, as far as is known.
    pub owner: JobOwner,
    /// The check takes so long that the status tells of it.
    pub told: bool,
    /// When the check was begun.
    pub check_began: Option<Timestamp>,
    /// Checks that failed in a way that may pass, and when the next try is due.
    pub check: Retry,
    /// Since when the run should end: the deadline has passed, or `spec.cancel` is set.
    pub end_asked: Option<Timestamp>,
    /// The outcome of the check, once it is over.
    pub outcome: Option<CheckOutcome>,
    /// The tries to store the manifest.
    pub store: Storing,
}

/// Remembered of storing the manifest or the log beside the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storing {
    /// Tries that failed in a way that may pass, and when the next is due.
    pub retry: Retry,
    /// The SHA-256 of what was stored in hexadecimal, or why it was given up; `None` while it is not settled.
    pub outcome: Option<Result<String, String>>,
}

/// Remembered while the server is asked to cancel the job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cancelling {
    /// Whether the job was started by this run, as far as is known.
    pub owner: JobOwner,
    /// A landing may still run beside the reconcile and has to be stopped.
    pub landing_runs: bool,
    /// When the next try is due; `status.cancellation` counts the tries.
    pub retry: Retry,
    /// The job's status was asked for before the cancel.
    pub looked: bool,
    /// The server answered the cancel with 409: a manifest that is found now is the job's own.
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
    /// The next try was counted already: it was held back before it was sent.
    WasCounted,
}

/// What is remembered while nothing is left of a deleted object but its finalizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// An event has told already what became of the job.
    pub told: bool,
}

/// What is remembered of a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How the server takes it that its job is done with.
    pub clean_up: CleanUp,
}

/// Remembered of telling the server that it may forget a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanUp {
    /// The server was told that it may forget the job, or cannot be told.
    pub done: bool,
    /// Tries that failed, and when the next is due.
    pub retry: Retry,
}

impl Landing {
    /// At the begin of a landing.
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
    /// At the begin of a check.
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
