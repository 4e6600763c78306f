//! What failed polls lead to: when the next poll is due, and when the user is told.

use super::memory::Running;
use super::turn::Turn;
use crate::api::ConditionType;
use crate::core::answer::Refusal;
use crate::core::wire::{Failure, FailureKind};

/// Consecutive failed polls after which the conditions tell the user. A single lost answer is not worth reporting.
pub(super) const TELL_AFTER: u32 = 3;
/// Consecutive refusals or unreadable answers after which the run is given up.
pub(super) const GIVE_UP_AFTER: u32 = 8;

/// No answer came to a poll: schedules the next one.
pub(super) fn not_polled(turn: &mut Turn<'_>, memory: &mut Running, failure: &Failure) {
    let wait = match failure.kind {
        FailureKind::HeldBack { until } => {
            memory.poll.next_try = Some(until.max(turn.now));
            return;
        }
        FailureKind::Missing => turn.tuning.missing_retry,
        FailureKind::Unreachable => turn.back_off(&mut memory.poll, None),
    };
    if failure.kind == FailureKind::Missing || memory.poll.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, failure.reason, &failure.message);
    }
    memory.poll.next_try = Some(turn.later(wait));
}

/// The server answered a poll, so earlier failures no longer count.
pub(super) fn reachable(turn: &mut Turn<'_>, memory: &mut Running) {
    memory.poll.failures = 0;
    turn.server_answered();
}

/// The server answered a poll, but not with the status of the job: schedules the next poll. The conditions
/// tell the user at once if `at_once` is set, otherwise after [`TELL_AFTER`] such answers in a row.
pub(super) fn refused(turn: &mut Turn<'_>, memory: &mut Running, refusal: &Refusal, at_once: bool) {
    let wait = turn.back_off(&mut memory.poll, refusal.retry_after);
    if at_once || memory.poll.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, refusal.reason, &refusal.message);
    }
    memory.poll.next_try = Some(turn.later(wait));
}
