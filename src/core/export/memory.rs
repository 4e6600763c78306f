//! What the operator remembers of a run between two looks; a restart forgets it, and nothing is lost but patience.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::Reason;
use crate::core::bulk::manifest::Pages;
use crate::core::landing::{LandProgress, Landed};
use crate::core::ledger::Checked;
use crate::core::manifest::Manifest;

/// What a check of the files saw, or why it could not be done.
pub type Verified = Result<Arc<Vec<Checked>>, (Reason, String)>;

/// What the operator remembers of a run between two looks; a restart forgets it, and nothing is lost but
/// patience.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// When the run was last looked at, by the clock of then.
    pub last_look: Option<Timestamp>,
    /// When to poll next.
    pub next_poll: Option<Timestamp>,
    /// Polls in a row that found the job running.
    pub polls: u32,
    /// Requests in a row that failed in a way that may pass.
    pub failures: u32,
    /// Answers in a row that were refusals or nonsense.
    pub nonsense: u32,
    /// When to try again on the way to the kick-off.
    pub retry_at: Option<Timestamp>,
    /// Credentials were there at that time.
    pub authorized_at: Option<Timestamp>,
    /// When the container was last looked at for progress.
    pub progress_at: Option<Timestamp>,
    /// The manifest, once the job is done.
    pub manifest: Option<Arc<Manifest>>,
    /// What the check of the files saw, or why it could not be done.
    pub verified: Option<Verified>,
    /// When the check was begun.
    pub verify_began: Option<Timestamp>,
    /// Tries of the check that failed in a way that may pass.
    pub verify_failures: u32,
    /// When to try the check again after a failure.
    pub verify_at: Option<Timestamp>,
    /// Tries to store the manifest that failed in a way that may pass.
    pub store_failures: u32,
    /// When to try that again.
    pub store_at: Option<Timestamp>,
    /// What came of storing the manifest.
    pub stored: Option<Result<String, String>>,
    /// The manifest so far, while further pages are to come.
    pub pages: Option<Arc<Pages>>,
    /// Of the landing.
    pub land: LandMemory,
    /// Of the word that the job is done with.
    pub clean_up: CleanUpMemory,
    /// When to try the cancel again.
    pub cancel_at: Option<Timestamp>,
    /// The job was looked at before the cancel.
    pub looked: bool,
    /// The cancel's answer was 409: a manifest that is found now is the job's own.
    pub already_finished: bool,
    /// The last try of a cancel was counted, and held back before it was sent.
    pub cancel_held_back: bool,
    /// The last failure of a cancel, for its report.
    pub cancel_failure: Option<String>,
}

/// What is remembered of a landing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LandMemory {
    /// What landed.
    pub landed: Option<Arc<Vec<Landed>>>,
    /// When the landing was begun, and is not known to have ended.
    pub began: Option<Timestamp>,
    /// How far it came: at the begin of another try files that lie there are counted anew.
    pub progress: LandProgress,
    /// Tries that failed in a way that may pass, without a file between them.
    pub failures: u32,
    /// Fresh manifests in a row that brought no file.
    pub refreshes: u32,
    /// When to try again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How many resources of a type the server says to have, where it says so.
    pub counted_types: BTreeMap<String, Option<u64>>,
    /// The log was stored, or could not be.
    pub logged: bool,
    /// Why this attempt is given up, once the server was told that it is done with.
    pub giving_up: Option<(Reason, String)>,
}

/// What is remembered of telling the server that a job is done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanUpMemory {
    /// It was told, or cannot be.
    pub done: bool,
    /// How often it was tried.
    pub tries: u32,
    /// When to try again.
    pub retry_at: Option<Timestamp>,
}
