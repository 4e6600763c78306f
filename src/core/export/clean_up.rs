//! A finished job that is done with: the server is told that it may forget it (specification, "Bulk Data Delete
//! Request").

use std::time::Duration;

use super::{Step, Turn, plan};
use crate::api::Reason;
use crate::core::answer::{self, CancelAnswer};
use crate::core::effect::{Effect, NoteType};
use crate::core::poll::retry_delay;
use crate::core::wire::{Failure, FailureKind, Reply};

/// How often it is tried.
const TRIES: u32 = 5;
/// The first delay between two tries; it doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(120);

/// What the server said to the word that a job is done with.
pub(super) fn answered(turn: &mut Turn<'_>, reply: Reply) {
    if let Err(Failure { kind: FailureKind::HeldBack { until }, .. }) = &reply {
        // Another run was told to be patient. This word may be what it waits for: some servers run one export at a
        // time until they hear that the last one is done with.
        turn.memory.clean_up.retry_at = Some((*until).max(turn.later(turn.tuning.poll_floor)));
        return;
    }
    turn.memory.clean_up.tries += 1;
    let done = match &reply {
        // Whoever knows no such word has nothing to clean up.
        Ok(answer) => {
            answer.status < 500 && !matches!(answer::cancel(answer), CancelAnswer::Again(_))
                || answer.status == 405
        }
        Err(_) => false,
    };
    if done || turn.memory.clean_up.tries >= TRIES {
        turn.memory.clean_up.done = true;
    } else {
        let tries = i32::try_from(turn.memory.clean_up.tries).unwrap_or(i32::MAX);
        let wait = retry_delay(FIRST_DELAY, LONGEST_DELAY, tries, turn.jitter);
        turn.memory.clean_up.retry_at = Some(turn.later(wait));
    }
    if !done && turn.memory.clean_up.done {
        let why = match reply {
            Ok(answer) => format!("it answers {}", answer.status),
            Err(failure) => failure.message,
        };
        let message = format!("the server could not be told that the job is done with: {why}");
        turn.note(NoteType::Warning, Reason::CleanUpFailed, "Finish", &message);
    }
}

/// What is to be done before a job can be forgotten.
pub(super) enum Due {
    Tell(Effect),
    Wait(jiff::Timestamp),
}

impl Due {
    pub(super) fn into_step(self, turn: Turn<'_>) -> Step {
        match self {
            Self::Tell(effect) => turn.perform(effect),
            Self::Wait(until) => turn.wait_until(&[Some(until)]),
        }
    }
}

/// Whether the server is still to be told that it may forget the job.
pub(super) fn due(turn: &mut Turn<'_>, success: bool) -> Option<Due> {
    let ours = turn.lands() && !turn.facts.contested;
    let server = turn.server().filter(|_| ours && !turn.memory.clean_up.done)?;
    let job = turn.status.job.as_ref()?;
    let url = job.status_url.as_ref()?;
    let own = turn.status.server.as_ref().is_some_and(|s| s.url == server.spec().url);
    if !own || turn.status.cancellation.is_some() || !server.deviations().cleans_up(success) {
        return None;
    }
    if let Some(due) = turn.memory.clean_up.retry_at.filter(|due| *due > turn.now) {
        return Some(Due::Wait(due));
    }
    Some(Due::Tell(Effect::CleanUp(plan::cancel(url))))
}
