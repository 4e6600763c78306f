//! The server works on the job: polls its status, shows its progress, and takes in how it ended.

use std::time::Duration;

use super::super::ask;
use super::super::attempt;
use super::super::clean_up::{self, JobEnd};
use super::super::flow::{Flow, Next};
use super::super::memory::{Cancelling, Running};
use super::super::phase::Phase;
use super::super::poll_answer;
use super::super::progress;
use super::super::stop;
use super::super::turn::Turn;
use crate::api::{ConditionType, Reason};
use crate::core::effect::{Effect, Observation};
use crate::core::planted::{Fault, planted};
use crate::core::requests;

/// After a restart the first polls are spread over at most this time.
const SPREAD: Duration = Duration::from_secs(30);

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Running, seen: Observation) -> Phase {
    match seen {
        Observation::Poll(reply) => return poll_answer::observe(turn, memory, reply),
        Observation::Files(result) => progress::counted(turn, &mut memory, result),
        Observation::CleanedUp(reply) => {
            if let Some((_, clean_up)) = &mut memory.failed {
                clean_up::observe(turn, clean_up, reply);
            }
        }
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_) => {}
    }
    Phase::Running(memory)
}

/// Polls the job when the next poll is due.
pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Running) -> Flow {
    if let Some(reason) = stop::asked_for(turn) {
        let cancelling = Cancelling { owner: memory.owner, ..Cancelling::default() };
        return Flow::Became(stop::stop(turn, reason, cancelling));
    }
    if let Some((failure, clean_up)) = &memory.failed {
        if let Some(next) = clean_up::due(turn, clean_up, JobEnd::Finished) {
            return Flow::Do(Phase::Running(memory), next);
        }
        let phase = attempt::job_failed(turn, memory.owner, failure);
        return Flow::Became(clean_up::carried(phase, *clean_up));
    }
    let deadline = turn.deadline();
    let held = ask::held(turn);
    memory.held = held.is_some();
    if let Some((reason, message)) = held {
        let message = format!("{message}; the server's job goes on meanwhile");
        turn.set_true(ConditionType::Suspended, reason, &message);
        return Flow::Do(Phase::Running(memory), Next::wait_until(&[deadline]));
    }
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
        memory.poll.next_try = Some(turn.now);
    }
    if let Some((reason, message)) = ask::server_lost(turn) {
        turn.set_false(ConditionType::ServerReachable, reason, &message);
        return Flow::Do(Phase::Running(memory), Next::wait_until(&[deadline]));
    }
    let page = memory.pages.as_ref().and_then(|pages| pages.next.clone());
    let Some(url) = page.or_else(|| turn.status.job.as_ref()?.status_url.clone()) else {
        return Flow::Do(Phase::Running(memory), Next::Rest);
    };
    if planted(Fault::ForgetToResume) && memory.poll.next_try.is_none() {
        return Flow::Do(Phase::Running(memory), Next::Rest);
    }
    let next = memory.poll.next_try.unwrap_or_else(|| {
        let spread = turn.bounds().min.max(turn.bounds().max.min(SPREAD));
        turn.later(spread.mul_f64(turn.jitter))
    });
    memory.poll.next_try = Some(next);
    if next <= turn.now {
        let request = if turn.lands() { requests::bulk_status(&url) } else { requests::status(&url) };
        return Flow::Do(Phase::Running(memory), Next::perform(Effect::Poll(request)));
    }
    if let Some(effect) = progress::look(turn, &memory) {
        return Flow::Do(Phase::Running(memory), Next::perform(effect));
    }
    Flow::Do(Phase::Running(memory), Next::wait_until(&[Some(next), deadline]))
}
