//! It is not known whether the kick-off started a job. The container is searched for it, the user is told,
//! and a job is never assumed.

use std::time::Duration;

use super::super::ask;
use super::super::attempt;
use super::super::end;
use super::super::flow::{Flow, Next};
use super::super::give_up::give_up;
use super::super::memory::{Doubt, JobOwner, Leaving, Uncertain};
use super::super::phase::Phase;
use super::super::stop;
use super::super::turn::Turn;
use crate::api::{ConditionType, Reason};
use crate::core::effect::{Effect, NoteType, Observation};
use crate::core::ledger::{JobFolder, StorageFailure, StorageFailureKind};
use crate::core::retry::after;

/// How far the server's clock may be behind the operator's.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// A job that this kick-off started has begun to write within this time after it.
const BEGINS_WITHIN: Duration = Duration::from_secs(600);

pub(super) fn observe(turn: &mut Turn<'_>, memory: Uncertain, seen: Observation) -> Phase {
    match seen {
        Observation::Jobs(result) => searched(turn, memory, result),
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Poll(_)
        | Observation::Cancel(_)
        | Observation::Files(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_)
        | Observation::CleanedUp(_) => Phase::Uncertain(memory),
    }
}

/// Waits until the server has begun to write, then searches.
pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Uncertain) -> Flow {
    if turn.deleting() {
        return Flow::Became(deleted(turn));
    }
    if turn.cancel_requested() {
        turn.leave_job("the answer to its kick-off was lost");
        let message = "cancelled while it was not known whether a job runs; one may run on the server unseen: look \
            for it there";
        return Flow::Became(end::fail(turn, Reason::CancelUnconfirmed, message));
    }
    if memory.doubt == Doubt::Untold {
        let why = "the operator was stopped before the answer to the kick-off was written down";
        memory = attempt::uncertain(turn, Doubt::AnswerLost, why);
    }
    let deadline = turn.deadline();
    if turn.out_of_time() {
        turn.leave_job("the answer to its kick-off was lost");
        let message =
            "the deadline passed while it was not known whether a job runs; look for it on the server";
        return Flow::Became(end::fail(turn, Reason::DeadlineExceeded, message));
    }
    if let Some((reason, message)) = ask::server_lost(turn) {
        turn.set_false(ConditionType::ServerReachable, reason, &message);
        return Flow::Do(Phase::Uncertain(memory), Next::wait_until(&[deadline]));
    }
    if turn.lands() {
        // Before the operator lands the files, no storage holds a trace of the job.
        let why = "a FHIR Bulk Data server cannot be asked for its jobs";
        return Flow::Became(give_up(turn, memory.doubt, why));
    }
    if turn.server().is_none_or(|server| server.blob_endpoint().is_none()) {
        let why = "the FhirServer has no storage to search for it";
        return Flow::Became(give_up(turn, memory.doubt, why));
    }
    let Some(intent) = turn.status.job.as_ref().map(|job| job.intent_time) else {
        return Flow::Do(Phase::Uncertain(memory), Next::Rest);
    };
    let search_from = after(intent, turn.tuning.orphan_wait);
    let due = memory.search.next_try.max(Some(search_from)).filter(|due| *due > turn.now);
    if due.is_some() {
        return Flow::Do(Phase::Uncertain(memory), Next::wait_until(&[due, deadline]));
    }
    let container = ask::container(turn);
    let began = intent.checked_sub(jiff::SignedDuration::try_from(CLOCK_SKEW).unwrap_or_default());
    let search = Effect::FindJobs { container, after: began.unwrap_or(intent) };
    Flow::Do(Phase::Uncertain(memory), Next::perform(search))
}

fn deleted(turn: &mut Turn<'_>) -> Phase {
    if let Some(leaving) = stop::abandoned(turn) {
        return leaving;
    }
    let message = "deleted while it was not known whether a job runs; one may run on the server unseen";
    turn.note(NoteType::Warning, Reason::CancelUnconfirmed, "Cancel", message);
    Phase::Leaving(Leaving { told: true })
}

/// Takes in what the search found.
fn searched(turn: &mut Turn<'_>, memory: Uncertain, result: Result<Vec<JobFolder>, StorageFailure>) -> Phase {
    let Some(intent) = turn.status.job.as_ref().map(|job| job.intent_time) else {
        return Phase::Uncertain(memory);
    };
    let wait = turn.tuning.orphan_wait;
    let search_again = |turn: &Turn<'_>, mut memory: Uncertain| {
        memory.search.next_try = Some(after(turn.now, wait / 4));
        Phase::Uncertain(memory)
    };
    // A container that does not exist holds no job.
    let found = match result {
        Err(failure) if failure.kind == StorageFailureKind::NotFound => Vec::new(),
        Ok(found) => found,
        Err(failure) => {
            let passing =
                matches!(failure.kind, StorageFailureKind::Transient { .. } | StorageFailureKind::Missing);
            if passing && turn.now < after(intent, wait * 3) {
                return search_again(turn, memory);
            }
            let why = format!("the container could not be searched ({})", failure.message);
            return give_up(turn, memory.doubt, &why);
        }
    };
    let latest = after(intent, BEGINS_WITHIN);
    let earlier: Vec<&str> = turn.status.previous_jobs.iter().filter_map(|j| j.id.as_deref()).collect();
    let mut candidates = found.into_iter().filter(|job| {
        job.began <= latest
            && !turn.facts.claimed.contains(&job.job_id)
            && !earlier.contains(&job.job_id.as_str())
    });
    match (candidates.next(), candidates.next()) {
        (Some(job), None) => adopt(turn, &memory, &job),
        (Some(_), Some(_)) => give_up(turn, memory.doubt, "several jobs in the container could be it"),
        // The server may not have begun to write yet.
        (None, _) if turn.now < after(intent, wait * 2) => search_again(turn, memory),
        (None, _) => give_up(turn, memory.doubt, "no job was found in the container"),
    }
}

/// Follows the only job that could be ours; its manifest must prove that it is.
fn adopt(turn: &mut Turn<'_>, memory: &Uncertain, job: &JobFolder) -> Phase {
    let Some(url) = turn.server().and_then(|server| server.job_url(&job.job_id)) else {
        return give_up(turn, memory.doubt, "the job that was found has no usable id");
    };
    let message = format!(
        "job {} was found in the container and is followed; its manifest will prove whose it is",
        job.job_id
    );
    turn.note(NoteType::Normal, Reason::JobAdopted, "KickOff", &message);
    turn.count_attempt();
    let id = Some(job.job_id.clone());
    let running = attempt::started(turn, url, id, JobOwner::Adopted, None, &message);
    turn.set_true(ConditionType::KickOffUncertain, Reason::JobAdopted, &message);
    running
}
