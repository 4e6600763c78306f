//! What the core asks for, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::landing::{LandPlan, Landing};
use super::ledger::{JobFolder, Seen, StorageFailure, Verification, VerifyPlan};
use super::wire::{Patients, Reply, Request};
use crate::api::Reason;

/// One thing to do. The status that came with it is written first; if that write fails, the effect is not
/// performed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hold the object until its job is settled.
    AddFinalizer,
    /// Let it go.
    RemoveFinalizer,
    /// Delete the object itself (time to live).
    DeleteSelf,
    /// Make sure that a request could be sent: credentials there, token in hand, and the list of patients, if any.
    Authorize(Option<Patients>),
    /// Start the job.
    KickOff(Request),
    /// Ask for the job's status.
    Poll(Request),
    /// Cancel the job.
    Cancel(Request),
    /// Look for a job whose kick-off's answer was lost.
    FindJobs {
        /// Where to look; absent: containers named `export-*`.
        container: Option<String>,
        /// Folders that began at or after this.
        after: Timestamp,
    },
    /// Count the files that a running job wrote so far.
    CountFiles {
        /// The container.
        container: String,
        /// The job's id, which ends the folder's name; absent when the container is the job's own.
        job_id: Option<String>,
        /// When the job began: the folder's name begins with that time, or a little later.
        began: Timestamp,
    },
    /// Start, or look at, the check of the files.
    Verify(Arc<VerifyPlan>),
    /// Start, or look at, the landing of the files.
    Land(Arc<LandPlan>),
    /// End the landing, if there is one; what was begun can be gone on with.
    StopLanding,
    /// Ask the server how many resources of a type it has.
    CountType {
        /// The type.
        type_: String,
        /// The search.
        request: Request,
    },
    /// Store the SMART log beside the data.
    StoreLog {
        /// The container.
        container: String,
        /// The blob's name.
        path: String,
        /// Its content.
        body: Arc<Vec<u8>>,
    },
    /// Store the manifest beside the data; done is done, with the same content.
    StoreManifest {
        /// The container.
        container: String,
        /// The blob's name.
        path: String,
        /// Its content.
        body: Arc<Vec<u8>>,
    },
    /// Tell the server that a finished job is done with.
    CleanUp(Request),
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The finalizer is on, or off.
    FinalizerChanged,
    /// The object is being deleted.
    DeletedSelf,
    /// Whether a request could be sent.
    Authorized(Result<(), super::wire::Failure>),
    /// What came back.
    KickOff(Reply),
    /// What came back.
    Poll(Reply),
    /// What came back.
    Cancel(Reply),
    /// What was found.
    Jobs(Result<Vec<JobFolder>, StorageFailure>),
    /// What was seen.
    Files(Result<Seen, StorageFailure>),
    /// How the check stands.
    Verification(Verification),
    /// How the landing stands.
    Landing(Landing),
    /// It has ended, or there was none.
    LandingStopped,
    /// What came back.
    TypeCounted {
        /// The type.
        type_: String,
        /// The answer to the search.
        reply: Reply,
    },
    /// SHA-256 of the stored log, in hexadecimal.
    LogStored(Result<String, StorageFailure>),
    /// SHA-256 of the stored manifest, in hexadecimal.
    ManifestStored(Result<String, StorageFailure>),
    /// What came back.
    CleanedUp(Reply),
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// When something changes.
    AwaitChange,
    /// After so long; never zero.
    After(Duration),
}

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteType {
    /// As it should be.
    Normal,
    /// Somebody should read this.
    Warning,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is good news.
    pub type_: NoteType,
    /// One word.
    pub reason: Reason,
    /// What the operator did, as Kubernetes wants it: `KickOff`, `Poll`, `Cancel`, `Verify`, `Finish`.
    pub action: &'static str,
    /// One sentence.
    pub message: String,
    /// The folder that it is about, if it is about one: what is told of another folder is no repetition.
    pub folder: Option<String>,
}
