//! How a run moves from phase to phase, and what its status shows in each: the tables that generate
//! `docs/states.md`. Tests compare them with what runs do, in both directions.

use super::phase::PhaseName;
use crate::api::{ConditionStatus, ConditionType, Reason, RunState};

/// A move from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The phase that the run leaves.
    pub from: PhaseName,
    /// The phase that the run enters.
    pub to: PhaseName,
    /// What makes the run move, in words for users.
    pub when: &'static str,
}

/// A condition that a run sets when it enters a phase, or while it is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The phase that the row is about.
    pub phase: PhaseName,
    /// The condition that a run may show in the phase.
    pub condition: ConditionType,
    /// The status that the condition has then.
    pub status: ConditionStatus,
    /// The reasons that the condition may have with this status.
    pub reasons: &'static [Reason],
    /// Whether the reason may also be that of a failed request, an answer of the server, or a storage failure.
    pub or_of_a_failure: bool,
}

/// Records what runs of this thread show, for the tests that compare it with [`SHOWN`].
#[cfg(test)]
pub(super) mod witness {
    use std::cell::RefCell;

    use super::{ConditionStatus, ConditionType, PhaseName, Reason};

    /// A condition, and the phase that showed it.
    pub(in crate::core::export) type Seen = (PhaseName, ConditionType, ConditionStatus, Reason);

    thread_local! {
        static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
    }

    /// Records the conditions that a phase showed.
    pub(in crate::core::export) fn see(phase: PhaseName, set: Vec<(ConditionType, ConditionStatus, Reason)>) {
        SEEN.with_borrow_mut(|seen| seen.extend(set.into_iter().map(|(c, s, r)| (phase, c, s, r))));
    }

    /// Takes what was recorded since the last call.
    pub(in crate::core::export) fn take() -> Vec<Seen> {
        SEEN.take()
    }
}

macro_rules! transitions {
    ($($from:ident => $to:ident: $when:literal;)*) => {
        /// Every move from one phase to another.
        pub const TRANSITIONS: &[Transition] = &[
            $(Transition { from: PhaseName::$from, to: PhaseName::$to, when: $when },)*
        ];
    };
}

transitions! {
    Waiting => Starting: "Nothing holds the run back: the intent to start a job is written, and the kick-off goes out.";
    Waiting => Leaving: "The object is deleted.";
    Waiting => Ended: "The request is invalid, or the server cannot do it; kickOffBefore or the deadline has passed; \
        or spec.cancel is set.";
    Starting => Waiting: "The kick-off never left, or the server refused it for now, or it failed in a way that may \
        pass.";
    Starting => Uncertain: "No definite answer came to the kick-off, the operator was stopped before it was written \
        down, or the answer names no usable status URL.";
    Starting => Running: "The server accepted the kick-off and named the status URL of the job.";
    Starting => Ended: "The server rejected the request for good, or the last attempt failed.";
    Uncertain => Waiting: "No job was found, and onUncertainKickOff is Retry: another attempt follows.";
    Uncertain => Running: "Exactly one job in the container can be that of this kick-off: it is followed, and its \
        manifest must prove whose it is.";
    Uncertain => Leaving: "The object is deleted.";
    Uncertain => Ended: "No job was found and onUncertainKickOff is Fail, no attempt is left, or the server named no \
        status URL; the deadline has passed; or spec.cancel is set.";
    Running => Waiting: "The job failed in a way that may pass: another attempt follows.";
    Running => Landing: "The job is done, and its manifest is at hand (dialect BulkData).";
    Running => Checking: "The job is done, and its manifest is at hand (dialect Azure).";
    Running => Cancelling: "spec.cancel is set, the deadline has passed, or the object is deleted.";
    Running => Leaving: "The object is deleted, and deletionPolicy is Abandon.";
    Running => Ended: "The job failed for good, the server does not know it any more, or it will not tell its status \
        or its manifest.";
    Landing => Waiting: "The files cannot be landed: another attempt follows.";
    Landing => Running: "The links of the manifest have expired, or the FhirServer is gone: the job is asked for its \
        manifest anew.";
    Landing => Cancelling: "spec.cancel is set, the deadline has passed, or the object is deleted.";
    Landing => Leaving: "The object is deleted, and deletionPolicy is Abandon.";
    Landing => Ended: "The files have landed and were judged, or they cannot be landed and no attempt is left.";
    Checking => Waiting: "The manifest of a job that was found in the container names no files, so it proves \
        nothing: another attempt follows.";
    Checking => Running: "The FhirServer is gone: the job is asked for its manifest anew when it is back.";
    Checking => Cancelling: "The FhirServer is gone while a cancel is under way.";
    Checking => Leaving: "The object is deleted: the job is done, so there is nothing to cancel.";
    Checking => Ended: "The files were checked, or the job turned out to be another export's.";
    Cancelling => Checking: "The server had finished the job before it could be cancelled (dialect Azure).";
    Cancelling => Leaving: "The job of a deleted object is settled, its cancel was given up, or deletionPolicy is \
        Abandon.";
    Cancelling => Ended: "The server agreed to cancel the job, it had ended before, or the cancel was given up.";
}

macro_rules! shown {
    ($($phase:ident { $($condition:ident $status:ident: [$($reason:ident),*] $(or $failure:ident)?;)* })*) => {
        /// Every condition that a run sets when it enters a phase, or while it is in it.
        pub const SHOWN: &[Shown] = &[$($(Shown {
            phase: PhaseName::$phase,
            condition: ConditionType::$condition,
            status: ConditionStatus::$status,
            reasons: &[$(Reason::$reason),*],
            or_of_a_failure: shown!(@failure $($failure)?),
        },)*)*];
    };
    (@failure) => { false };
    (@failure $failure:ident) => { true };
}

