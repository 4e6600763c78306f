//! The end before the end: `spec.cancel`, the deadline, deletion. Never said before the server agreed, and never
//! waited for longer than the grace (docs/azure-behaviour.md, "Cancelling").

use super::summary::{files_text, place};
use super::turn::after;
use super::{Step, Turn, finish, plan, poll};
use crate::api::{CancelOutcome, CancelReason, Cancellation, ConditionType, DeletionPolicy, Job, Reason};
use crate::core::answer::{self, CancelAnswer, StatusAnswer};
use crate::core::condition::whole_seconds;
use crate::core::effect::{Effect, NoteType};
use crate::core::manifest::Manifest;
use crate::core::planted::{Fault, planted};
use crate::core::poll::retry_delay;
use crate::core::wire::{FailureKind, Reply};

/// The first delay between two tries; it doubles.
const FIRST_DELAY: std::time::Duration = std::time::Duration::from_secs(1);

/// `spec.cancel` is set.
pub(super) fn requested(mut turn: Turn<'_>) -> Step {
    match &turn.status.job {
        None => {
            turn.memory = super::Memory::default();
            let message = "cancelled before a job was started";
            finish::fail(turn, Reason::Cancelled, message)
        }
        Some(Job { status_url: None, .. }) => {
            turn.leave_job("the answer to its kick-off was lost");
            let message = "cancelled while it was not known whether a job runs; one may run on the server unseen: look for it there";
            finish::fail(turn, Reason::CancelUnconfirmed, message)
        }
        Some(_) => {
            begin(&mut turn, CancelReason::Requested);
            go_on(turn)
        }
    }
}

/// The object is being deleted, and our finalizer holds it.
pub(super) fn deleted(mut turn: Turn<'_>) -> Step {
    let Some(job) = turn.status.job.clone() else { return let_go(turn) };
    // What a Bulk Data server has finished is not ours yet: it is told to forget it.
    let done = turn.memory.manifest.is_some() && !turn.lands();
    let settled = turn
        .status
        .cancellation
        .as_ref()
        .is_some_and(|c| c.outcome.is_some() || planted(Fault::FinalizerEarly));
    if done || settled {
        return let_go(turn);
    }
    if turn.spec().deletion_policy == Some(DeletionPolicy::Abandon) {
        let message = format!("{} is left alone, as deletionPolicy Abandon says", job_name(&job));
        turn.note(NoteType::Normal, Reason::Abandoned, "Cancel", &message);
        return turn.perform(Effect::RemoveFinalizer);
    }
    if job.status_url.is_none() {
        let message = "deleted while it was not known whether a job runs; one may run on the server unseen";
        turn.note(NoteType::Warning, Reason::CancelUnconfirmed, "Cancel", message);
        return turn.perform(Effect::RemoveFinalizer);
    }
    begin(&mut turn, CancelReason::Deleted);
    go_on(turn)
}

pub(super) fn begin(turn: &mut Turn<'_>, reason: CancelReason) {
    let request_time = whole_seconds(turn.now);
    let cancellation = turn.status.cancellation.get_or_insert(Cancellation {
        request_time,
        reason,
        tries: 0,
        outcome: None,
    });
    cancellation.reason = reason;
}

/// A cancel is under way: look once whether the job has ended, then ask the server until it agrees.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let (Some(cancellation), Some(job)) = (turn.status.cancellation.clone(), turn.status.job.clone()) else {
        return turn.rest();
    };
    let Some(url) = job.status_url.clone() else { return turn.rest() };
    let why = turn.memory.cancel_failure.as_ref().filter(|_| cancellation.tries > 0);
    let why = why.map(|why| format!(" (try {}: {why})", cancellation.tries)).unwrap_or_default();
    let message = format!("{} is being cancelled{why}", job_name(&job));
    turn.set_true(ConditionType::Reconciling, Reason::Cancelling, &message);
    turn.state("Cancelling");
    if turn.because(ConditionType::KickOffUncertain, Reason::JobAdopted) {
        // Anybody may cancel anybody's job on Azure: one that is not proven ours is left alone.
        return unconfirmed(turn, "it is not proven that the job is this export's own");
    }
    if let Some((_, why)) = poll::server_lost(&turn) {
        return unconfirmed(turn, &why);
    }
    // Nor is one whose status somebody else has, too, or wrote.
    if turn.facts.contested {
        return unconfirmed(turn, "another FhirExport names the same job, so it is not proven whose it is");
    }
    if !turn.lands() && !turn.server().is_some_and(|server| server.is_job(&url)) {
        return unconfirmed(turn, "what stands in its status is not the URL of a job on this server");
    }
    let grace_ends = after(cancellation.request_time, turn.tuning.cancel_grace);
    let out_of_time = grace_ends <= turn.now;
    // After a restart beyond the grace there is still one try.
    if cancellation.tries >= turn.tuning.cancel_tries || (out_of_time && turn.memory.cancel_failure.is_some())
    {
        let why = turn.memory.cancel_failure.clone();
        return unconfirmed(turn, why.as_deref().unwrap_or("the server did not confirm it"));
    }
    if let Some(due) = turn.memory.cancel_at.filter(|due| *due > turn.now) {
        // Whatever the server asks for, the grace is not exceeded.
        let give_up = turn.memory.cancel_failure.is_some().then_some(grace_ends);
        return turn.wait_until(&[Some(due), give_up]);
    }
    if turn.memory.land.began.take().is_some() {
        turn.memory.manifest = None;
        return turn.perform(Effect::StopLanding);
    }
    // What a Bulk Data server has finished is not wanted any more; only its word that there is nothing to cancel is
    // looked into.
    if !turn.memory.looked && (!turn.lands() || turn.memory.already_finished) {
        return turn.perform(Effect::Poll(plan::poll(&url)));
    }
    // One that was held back before it was sent is the same try still.
    let held_back = std::mem::take(&mut turn.memory.cancel_held_back);
    if let Some(cancellation) = turn.status.cancellation.as_mut().filter(|c| !held_back || c.tries == 0) {
        // Written before the request: after a restart a 200 is not taken for success (older builds answer a
        // cancelled job with an empty manifest).
        if cancellation.tries == 0 || !planted(Fault::CancelUncounted) {
            cancellation.tries += 1;
        }
    }
    turn.perform(Effect::Cancel(plan::cancel(&url)))
}

