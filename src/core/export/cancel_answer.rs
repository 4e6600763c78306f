//! What the server says while a job is being cancelled: its answers to status requests and to the cancel itself.

use std::time::Duration;

use super::ask;
use super::attempt;
use super::memory::{Cancelling, Checking, NextTry};
use super::phase::Phase;
use super::stop::{self, job_name};
use super::turn::Turn;
use crate::api::{CancelOutcome, CancelReason, Reason};
use crate::core::answer::{self, CancelAnswer, JobFailure, StatusAnswer};
use crate::core::manifest::Manifest;
use crate::core::poll::retry_delay;
use crate::core::wire::{Answer, Failure, FailureKind, Reply};

/// The first delay between two tries; it doubles.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Takes in the job's status, requested before a cancel, or after a cancel whose answer left open
/// whether the job has ended.
pub(super) fn looked(turn: &mut Turn<'_>, mut memory: Cancelling, reply: Reply) -> Phase {
    let asked_before = turn.status.cancellation.as_ref().is_some_and(|c| c.tries > 0);
    memory.looked = true;
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            if asked_before {
                not_yet(turn, &mut memory, &failure.message);
            }
            return Phase::Cancelling(memory);
        }
    };
    match ask::status_answer(turn, &answer) {
        StatusAnswer::Done if turn.lands() => return settle(turn, memory, CancelOutcome::AlreadyFinished),
        StatusAnswer::Done => return done(turn, memory, &answer, asked_before),
        StatusAnswer::JobFailed(failure) => return job_failed(turn, memory, failure),
        StatusAnswer::Gone(_) => return settle(turn, memory, CancelOutcome::Confirmed),
        StatusAnswer::Running if asked_before => {
            not_yet(turn, &mut memory, "the server says that the job still runs");
        }
        StatusAnswer::NotNow(refusal)
        | StatusAnswer::Transient(refusal)
        | StatusAnswer::Refused(refusal)
        | StatusAnswer::Absent(refusal)
            if asked_before =>
        {
            not_yet(turn, &mut memory, &refusal.message);
        }
        StatusAnswer::Running
        | StatusAnswer::NotNow(_)
        | StatusAnswer::Transient(_)
        | StatusAnswer::Refused(_)
        | StatusAnswer::Absent(_) => {}
    }
    Phase::Cancelling(memory)
}

/// An Azure server says that the job is done. Its files are checked, unless the answer is the one that the
/// server gives for a cancelled job.
fn done(turn: &mut Turn<'_>, mut memory: Cancelling, answer: &Answer, asked_before: bool) -> Phase {
    let manifest = if answer.truncated { None } else { Manifest::parse(&answer.body).ok() };
    let ours = !asked_before || memory.already_finished;
    match manifest {
        Some(manifest) if ours && !(asked_before && manifest.output.is_empty()) => {
            if let Some(cancellation) = turn.status.cancellation.as_mut() {
                cancellation.outcome = Some(CancelOutcome::AlreadyFinished);
            }
            Phase::Checking(Box::new(Checking::new(manifest, memory.owner)))
        }
        Some(_) => settle(turn, memory, CancelOutcome::Confirmed),
        // The job has finished and its manifest cannot be read: nothing is left to cancel.
        None if answer.truncated && begins_as_manifest(&answer.body) => {
            settle(turn, memory, CancelOutcome::AlreadyFinished)
        }
        None => {
            // This may be the page of a gateway, which says nothing about the job.
            if asked_before {
                not_yet(turn, &mut memory, "the server answers 200 without a manifest");
            }
            Phase::Cancelling(memory)
        }
    }
}

fn job_failed(turn: &mut Turn<'_>, memory: Cancelling, failure: JobFailure) -> Phase {
    let reason = turn.status.cancellation.as_ref().map(|c| c.reason);
    if let Some(cancellation) = turn.status.cancellation.as_mut() {
        cancellation.outcome = Some(CancelOutcome::AlreadyFinished);
    }
    if reason == Some(CancelReason::Deleted) {
        return Phase::Cancelling(memory);
    }
    attempt::job_failed(turn, memory.owner, &JobFailure { transient: false, ..failure })
}

/// Whether a truncated body begins like a manifest; the page of a gateway does not.
fn begins_as_manifest(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// Takes in the answer to the cancel, or its absence.
pub(super) fn answered(turn: &mut Turn<'_>, mut memory: Cancelling, reply: Reply) -> Phase {
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            not_answered(turn, &mut memory, failure);
            return Phase::Cancelling(memory);
        }
    };
    match answer::cancel(&answer) {
        CancelAnswer::Again(_) if turn.lands() && answer.status == 405 => {
            not_yet(turn, &mut memory, "the server does not offer to cancel jobs (405)");
            no_more_tries(turn);
        }
        CancelAnswer::Look if turn.lands() => {
            not_yet(turn, &mut memory, "the server answers 500 when asked to cancel");
        }
        CancelAnswer::Settled => return settle(turn, memory, CancelOutcome::Confirmed),
        CancelAnswer::AlreadyFinished => {
            memory.already_finished = true;
            memory.looked = false;
        }
        CancelAnswer::Look => memory.looked = false,
        CancelAnswer::Again(refusal) => not_yet(turn, &mut memory, &refusal.message),
    }
    Phase::Cancelling(memory)
}

fn not_answered(turn: &mut Turn<'_>, memory: &mut Cancelling, failure: Failure) {
    match failure.kind {
        FailureKind::HeldBack { until } => {
            memory.retry.next_try = Some(until);
            memory.next_try = NextTry::WasCounted;
            memory.failure = Some(failure.message);
        }
        FailureKind::Missing => {
            not_yet(turn, memory, &failure.message);
            if turn.deleting() {
                // The Secret is gone and no token is left, so no further try is possible.
                no_more_tries(turn);
            }
        }
        FailureKind::Unreachable => not_yet(turn, memory, &failure.message),
    }
}

fn no_more_tries(turn: &mut Turn<'_>) {
    if let Some(cancellation) = turn.status.cancellation.as_mut() {
        cancellation.tries = turn.tuning.cancel_tries;
    }
}

/// Schedules one more try.
fn not_yet(turn: &Turn<'_>, memory: &mut Cancelling, why: &str) {
    let tries = turn.status.cancellation.as_ref().map_or(1, |c| c.tries.max(1));
    let wait = retry_delay(FIRST_DELAY, turn.tuning.cancel_grace / 5, tries, turn.jitter);
    memory.retry.next_try = Some(turn.later(wait));
    memory.failure = Some(why.to_owned());
}

/// The server agreed to the cancel, or the job had ended before: ends the run with a message that says so.
fn settle(turn: &mut Turn<'_>, memory: Cancelling, outcome: CancelOutcome) -> Phase {
    let Some(cancellation) = turn.status.cancellation.as_mut() else { return Phase::Cancelling(memory) };
    cancellation.outcome = Some(outcome);
    let job = turn.status.job.as_ref().map(job_name).unwrap_or_default();
    let message = match outcome {
        CancelOutcome::AlreadyFinished => format!("{job} had ended before it could be cancelled"),
        CancelOutcome::Confirmed | CancelOutcome::Unconfirmed => {
            format!("the server confirmed the cancel of {job}")
        }
    };
    stop::over(turn, Reason::Cancelled, &message)
}
