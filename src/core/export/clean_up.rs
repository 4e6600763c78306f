//! Tells a server that a job is no longer needed: a Bulk Data server may forget a finished job
//! (specification, "Bulk Data Delete Request"), and a job that was given up but may still run is cancelled.

use std::time::Duration;

use jiff::Timestamp;

use super::decision::Followers;
use super::flow::Next;
use super::memory::{CleanUp, Ended, JobOwner};
use super::phase::Phase;
use super::status::job_owner;
use super::turn::Turn;
use crate::api::{ConditionType, Reason};
use crate::core::answer::{self, CancelAnswer};
use crate::core::effect::{Effect, NoteType};
use crate::core::poll::retry_delay;
use crate::core::requests;
use crate::core::retry::{Retry, after};
use crate::core::wire::{Failure, FailureKind, Reply};

/// How often the operator tries to tell the server that a job is no longer needed.
const TRIES: u32 = 5;
/// The first delay between two tries; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(120);

/// Takes in the server's answer.
pub(super) fn observe(turn: &mut Turn<'_>, clean_up: &mut CleanUp, reply: Reply) {
    if let Err(Failure { kind: FailureKind::HeldBack { until }, .. }) = &reply {
        // The server asked another run to wait. That run may be waiting for this very request: some servers
        // run one export at a time until they are told that the last one is no longer needed.
        clean_up.retry.next_try = Some((*until).max(turn.later(turn.tuning.poll_floor)));
        return;
    }
    let tries = clean_up.retry.count();
    let accepted = match &reply {
        // A server that does not offer this has nothing to clean up.
        Ok(answer) => {
            answer.status < 500 && !matches!(answer::cancel(answer), CancelAnswer::Again(_))
                || answer.status == 405
        }
        Err(_) => false,
    };
    if accepted || clean_up.retry.failures >= TRIES {
        clean_up.done = true;
    } else {
        let wait = retry_delay(FIRST_DELAY, LONGEST_DELAY, tries, turn.jitter);
        clean_up.retry.next_try = Some(turn.later(wait));
    }
    if !accepted && clean_up.done {
        let why = match reply {
            Ok(answer) => format!("it answers {}", answer.status),
            Err(failure) => failure.message,
        };
        let message = format!("the server could not be told that the job is done with: {why}");
        turn.note(NoteType::Warning, Reason::CleanUpFailed, "Finish", &message);
    }
}

/// How long a run waits, after its end or after its cancel was requested, before it leaves a shared job to
/// others. Times in the status have whole seconds, so this must be at least one second.
const OTHERS_WRITE: Duration = Duration::from_secs(2);

/// The wait before a run leaves a shared job to others, if it ended, or was asked to cancel, less than
/// [`OTHERS_WRITE`] ago. Runs that end at the same moment see each other's status after this wait, so that
/// they do not all leave the job to one another.
pub(super) fn before_leaving(turn: &Turn<'_>, since: Timestamp) -> Option<Next> {
    let due = after(since, OTHERS_WRITE);
    (due > turn.now).then_some(Next::WaitUntil(due))
}

/// What is known of a job whose run, or attempt, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// The server has finished the job, and its files are complete.
    Complete,
    /// The server has finished the job, and its files are incomplete or cannot be fetched.
    Finished,
    /// The job was given up, and may still run.
    MayRun,
}

impl JobEnd {
    /// What the status of an ended run says about its job.
    pub(super) fn of_ended(turn: &Turn<'_>) -> Self {
        let given_up = [Reason::JobLost, Reason::StatusRefused];
        if turn.is_true(ConditionType::Complete) {
            Self::Complete
        } else if given_up.into_iter().any(|reason| turn.because(ConditionType::Failed, reason)) {
            Self::MayRun
        } else {
            Self::Finished
        }
    }
}

/// The request, or the wait for it, that tells the server that the job is no longer needed; `None` if nothing is to be
/// told. A finished job of an Azure server is never deleted, because its manifest would be lost. A job that is not
/// proven to be ours, or that another export follows, is left alone. A job that was cancelled is already settled.
pub(super) fn due(turn: &Turn<'_>, clean_up: &CleanUp, end: JobEnd) -> Option<Next> {
    // Only the last export that follows a job tells the server.
    let alone = turn.facts.followers == Followers::None;
    let server = turn.server().filter(|_| alone && !clean_up.done)?;
    let url = turn.status.job.as_ref()?.status_url.as_ref()?;
    let same_server = turn.status.server.as_ref().is_some_and(|s| s.url == server.spec().url);
    let ours = job_owner(&turn.status) == JobOwner::Own;
    if !same_server || !ours || turn.status.cancellation.is_some() {
        return None;
    }
    let wanted = match end {
        JobEnd::Complete => turn.lands() && server.deviations().cleans_up(true),
        JobEnd::Finished => turn.lands() && server.deviations().cleans_up(false),
        // If the job is not written down as unsettled, Azure itself has said how it ended.
        JobEnd::MayRun => turn.lands() || server.is_job(url) && turn.is_unsettled(url),
    };
    wanted.then(|| match clean_up.retry.due_after(turn.now) {
        Some(due) => Next::WaitUntil(due),
        None => Next::perform(Effect::CleanUp(requests::delete(url))),
    })
}

/// Stops telling the server once the object has been deleted for longer than the cancel grace.
pub(super) fn heed_deletion(turn: &mut Turn<'_>, clean_up: &mut CleanUp) {
    let Some(end) = turn.deletion_time().map(|time| after(time, turn.tuning.cancel_grace)) else { return };
    if clean_up.done || clean_up.retry == Retry::default() {
        return;
    }
    if end <= turn.now {
        clean_up.done = true;
        let message = "the server could not be told that the job is done with before the object went";
        turn.note(NoteType::Warning, Reason::CleanUpFailed, "Finish", message);
    } else {
        clean_up.retry.next_try = clean_up.retry.next_try.map(|due| due.min(end));
    }
}

/// The phase after an attempt, with the record of what the server has already been told.
pub(super) fn carried(phase: Phase, clean_up: CleanUp) -> Phase {
    match phase {
        Phase::Ended(_) => Phase::Ended(Ended { clean_up }),
        other => other,
    }
}
