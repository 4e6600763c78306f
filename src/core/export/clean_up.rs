//! Telling a Bulk Data server that it may forget a finished job (specification, "Bulk Data Delete Request").

use std::time::Duration;

use super::decision::Followers;
use super::flow::Next;
use super::memory::CleanUp;
use super::turn::Turn;
use crate::api::Reason;
use crate::core::answer::{self, CancelAnswer};
use crate::core::effect::{Effect, NoteType};
use crate::core::poll::retry_delay;
use crate::core::requests;
use crate::core::wire::{Failure, FailureKind, Reply};

/// How often it is tried.
const TRIES: u32 = 5;
/// The first delay between two tries; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(120);

/// Takes in the server's answer.
pub(super) fn observe(turn: &mut Turn<'_>, clean_up: &mut CleanUp, reply: Reply) {
    if let Err(Failure { kind: FailureKind::HeldBack { until }, .. }) = &reply {
        // Another run was told to be patient. This request may be what it waits for: some servers run one export at a
        // time until they hear that the last one is done with.
        clean_up.retry.next_try = Some((*until).max(turn.later(turn.tuning.poll_floor)));
        return;
    }
    let tries = clean_up.retry.count();
    let accepted = match &reply {
        // A server that does not offer this has nothing to clean up.
        Ok(answer) => {
            answer.status < 500 && !matches!(answer::cancel(answer), CancelAnswer::Again(_))
                || answer.status == 405
        }
        Err(_) => false,
    };
    if accepted || clean_up.retry.failures >= TRIES {
        clean_up.done = true;
    } else {
        let wait = retry_delay(FIRST_DELAY, LONGEST_DELAY, tries, turn.jitter);
        clean_up.retry.next_try = Some(turn.later(wait));
    }
    if !accepted && clean_up.done {
        let why = match reply {
            Ok(answer) => format!("it answers {}", answer.status),
            Err(failure) => failure.message,
        };
        let message = format!("the server could not be told that the job is done with: {why}");
        turn.note(NoteType::Warning, Reason::CleanUpFailed, "Finish", &message);
    }
}

/// What is to be done before the job can be forgotten, if the server is still to be told. `success` is whether the
/// files of the job are complete.
pub(super) fn due(turn: &Turn<'_>, clean_up: &CleanUp, success: bool) -> Option<Next> {
    // The last one that follows a job tells the server.
    let ours = turn.lands() && turn.facts.followers == Followers::None;
    let server = turn.server().filter(|_| ours && !clean_up.done)?;
    let url = turn.status.job.as_ref()?.status_url.as_ref()?;
    let own = turn.status.server.as_ref().is_some_and(|s| s.url == server.spec().url);
    if !own || turn.status.cancellation.is_some() || !server.deviations().cleans_up(success) {
        return None;
    }
    Some(match clean_up.retry.due_after(turn.now) {
        Some(due) => Next::WaitUntil(due),
        None => Next::perform(Effect::CleanUp(requests::delete(url))),
    })
}
