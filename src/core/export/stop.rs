//! How a run that has a job is stopped before its end: by `spec.cancel`, by its deadline, or by deletion.

use super::memory::{Cancelling, Leaving};
use super::phase::Phase;
use super::turn::Turn;
use crate::api::{CancelReason, Cancellation, DeletionPolicy, Job, Reason};
use crate::core::condition::whole_seconds;
use crate::core::effect::NoteType;

/// Why a running job has to be stopped now, if it has to be.
pub(super) fn asked_for(turn: &Turn<'_>) -> Option<CancelReason> {
    if turn.deleting() {
        Some(CancelReason::Deleted)
    } else if turn.cancel_requested() {
        Some(CancelReason::Requested)
    } else if turn.out_of_time() {
        Some(CancelReason::Deadline)
    } else {
        None
    }
}

/// Begins to cancel the job, or leaves it alone where the object is being deleted and `deletionPolicy` says so.
pub(super) fn stop(turn: &mut Turn<'_>, reason: CancelReason, cancelling: Cancelling) -> Phase {
    if reason == CancelReason::Deleted
        && let Some(leaving) = abandoned(turn)
    {
        return leaving;
    }
    request(turn, reason);
    Phase::Cancelling(cancelling)
}

/// Writes that a cancel was asked for, and why. One that is under way goes on for the new reason.
pub(super) fn request(turn: &mut Turn<'_>, reason: CancelReason) {
    let request_time = whole_seconds(turn.now);
    let cancellation = turn.status.cancellation.get_or_insert(Cancellation {
        request_time,
        reason,
        tries: 0,
        outcome: None,
    });
    cancellation.reason = reason;
}

/// Lets a deleted object go with its job running on, if `deletionPolicy` is `Abandon`.
pub(super) fn abandoned(turn: &mut Turn<'_>) -> Option<Phase> {
    if turn.spec().deletion_policy != Some(DeletionPolicy::Abandon) {
        return None;
    }
    let job = turn.status.job.as_ref().map(job_name)?;
    let message = format!("{job} is left alone, as deletionPolicy Abandon says");
    turn.note(NoteType::Normal, Reason::Abandoned, "Cancel", &message);
    Some(Phase::Leaving(Leaving { told: true }))
}

/// What a job is called in messages.
pub(super) fn job_name(job: &Job) -> String {
    job.id.as_ref().map_or_else(|| "the job".to_owned(), |id| format!("job {id}"))
}
