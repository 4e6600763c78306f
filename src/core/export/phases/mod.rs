//! The phases, one file each: how a phase takes in what was observed, and what it does next.

mod cancelling;
mod checking;
mod ended;
mod landing;
mod leaving;
mod running;
mod starting;
mod uncertain;
mod waiting;

use super::flow::Flow;
use super::phase::Phase;
use super::turn::Turn;
use crate::core::effect::Observation;

/// Takes an observation into status and phase. An observation that does not belong to the phase changes
/// nothing: the run has moved on since its effect was sent.
pub(super) fn observe(turn: &mut Turn<'_>, phase: Phase, seen: Observation) -> Phase {
    match phase {
        Phase::Waiting(memory) => waiting::observe(turn, memory, seen),
        Phase::Starting(memory) => starting::observe(turn, memory, seen),
        Phase::Uncertain(memory) => uncertain::observe(turn, memory, seen),
        Phase::Running(memory) => running::observe(turn, memory, seen),
        Phase::Landing(memory) => landing::observe(turn, *memory, seen),
        Phase::Checking(memory) => checking::observe(turn, *memory, seen),
        Phase::Cancelling(memory) => cancelling::observe(turn, memory, seen),
        Phase::Leaving(memory) => Phase::Leaving(memory),
        Phase::Ended(memory) => ended::observe(turn, memory, seen),
    }
}

/// Says what comes next.
pub(super) fn decide(turn: &mut Turn<'_>, phase: Phase) -> Flow {
    match phase {
        Phase::Waiting(memory) => waiting::decide(turn, memory),
        Phase::Starting(memory) => starting::decide(memory),
        Phase::Uncertain(memory) => uncertain::decide(turn, memory),
        Phase::Running(memory) => running::decide(turn, memory),
        Phase::Landing(memory) => landing::decide(turn, *memory),
        Phase::Checking(memory) => checking::decide(turn, *memory),
        Phase::Cancelling(memory) => cancelling::decide(turn, memory),
        Phase::Leaving(memory) => leaving::decide(turn, memory),
        Phase::Ended(memory) => ended::decide(turn, memory),
    }
}
