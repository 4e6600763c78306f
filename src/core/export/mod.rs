//! One run of an export as a state machine: it takes spec, status and observation, and returns the new
//! status, at most one effect, and when to look again.
//!
//! [`Phase`] names the phases and derives them. Each has a file in `phases`, which takes in observations and says what
//! comes next; [`states`] declares how a run moves from phase to phase. Files beside `phases` hold what several phases
//! share: how an attempt starts and fails (`attempt`), how a run is stopped (`stop`), how it ends (`end`).

mod admittance;
mod ask;
mod attempt;
mod cancel_answer;
mod check;
mod clean_up;
mod clock;
mod conclude;
mod deciding;
mod decision;
mod end;
mod flow;
mod give_up;
mod landed;
mod landed_manifest;
mod landing_failure;
mod log;
mod manifest_answer;
mod memory;
mod phase;
mod phases;
mod poll_answer;
mod poll_failure;
mod progress;
mod record;
mod server_view;
mod size;
pub mod states;
mod status;
mod stop;
mod store;
mod summary;
mod turn;
mod type_counts;
mod verdict;

#[cfg(test)]
pub(crate) mod tests;

pub use decision::{Decision, Facts, Followers, Inputs, Memory, ends_pods, must_write_first};
use flow::{Flow, Next};
pub use memory::JobOwner;
pub use phase::{Phase, PhaseName};
pub use server_view::{ServerView, deadline};
pub use status::{blocked_by, competes, holds_place, is_terminal, job_owner, says_the_same};
pub use summary::{counted, took};
use turn::Turn;

/// More phases than a run enters in one decision, so that no mistake can send it round in circles.
const MAX_CHANGES: usize = 16;

/// Decides what comes next in a run. Pure: the same inputs give the same decision.
pub fn decide(inputs: Inputs<'_>) -> Decision {
    let mut turn = Turn::new(&inputs);
    let remembered = inputs.memory.phase.clone();
    let mut phase = Phase::of(&turn.status, turn.deleting(), turn.has_finalizer(), remembered);
    if !matches!(phase, Phase::Ended(_)) {
        clock::heed(&mut turn, &mut phase, inputs.memory.last_look);
    }
    let mut name = phase.name();
    turn.pass(name, name);
    if let Some(seen) = inputs.seen {
        phase = phases::observe(&mut turn, phase, seen);
        turn.pass(name, phase.name());
        name = phase.name();
    }
    for _ in 0..MAX_CHANGES {
        match phases::decide(&mut turn, phase) {
            Flow::Do(kept, next) => return turn.finish(kept, next),
            Flow::Became(next) => {
                phase = next;
                turn.pass(name, phase.name());
                name = phase.name();
            }
        }
    }
    let soon = turn.later(turn.tuning.missing_retry);
    turn.finish(phase, Next::WaitUntil(soon))
}
