//! The object is being deleted, and only its finalizer has to be removed.

use super::super::flow::{Flow, Next};
use super::super::memory::Leaving;
use super::super::phase::Phase;
use super::super::turn::Turn;
use crate::api::Reason;
use crate::core::effect::{Effect, NoteType};

/// Removes the finalizer, after an event about the jobs that may still run unseen. The status that names them
/// goes with the object. The process that wrote them down may have been stopped before it published the
/// event, so the event may come twice.
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
