//! What a run asks the edges to do, and what they report back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::landing::{LandFailure, LandFailureKind, LandPlan, LandProgress, LandState};
use super::ledger::{JobFolder, Seen, StorageFailure, StorageFailureKind, Verification, VerifyPlan};
use super::seats::Lane;
use super::wire::{Failure, FailureKind, Patients, Reply, Request, Sent};
use crate::api::{FhirServer, Reason};

/// One thing that a run asks the edges to do. The status that was decided with it is written first if
/// `export::must_write_first` says so; if that write fails, the effect is not performed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Add the finalizer, so that the object stays until its job is settled.
    AddFinalizer,
    /// Remove the finalizer.
    RemoveFinalizer,
    /// Delete the object, because its time to live is over.
    DeleteSelf,
    /// Check that a kick-off could be sent.
    Authorize(Check),
    /// Send the kick-off.
    KickOff(Request),
    /// Ask for the job's status.
    Poll(Request),
    /// Ask the server to cancel the job.
    Cancel(Request),
    /// Look in the container for a job whose kick-off was not answered.
    FindJobs {
        /// The container to look in; `None`: every container named `export-*`.
        container: Option<String>,
        /// Only folders that were begun at or after this time count.
        after: Timestamp,
    },
    /// Count the files that a running job has written so far.
    CountFiles {
        /// The container to count in.
        container: String,
        /// The job's id, with which the folder's name ends; `None` if the container belongs to the job alone.
        job_id: Option<String>,
        /// When the job began. The folder's name begins with that time, or a little later.
        began: Timestamp,
    },
    /// Start the check of the files beside the reconcile, or report its state if it runs.
    Verify(Arc<VerifyPlan>),
    /// Start the landing of the files beside the reconcile, or report its state if it runs.
    Land(Arc<LandPlan>),
    /// Stop the landing, if one runs. A later landing continues where it stopped.
    StopLanding,
    /// Ask the server how many resources of one type it holds.
    CountType {
        /// The resource type.
        type_: String,
        /// The search that counts them.
        request: Request,
    },
    /// Store SMART's `log.ndjson` beside the data.
    StoreLog {
        /// The container to store it in.
        container: String,
        /// The blob's name.
        path: String,
        /// The content of the log.
        body: Arc<Vec<u8>>,
    },
    /// Store the manifest beside the data. A manifest with the same content that is already there is a success.
    StoreManifest {
        /// The container to store it in.
        container: String,
        /// The blob's name.
        path: String,
        /// The content of the manifest.
        body: Arc<Vec<u8>>,
    },
    /// Tell the server that it may forget a finished job.
    CleanUp(Request),
}

/// What must be available before a kick-off is sent. The credentials and a token are always checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The list of patients to read, if the export names one.
    pub patients: Option<Patients>,
    /// A request without an effect that shows whether the server can be connected to. It is sent after a
    /// kick-off that never left, so that an unreachable server does not cost a status write for each try.
    pub reach: Option<Request>,
}

/// The result of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The finalizer was added or removed.
    FinalizerChanged,
    /// The deletion of the object was accepted.
    DeletedSelf,
    /// Whether a request could be sent.
    Authorized(Result<(), Failure>),
    /// The server's answer to the kick-off, or why there is none.
    KickOff(Reply),
    /// The server's answer about the job's status, or why there is none.
    Poll(Reply),
    /// The server's answer to the cancel, or why there is none.
    Cancel(Reply),
    /// The folders that may be the job's, or why the container could not be searched.
    Jobs(Result<Vec<JobFolder>, StorageFailure>),
    /// The files counted so far, or why the container could not be listed.
    Files(Result<Seen, StorageFailure>),
    /// The state of the check of the files.
    Verification(Verification),
    /// The state of the landing of the files.
    Landing(LandState),
    /// No landing runs any more.
    LandingStopped,
    /// The answer to the search that counts one type.
    TypeCounted {
        /// The resource type.
        type_: String,
        /// The server's answer, or why there is none.
        reply: Reply,
    },
    /// The SHA-256 of the stored log in hexadecimal, or why it was not stored.
    LogStored(Result<String, StorageFailure>),
    /// The SHA-256 of the stored manifest in hexadecimal, or why it was not stored.
    ManifestStored(Result<String, StorageFailure>),
    /// The server's answer to the clean-up, or why there is none.
    CleanedUp(Reply),
}