// `or failure`: the reason may also be that of a failed request, an answer of the server, or a storage failure.
shown! {
    Waiting {
        Accepted True: [Allowed];
        Accepted False: [NamespaceNotAllowed, NotAllowed];
        Reconciling True: [ServerNotFound, ServerDeleting, Probing, WrongDialect, NoStorageAccess, Queued, Starting,
            WaitingToRetry] or failure;
        Reconciling False: [NamespaceNotAllowed, NotAllowed, Suspended, ServerSuspended];
        Suspended True: [Suspended, ServerSuspended];
        Suspended False: [Resumed];
        ServerReachable True: [Reachable];
        ServerReachable False: [] or failure;
        KickOffUncertain True: [NoJobFound];
        Stalled True: [NamespaceNotAllowed, NotAllowed];
    }
    Starting {
        Accepted True: [Allowed];
        Reconciling True: [Starting];
        Suspended False: [Resumed];
    }
    Uncertain {
        KickOffUncertain True: [AnswerLost, NoStatusURL];
        Reconciling True: [AnswerLost, NoStatusURL];
        ServerReachable True: [Reachable];
        ServerReachable False: [ServerNotFound, ServerChanged] or failure;
    }
    Running {
        Reconciling False: [KickedOff];
        Suspended True: [Suspended, ServerSuspended];
        Suspended False: [Resumed];
        ServerReachable True: [Reachable];
        ServerReachable False: [ServerNotFound, ServerChanged] or failure;
        KickOffUncertain True: [JobAdopted];
    }
    Landing {
        Reconciling True: [StorageMismatch] or failure;
        Reconciling False: [KickedOff];
        Suspended True: [Suspended, ServerSuspended];
        Suspended False: [Resumed];
        ServerReachable True: [Reachable];
        ServerReachable False: [] or failure;
        Verified True: [CountsMatch];
        Verified Unknown: [PartlyChecked, StorageMismatch, StorageUnreachable, NoStorageAccess];
    }
    Checking {
        ServerReachable True: [Reachable];
        KickOffUncertain False: [JobConfirmed];
        Verified True: [CountsMatch];
        Verified Unknown: [PartlyChecked, StorageUnreachable, NoStorageAccess, TaskPanicked];
    }
    Cancelling {
        Reconciling True: [Cancelling];
    }
    Leaving {
        Reconciling True: [Cancelling];
    }
    Ended {
        Complete True: [Exported, CompletedWithErrors];
        Failed True: [InvalidSpec, UnsupportedByServer, StartWindowMissed, DeadlineExceeded, KickOffUncertain,
            NoStatusURL, JobLost, JobNotOurs, StatusRefused, InvalidManifest, ServerReportedErrors, StorageMismatch,
            VerificationFailed, Cancelled, CancelUnconfirmed] or failure;
        Stalled True: [InvalidSpec, UnsupportedByServer, StartWindowMissed, DeadlineExceeded, KickOffUncertain,
            NoStatusURL, JobLost, JobNotOurs, StatusRefused, InvalidManifest, ServerReportedErrors, StorageMismatch,
            VerificationFailed, CancelUnconfirmed] or failure;
        Reconciling False: [Finished];
        Suspended False: [Finished];
        ServerReachable True: [Reachable];
        KickOffUncertain True: [NoJobFound];
        Verified True: [CountsMatch];
        Verified False: [FileMissing, FileTruncated, WrongType, CountMismatch, ChecksumMismatch, TypesMissing];
        Verified Unknown: [PartlyChecked, StorageUnreachable, NoStorageAccess, TaskPanicked];
    }
}

impl PhaseName {
    /// What happens in the phase, in one sentence for users.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Waiting => {
                "No job was started yet: something in the cluster is missing, the run is held or waits for a place, \
                 or its next attempt is due later."
            }
            Self::Starting => {
                "The intent to start a job is written in the status, and the kick-off is on its way."
            }
            Self::Uncertain => {
                "The intent is written, and nobody knows whether the server started a job. It is looked for in the \
                 container, and never assumed."
            }
            Self::Running => "The server works on the job, and is asked for its status.",
            Self::Landing => {
                "The operator copies the files of a Bulk Data server into the container, judges them, and stores the \
                 manifest beside them."
            }
            Self::Checking => {
                "The operator checks the files that an Azure server wrote, and stores the manifest beside them."
            }
            Self::Cancelling => {
                "The server is asked to cancel the job, until it agrees or the grace is over."
            }
            Self::Leaving => "The object is being deleted, and its finalizer is removed.",
            Self::Ended => {
                "The run is complete, failed or cancelled. Its status never changes again; a Bulk Data server is \
                 told that it may forget the job, and the object is deleted when its time to live is over."
            }
        }
    }

    /// The words that `status.state` may show in the phase.
    pub const fn words(self) -> &'static [RunState] {
        match self {
            Self::Waiting => &[RunState::Waiting, RunState::Queued, RunState::Suspended],
            Self::Starting => &[RunState::Starting],
            Self::Uncertain => &[RunState::Uncertain],
            Self::Running => {
                &[RunState::Running, RunState::Suspended, RunState::Landing, RunState::Verifying]
            }
            Self::Landing => &[RunState::Running, RunState::Suspended, RunState::Landing],
            Self::Checking => &[RunState::Running, RunState::Verifying, RunState::Cancelling],
            Self::Cancelling => &[RunState::Cancelling],
            Self::Leaving => &RunState::ALL,
            Self::Ended => &[RunState::Complete, RunState::Failed, RunState::Cancelled],
        }
    }
}
