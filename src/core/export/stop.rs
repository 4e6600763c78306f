//! How a run that has a job is stopped before its end: by `spec.cancel`, by its deadline, or by deletion.

use super::end;
use super::memory::{Cancelling, Leaving};
use super::phase::Phase;
use super::summary::remaining;
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

/// Starts to cancel the job, or leaves it alone if the object is being deleted and `deletionPolicy` is `Abandon`.
pub(super) fn stop(turn: &mut Turn<'_>, reason: CancelReason, cancelling: Cancelling) -> Phase {
    if reason == CancelReason::Deleted
        && let Some(leaving) = abandoned(turn)
    {
        return leaving;
    }
    request(turn, reason);
    Phase::Cancelling(cancelling)
}

/// Writes into the status that a cancel was requested, and why. A cancel that is under way continues with the new
/// reason.
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

/// Releases a deleted object while its job continues, if `deletionPolicy` is `Abandon`; otherwise `None`.
pub(super) fn abandoned(turn: &mut Turn<'_>) -> Option<Phase> {
    if turn.spec().deletion_policy != Some(DeletionPolicy::Abandon) {
        return None;
    }
    let job = turn.status.job.as_ref().map(job_name)?;
    let message = format!("{job} is left alone, as deletionPolicy Abandon says");
    turn.note(NoteType::Normal, Reason::Abandoned, "Cancel", &message);
    Some(Phase::Leaving(Leaving { told: turn.status.unsettled_jobs.is_empty() }))
}

/// Ends a run whose cancel is settled or given up. `message` says what became of the job. `told` is the
/// reason that a requested cancel shows. A run that was cancelled at its deadline fails with
/// `DeadlineExceeded`; a deleted object leaves.
pub(super) fn over(turn: &mut Turn<'_>, told: Reason, message: &str) -> Phase {
    let left = remaining(turn.status.job.as_ref(), turn.status.output.as_ref(), turn.lands());
    let message = format!("{message}{left}");
    match turn.status.cancellation.as_ref().map(|cancellation| cancellation.reason) {
        Some(CancelReason::Requested) => end::fail(turn, told, &message),
        Some(CancelReason::Deadline) => {
            let message = format!("the export took longer than activeDeadlineSeconds; {message}");
            end::fail(turn, Reason::DeadlineExceeded, &message)
        }
        Some(CancelReason::Deleted) | None => {
            // When the object leaves, an event tells about the jobs of earlier attempts that may still run.
            let (type_, this) =
                if told == Reason::Cancelled { (NoteType::Normal, 0) } else { (NoteType::Warning, 1) };
            turn.note(type_, told, "Cancel", &message);
            Phase::Leaving(Leaving { told: turn.status.unsettled_jobs.len() <= this })
        }
    }
}

/// The name of a job in messages.
pub(super) fn job_name(job: &Job) -> String {
    job.id.as_ref().map_or_else(|| "the job".to_owned(), |id| format!("job {id}"))
}