/// The look before a cancel, or after an answer that left it open.
pub(super) fn looked(turn: &mut Turn<'_>, reply: Reply) {
    let asked_before = turn.status.cancellation.as_ref().is_some_and(|c| c.tries > 0);
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            turn.memory.looked = true;
            if asked_before {
                not_yet(turn, &failure.message);
            }
            return;
        }
    };
    turn.memory.looked = true;
    match poll::meaning(turn, &answer) {
        StatusAnswer::Done if turn.lands() => settle(turn, CancelOutcome::AlreadyFinished),
        StatusAnswer::Done => {
            let manifest = if answer.truncated { None } else { Manifest::parse(&answer.body).ok() };
            let ours = !asked_before || turn.memory.already_finished;
            match manifest {
                Some(manifest) if ours && !(asked_before && manifest.output.is_empty()) => {
                    if let Some(cancellation) = turn.status.cancellation.as_mut() {
                        cancellation.outcome = Some(CancelOutcome::AlreadyFinished);
                    }
                    turn.memory.manifest = Some(std::sync::Arc::new(manifest));
                }
                Some(_) => settle(turn, CancelOutcome::Confirmed),
                // A finished job whose manifest cannot be read: there is nothing left to cancel.
                None if answer.truncated && begins_as_manifest(&answer.body) => {
                    settle(turn, CancelOutcome::AlreadyFinished);
                }
                // Perhaps a gateway's page: it says nothing of the job.
                None if asked_before => not_yet(turn, "the server answers 200 without a manifest"),
                None => {}
            }
        }
        StatusAnswer::JobFailed(failure) => {
            let requested = turn.status.cancellation.as_ref().map(|c| c.reason);
            if let Some(cancellation) = turn.status.cancellation.as_mut() {
                cancellation.outcome = Some(CancelOutcome::AlreadyFinished);
            }
            if requested == Some(CancelReason::Deleted) {
                return;
            }
            let end = answer::JobFailure { transient: false, ..failure };
            poll::job_failed(turn, &end);
        }
        StatusAnswer::Gone(_) => settle(turn, CancelOutcome::Confirmed),
        StatusAnswer::Running if asked_before => not_yet(turn, "the server says that the job still runs"),
        StatusAnswer::NotNow(refusal) | StatusAnswer::Transient(refusal) | StatusAnswer::Refused(refusal)
            if asked_before =>
        {
            not_yet(turn, &refusal.message);
        }
        _ => {}
    }
}

/// Of a manifest that broke off, or is too long, this much is there; of a gateway's page it is not.
fn begins_as_manifest(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// The answer to the cancel, or its absence.
pub(super) fn answered(turn: &mut Turn<'_>, reply: Reply) {
    if turn.status.cancellation.is_none() {
        return;
    }
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            if let FailureKind::HeldBack { until } = failure.kind {
                turn.memory.cancel_at = Some(until);
                turn.memory.cancel_held_back = true;
                turn.memory.cancel_failure = Some(failure.message);
                return;
            }
            let deleting = turn.deleting();
            not_yet(turn, &failure.message);
            if failure.kind == FailureKind::Missing && deleting {
                // The Secret is gone and no token is left: nothing can be tried.
                if let Some(cancellation) = turn.status.cancellation.as_mut() {
                    cancellation.tries = turn.tuning.cancel_tries;
                }
            }
            return;
        }
    };
    match answer::cancel(&answer) {
        CancelAnswer::Again(_) if turn.lands() && answer.status == 405 => {
            not_yet(turn, "the server does not offer to cancel jobs (405)");
            if let Some(cancellation) = turn.status.cancellation.as_mut() {
                cancellation.tries = turn.tuning.cancel_tries;
            }
        }
        CancelAnswer::Look if turn.lands() => {
            not_yet(turn, "the server answers 500 when asked to cancel");
        }
        CancelAnswer::Settled => settle(turn, CancelOutcome::Confirmed),
        CancelAnswer::AlreadyFinished => {
            turn.memory.already_finished = true;
            turn.memory.looked = false;
        }
        CancelAnswer::Look => turn.memory.looked = false,
        CancelAnswer::Again(refusal) => not_yet(turn, &refusal.message),
    }
}

