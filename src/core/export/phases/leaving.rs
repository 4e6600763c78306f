//! The object is being deleted, and nothing is left to be done for it but to remove its finalizer.

use super::super::flow::{Flow, Next};
use super::super::memory::Leaving;
use super::super::phase::Phase;
use super::super::turn::Turn;
use crate::api::Reason;
use crate::core::effect::{Effect, NoteType};

/// Lets the object go. Its status goes with it, and the process that wrote down which jobs may run unseen may have been
/// stopped before it published the event: told twice is better than never.
pub(super) fn decide(turn: &mut Turn<'_>, memory: Leaving) -> Flow {
    if !turn.has_finalizer() {
        return Flow::Do(Phase::Leaving(memory), Next::Rest);
    }
    let jobs = turn.status.unsettled_jobs.len();
    if !memory.told && jobs > 0 {
        let them = if jobs == 1 { "a job".to_owned() } else { format!("{jobs} jobs") };
        let message = format!("deleted while {them} of it may run on the server unseen; look there");
        turn.note(NoteType::Warning, Reason::CancelUnconfirmed, "Cancel", &message);
    }
    Flow::Do(Phase::Leaving(Leaving { told: true }), Next::perform(Effect::RemoveFinalizer))
}
