//! Telling a server that its job is over for us: a Bulk Data server may forget a finished one (specification, "Bulk
//! Data Delete Request"), and one that was given up and may still run is cancelled.

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

/// How often the operator tries to tell the server that a job is over.
const TRIES: u32 = 5;
/// The first delay between two tries; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(120);

/// Takes in the server's answer.
pub(super) fn observe(turn: &mut Turn<'_>, clean_up: &mut CleanUp, reply: Reply) {
    if let Err(Failure { kind: FailureKind::HeldBack { until }, .. }) = &reply {
        // Another run was told to be patient. This request may be what it waits for: some servers run one export at a
        // time until they hear that the last one is done with.
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

/// How long after its end, or after its cancel was asked for, a run leaves a shared job to others. Statuses have whole
/// seconds, so it is at least one.
const OTHERS_WRITE: Duration = Duration::from_secs(2);

/// The wait before a run leaves a shared job to others, if it ended, or was asked to cancel, too short a time ago. Others
/// may end at the same moment: whoever looks again after its own write sees theirs, so that not each of them leaves the
/// job to the other.
pub(super) fn before_leaving(turn: &Turn<'_>, since: Timestamp) -> Option<Next> {
    let due = after(since, OTHERS_WRITE);
    (due > turn.now).then_some(Next::WaitUntil(due))
}

/// What is known of a job whose run, or attempt, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// The server has finished it, and its files are complete.
    Complete,
    /// The server has finished the job, and its files are incomplete or cannot be fetched.
    Finished,
    /// The job was given up, and may still run.
    MayRun,
}

impl JobEnd {
    /// What the status of a run that has ended says of its job.
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

/// What is to be done before the job can be forgotten, if the server is still to be told. A finished job of an Azure
/// server is never deleted: its manifest would be lost. A job that is not proven to be ours, or that another export
/// names, is left alone; one that was cancelled is settled already.
pub(super) fn due(turn: &Turn<'_>, clean_up: &CleanUp, end: JobEnd) -> Option<Next> {
    // The last one that follows a job tells the server.
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
        // Azure itself said what became of a job that is not written down as unsettled.
        JobEnd::MayRun => turn.lands() || server.is_job(url) && turn.is_unsettled(url),
    };
    wanted.then(|| match clean_up.retry.due_after(turn.now) {
        Some(due) => Next::WaitUntil(due),
        None => Next::perform(Effect::CleanUp(requests::delete(url))),
    })
}

/// Gives up telling the server when the object was deleted longer ago than a cancel would be tried for.
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

/// The phase after an attempt, which does not tell the server again what it was told before.
pub(super) fn carried(phase: Phase, clean_up: CleanUp) -> Phase {
    match phase {
        Phase::Ended(_) => Phase::Ended(Ended { clean_up }),
        other => other,
    }
}
