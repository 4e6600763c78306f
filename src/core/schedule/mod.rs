//! A schedule as a state machine: it takes spec, status and existing runs, and returns the new status, at
//! most one effect, and the time of the next decision.
//!
//! A decision has three parts, each a pure function on one [`Turn`]:
//!
//! 1. [`observe`] takes in the result of the last effect, and the runs that have ended ([`conclude`]).
//! 2. [`readiness`] finds the state: whether runs can be made, and with what.
//! 3. [`next`] finds the first of these that has something to do: a recorded run that has no export yet ([`make`]),
//!    the [`clock`], the annotation `run-now`, the [`stages`] of a group, [`retention`], and [`history`].

mod active;
mod calendar;
mod chain;
mod child;
mod clock;
mod conclude;
mod decision;
mod history;
mod instant;
mod make;
pub mod members;
mod names;
mod next;
mod observe;
mod readiness;
mod rebuild;
mod requests;
mod retention;
mod retry;
mod run;
pub mod slots;
mod stages;
mod turn;

#[cfg(test)]
mod tests;

use crate::api::FhirExportScheduleStatus;

pub use decision::{
    ListMembers, Listed, Listing, Newcomers, ScheduleDecision, ScheduleEffect, ScheduleFacts, ScheduleInputs,
    ScheduleObservation,
};
pub use names::{name_of_token, owned_by};
use turn::Turn;

/// The names of the exports that a status lists as active. Before a decision, the caller must know for
/// certain which of them exist.
pub fn active_names(status: &FhirExportScheduleStatus) -> impl Iterator<Item = &str> {
    status.active.iter().map(|run| run.name.as_str())
}

/// Decides about a schedule. Pure: equal inputs give equal decisions.
pub fn decide_schedule(inputs: ScheduleInputs<'_>) -> ScheduleDecision {
    let (mut turn, seen) = Turn::new(inputs);
    if turn.deleting() {
        // The garbage collector deletes the exports.
        return turn.rest();
    }
    if turn.never_seen() {
        rebuild::from_children(&mut turn);
        retention::from_children(&mut turn);
    }
    chain::only_if_incremental(&mut turn);
    turn.status.observed_generation = turn.schedule.metadata.generation;
    if let Some(seen) = seen {
        observe::answered(&mut turn, seen);
    }
    observe::runs(&mut turn);
    let next = next::next(&mut turn);
    turn.finish(next)
}
