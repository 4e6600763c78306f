//! The server is asked to cancel the job. A job counts as cancelled only after the server has agreed, and the
//! operator waits no longer than the grace.

use super::super::ask;
use super::super::cancel_answer;
use super::super::clean_up;
use super::super::decision::Followers;
use super::super::flow::{Flow, Next};
use super::super::memory::{Cancelling, JobOwner, Leaving, NextTry};
use super::super::phase::Phase;
use super::super::stop::{self, job_name};
use super::super::turn::Turn;
use crate::api::{CancelOutcome, CancelReason, Cancellation, ConditionType, Job, Reason};
use crate::core::effect::{Effect, Observation};
use crate::core::planted::{Fault, planted};
use crate::core::requests;
use crate::core::retry::after;

pub(super) fn observe(turn: &mut Turn<'_>, memory: Cancelling, seen: Observation) -> Phase {
    match seen {
        Observation::Poll(reply) => cancel_answer::looked(turn, memory, reply),
        Observation::Cancel(reply) => cancel_answer::answered(turn, memory, reply),
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Jobs(_)
        | Observation::Files(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_)
        | Observation::CleanedUp(_) => Phase::Cancelling(memory),
    }
}

/// Requests the job's status once, then asks the server to cancel until it agrees.
pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Cancelling) -> Flow {
    if turn.deleting() {
        let outcome = turn.status.cancellation.as_ref().and_then(|c| c.outcome);
        let settled = outcome.is_some() || planted(Fault::FinalizerEarly);
        if settled || turn.status.job.is_none() {
            return Flow::Became(Phase::Leaving(Leaving::default()));
        }
        if let Some(leaving) = stop::abandoned(turn) {
            return Flow::Became(leaving);
        }
        stop::request(turn, CancelReason::Deleted);
    } else if turn.cancel_requested() {
        stop::request(turn, CancelReason::Requested);
    }
    let known = turn.status.cancellation.clone().zip(turn.status.job.clone());
    let Some((cancellation, job)) = known else {
        return Flow::Became(unconfirmed(turn, "no job stands in its status"));
    };
    let Some(url) = job.status_url.clone() else {
        return Flow::Became(unconfirmed(turn, "its status URL is not known"));
    };
    tell(turn, &memory, &cancellation, &job);
    if turn.lands() && turn.facts.followers == Followers::Wanting {
        if std::mem::take(&mut memory.landing_runs) {
            return Flow::Do(Phase::Cancelling(memory), Next::perform(Effect::StopLanding));
        }
        if let Some(wait) = clean_up::before_leaving(turn, cancellation.request_time) {
            return Flow::Do(Phase::Cancelling(memory), wait);
        }
        return Flow::Became(left_to_others(turn, &job));
    }
    if let Some(why) = forbidden(turn, &memory, &url) {
        return Flow::Became(unconfirmed(turn, &why));
    }
    let grace_ends = after(cancellation.request_time, turn.tuning.cancel_grace);
    let out_of_time = grace_ends <= turn.now;
    // After a restart beyond the grace, one more try is made.
    if cancellation.tries >= turn.tuning.cancel_tries || (out_of_time && memory.failure.is_some()) {
        let why = memory.failure.as_deref().unwrap_or("the server did not confirm it");
        return Flow::Became(unconfirmed(turn, why));
    }
    if let Some(due) = memory.retry.due_after(turn.now) {
        // No wait that the server asks for extends the grace.
        let give_up = memory.failure.is_some().then_some(grace_ends);
        return Flow::Do(Phase::Cancelling(memory), Next::wait_until(&[Some(due), give_up]));
    }
    let effect = if std::mem::take(&mut memory.landing_runs) {
        Effect::StopLanding
    } else if !memory.looked && (!turn.lands() || memory.already_finished) {
        // The result of a Bulk Data job is not wanted any more. Its status is only requested after the server
        // said that there is nothing to cancel.
        Effect::Poll(requests::status(&url))
    } else {
        count_try(turn, &mut memory);
        Effect::Cancel(requests::delete(&url))
    };
    Flow::Do(Phase::Cancelling(memory), Next::perform(effect))
}

/// Counts the try that is about to be sent. The count is written before the request, so that a 200 after a
/// restart is not taken for success: older builds answer for a cancelled job with an empty manifest. A try
/// that was held back before it was sent is not counted again.
fn count_try(turn: &mut Turn<'_>, memory: &mut Cancelling) {
    let counts = std::mem::take(&mut memory.next_try) == NextTry::Counts && !planted(Fault::CancelUncounted);
    if let Some(cancellation) = turn.status.cancellation.as_mut().filter(|c| counts || c.tries == 0) {
        cancellation.tries += 1;
    }
}

/// Says that the job is being cancelled, and why the last try failed.
fn tell(turn: &mut Turn<'_>, memory: &Cancelling, cancellation: &Cancellation, job: &Job) {
    let why = memory.failure.as_ref().filter(|_| cancellation.tries > 0);
    let why = why.map(|why| format!(" (try {}: {why})", cancellation.tries)).unwrap_or_default();
    let message = format!("{} is being cancelled{why}", job_name(job));
    turn.set_true(ConditionType::Reconciling, Reason::Cancelling, &message);
}

/// Why the job must not be cancelled; `None` if it may be. On Azure any caller may cancel any job, so a job
/// that is not proven to be ours is left alone.
fn forbidden(turn: &Turn<'_>, memory: &Cancelling, url: &str) -> Option<String> {
    if memory.owner == JobOwner::Adopted {
        return Some("it is not proven that the job is this export's own".to_owned());
    }
    if let Some((_, why)) = ask::server_lost(turn) {
        return Some(why);
    }
    if !turn.lands() && turn.facts.followers != Followers::None {
        let why = "another FhirExport names the same job, so it is not proven whose it is";
        return Some(why.to_owned());
    }
    if !turn.lands() && !turn.server().is_some_and(|server| server.is_job(url)) {
        return Some("what stands in its status is not the URL of a job on this server".to_owned());
    }
    None
}

/// Leaves a job to the other exports that follow it: the last one that lets go cancels it.
fn left_to_others(turn: &mut Turn<'_>, job: &Job) -> Phase {
    let message = format!("{} goes on, because another FhirExport follows it", job_name(job));
    stop::over(turn, Reason::Cancelled, &message)
}

/// Gives up the cancel, and adds the job to `unsettledJobs` for people to look at.
fn unconfirmed(turn: &mut Turn<'_>, why: &str) -> Phase {
    turn.leave_job("its cancel was not confirmed");
    if let Some(cancellation) = turn.status.cancellation.as_mut() {
        cancellation.outcome = Some(CancelOutcome::Unconfirmed);
    }
    let job = turn.status.job.as_ref().map(job_name).unwrap_or_default();
    let message = format!("the cancel of {job} was not confirmed: {why}; look for it on the server");
    stop::over(turn, Reason::CancelUnconfirmed, &message)
}