/// One more try later.
fn not_yet(turn: &mut Turn<'_>, why: &str) {
    let tries = turn.status.cancellation.as_ref().map_or(1, |c| c.tries.max(1));
    let wait = retry_delay(FIRST_DELAY, turn.tuning.cancel_grace / 5, tries, turn.jitter);
    turn.memory.cancel_at = Some(turn.later(wait));
    turn.memory.cancel_failure = Some(why.to_owned());
}

/// The server agreed, or the job had ended: say so.
fn settle(turn: &mut Turn<'_>, outcome: CancelOutcome) {
    let Some(cancellation) = turn.status.cancellation.as_mut() else { return };
    cancellation.outcome = Some(outcome);
    let reason = cancellation.reason;
    let job = turn.status.job.as_ref().map(job_name).unwrap_or_default();
    let how = match outcome {
        CancelOutcome::AlreadyFinished => format!("{job} had ended before it could be cancelled"),
        _ => format!("the server confirmed the cancel of {job}"),
    };
    let message = format!("{how}{}", remaining(turn));
    match reason {
        CancelReason::Requested => finish::failed(turn, Reason::Cancelled, &message),
        CancelReason::Deadline => {
            let message = format!("the export took longer than activeDeadlineSeconds; {message}");
            finish::failed(turn, Reason::DeadlineExceeded, &message);
        }
        CancelReason::Deleted => turn.note(NoteType::Normal, Reason::Cancelled, "Cancel", &message),
    }
}

/// The cancel is given up: the job is written down for people.
fn unconfirmed(mut turn: Turn<'_>, why: &str) -> Step {
    turn.leave_job("its cancel was not confirmed");
    let reason = turn.status.cancellation.as_mut().map(|c| {
        c.outcome = Some(CancelOutcome::Unconfirmed);
        c.reason
    });
    let job = turn.status.job.as_ref().map(job_name).unwrap_or_default();
    let message = format!(
        "the cancel of {job} was not confirmed: {why}; look for it on the server{}",
        remaining(&turn)
    );
    match reason {
        Some(CancelReason::Requested) => finish::fail(turn, Reason::CancelUnconfirmed, &message),
        Some(CancelReason::Deadline) => {
            let message = format!("the export took longer than activeDeadlineSeconds; {message}");
            finish::fail(turn, Reason::DeadlineExceeded, &message)
        }
        _ => {
            turn.note(NoteType::Warning, Reason::CancelUnconfirmed, "Cancel", &message);
            turn.perform(Effect::RemoveFinalizer)
        }
    }
}

/// Nothing is left to be done for an object that is being deleted. Its status goes with it, and who wrote into that which
/// jobs may run unseen may have been stopped before the event: told twice is better than never.
fn let_go(mut turn: Turn<'_>) -> Step {
    let jobs = turn.status.unsettled_jobs.len();
    if jobs > 0 {
        let them = if jobs == 1 { "a job".to_owned() } else { format!("{jobs} jobs") };
        let message = format!("deleted while {them} of it may run on the server unseen; look there");
        turn.note(NoteType::Warning, Reason::CancelUnconfirmed, "Cancel", &message);
    }
    turn.perform(Effect::RemoveFinalizer)
}

fn job_name(job: &Job) -> String {
    job.id.as_ref().map_or_else(|| "the job".to_owned(), |id| format!("job {id}"))
}

/// What lies in the container, as far as it was seen.
fn remaining(turn: &Turn<'_>) -> String {
    let files = turn.status.job.as_ref().and_then(|j| j.progress.as_ref()?.files);
    let Some(output) = &turn.status.output else { return String::new() };
    match (files, place(output)) {
        (Some(files), Some(place)) if files > 0 && turn.lands() => {
            format!(
                "; {} had landed in {place}: remove what is not wanted",
                files_text(usize::try_from(files).unwrap_or(0))
            )
        }
        (Some(files), Some(place)) if files > 0 => {
            format!("; {files} or more files written before that remain in {place}")
        }
        _ => String::new(),
    }
}