impl Effect {
    /// The lane that the request of this effect waits in. `None` for an effect on the cluster or on a task of
    /// this process, which sends no request of its own.
    pub fn lane(&self, server: &FhirServer) -> Option<Lane> {
        let base = || server.spec.url.trim_end_matches('/').to_owned();
        match self {
            Self::Authorize(_) | Self::KickOff(_) | Self::Poll(_) | Self::CountType { .. } => {
                Some(Lane::Server(base()))
            }
            Self::Cancel(_) | Self::CleanUp(_) => Some(Lane::Cancels(base())),
            Self::FindJobs { .. }
            | Self::CountFiles { .. }
            | Self::StoreLog { .. }
            | Self::StoreManifest { .. } => {
                Some(Lane::Storage(server.metadata.uid.clone().unwrap_or_default()))
            }
            Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::DeleteSelf
            | Self::Verify(_)
            | Self::Land(_)
            | Self::StopLanding => None,
        }
    }

    /// Whether an operator that is told to stop waits for the answer. The next operator can repeat
    /// a request that only reads.
    pub fn is_waited_for(&self) -> bool {
        match self {
            Self::KickOff(_)
            | Self::Cancel(_)
            | Self::CleanUp(_)
            | Self::StoreLog { .. }
            | Self::StoreManifest { .. } => true,
            Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::DeleteSelf
            | Self::Authorize(_)
            | Self::Poll(_)
            | Self::FindJobs { .. }
            | Self::CountFiles { .. }
            | Self::Verify(_)
            | Self::Land(_)
            | Self::StopLanding
            | Self::CountType { .. } => false,
        }
    }

    /// What the run observes if the FhirServer vanished between the decision and the effect. Effects on the
    /// cluster and on tasks of this process need no FhirServer and report their usual result.
    pub fn without_server(&self) -> Observation {
        let failure = Failure {
            sent: Sent::No,
            reason: Reason::ServerNotFound,
            message: "the FhirServer is gone; restore it".to_owned(),
            kind: FailureKind::Missing,
        };
        let storage = StorageFailure { kind: StorageFailureKind::Missing, message: failure.message.clone() };
        match self {
            Self::AddFinalizer | Self::RemoveFinalizer => Observation::FinalizerChanged,
            Self::DeleteSelf => Observation::DeletedSelf,
            Self::StopLanding => Observation::LandingStopped,
            Self::Authorize(_) => Observation::Authorized(Err(failure)),
            Self::KickOff(_) => Observation::KickOff(Err(failure)),
            Self::Poll(_) => Observation::Poll(Err(failure)),
            Self::Cancel(_) => Observation::Cancel(Err(failure)),
            Self::CleanUp(_) => Observation::CleanedUp(Err(failure)),
            Self::FindJobs { .. } => Observation::Jobs(Err(storage)),
            Self::CountFiles { .. } => Observation::Files(Err(storage)),
            Self::Verify(_) => Observation::Verification(Verification::Failed(storage)),
            Self::StoreLog { .. } => Observation::LogStored(Err(storage)),
            Self::StoreManifest { .. } => Observation::ManifestStored(Err(storage)),
            Self::CountType { type_, .. } => {
                Observation::TypeCounted { type_: type_.clone(), reply: Err(failure) }
            }
            Self::Land(_) => Observation::Landing(LandState::Failed(LandFailure {
                kind: LandFailureKind::Missing,
                reason: failure.reason,
                message: failure.message,
                progress: LandProgress::default(),
                obstructed: Vec::new(),
            })),
        }
    }
}

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// When it, or something it depends on, changes.
    AwaitChange,
    /// After this time, which is never zero.
    After(Duration),
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteType {
    /// Everything is as it should be.
    Normal,
    /// Somebody should read this.
    Warning,
}

/// An event to publish about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How serious the event is.
    pub type_: NoteType,
    /// The reason, one word.
    pub reason: Reason,
    /// What the operator did, as Kubernetes wants it: `KickOff`, `Poll`, `Cancel`, `Verify`, `Finish`.
    pub action: &'static str,
    /// One sentence, at most 1024 bytes.
    pub message: String,
    /// The folder that the event is about, if any. Events about different folders are not repetitions of each other.
    pub folder: Option<String>,
}
