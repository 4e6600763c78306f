//! What comes next for a schedule: to create, replace or delete an export, to list members, to delete a folder, or to
//! wait.

use jiff::Timestamp;

use super::decision::{Next, ScheduleEffect};
use super::readiness::{Ready, State, state};
use super::retry::FailedStep;
use super::turn::Turn;
use super::{chain, clock, history, make, retention, stages};
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::condition;

/// Decides what comes next, from a status that everything observed has been taken into.
pub(super) fn next(turn: &mut Turn<'_>) -> Next {
    retention::forget_unless_asked(turn);
    if condition::find(&turn.status.conditions, ConditionType::LastRunSucceeded).is_none() {
        let message = "no run has ended yet";
        turn.set(ConditionType::LastRunSucceeded, ConditionStatus::Unknown, Reason::NoRunYet, message);
    }
    clock::settle_suspension(turn);
    make::drop_the_late(turn);
    match state(turn) {
        State::HeldUp => tidy(turn, Some(FailedStep::Run.next_try(turn.now))),
        State::NotReady => {
            turn.status.next_schedule_time = None;
            tidy(turn, None)
        }
        State::Ready(ready) => work(turn, &ready),
    }
}

/// Decides what comes next for a schedule that can make runs. Making runs comes first, then the deletion of
/// folders, then that of objects.
fn work(turn: &mut Turn<'_>, ready: &Ready) -> Next {
    chain::tell(turn, ready);
    let handled = clock::handled(turn);
    let next_slot = clock::next_slot(turn, ready, handled);
    turn.status.next_schedule_time = next_slot;
    stages::listed(turn, ready);
    let effect = make::unmade(turn, ready)
        .or_else(|| clock::due(turn, ready, handled))
        .or_else(|| make::asked_for(turn, ready))
        .or_else(|| stages::to_read(turn, ready));
    if let Some(effect) = effect {
        return Next::Perform(effect);
    }
    match retention::due(turn) {
        retention::Due::Delete(server, plan) => Next::Perform(ScheduleEffect::DeleteFolder(server, plan)),
        retention::Due::Wait(until) => tidy(turn, next_slot.into_iter().chain(until).min()),
    }
}

/// Deletes an export that history limits or time to live do not keep, or waits until the next one expires.
fn tidy(turn: &Turn<'_>, until: Option<Timestamp>) -> Next {
    match history::expired(turn) {
        (Some(export), _) => Next::Perform(ScheduleEffect::Delete(export)),
        (None, next) => Next::Wait(vec![until, next]),
    }
}
