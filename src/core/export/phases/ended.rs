//! The run has ended: the server may forget the job, the finalizer is removed, and the object is deleted when
//! its time to live is over.

use std::time::Duration;

use super::super::clean_up::{self, JobEnd};
use super::super::decision::Followers;
use super::super::flow::{Flow, Next};
use super::super::memory::Ended;
use super::super::phase::Phase;
use super::super::turn::Turn;
use crate::core::effect::{Effect, Observation};
use crate::core::retry::after;

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Ended, seen: Observation) -> Phase {
    match seen {
        Observation::CleanedUp(reply) => clean_up::observe(turn, &mut memory.clean_up, reply),
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Poll(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Files(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_) => {}
    }
    Phase::Ended(memory)
}

pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Ended) -> Flow {
    clean_up::heed_deletion(turn, &mut memory.clean_up);
    let next = next(turn, &memory);
    Flow::Do(Phase::Ended(memory), next)
}

fn next(turn: &Turn<'_>, memory: &Ended) -> Next {
    if turn.has_finalizer() {
        if turn.facts.followers != Followers::None
            && let Some(wait) =
                turn.status.completion_time.and_then(|end| clean_up::before_leaving(turn, end))
        {
            return wait;
        }
        let due = clean_up::due(turn, &memory.clean_up, JobEnd::of_ended(turn));
        return due.unwrap_or(Next::perform(Effect::RemoveFinalizer));
    }
    if turn.deleting() {
        return Next::Rest;
    }
    let ttl = turn.spec().ttl_seconds_after_finished.and_then(|s| u64::try_from(s).ok());
    match ttl.zip(turn.status.completion_time).map(|(ttl, end)| after(end, Duration::from_secs(ttl))) {
        None => Next::Rest,
        Some(due) if due <= turn.now => Next::perform(Effect::DeleteSelf),
        Some(due) => Next::WaitUntil(due),
    }
}
