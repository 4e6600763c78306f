//! What failures of polls lead to: when the next poll is due, and from when on the user is told.

use super::memory::Running;
use super::turn::Turn;
use crate::api::ConditionType;
use crate::core::answer::Refusal;
use crate::core::wire::{Failure, FailureKind};

/// Failed polls in a row after which the conditions tell the user: one lost answer is no news.
pub(super) const TELL_AFTER: u32 = 3;
/// Refusals, or answers that cannot be read, in a row after which the run is given up.
pub(super) const GIVE_UP_AFTER: u32 = 8;

/// No answer came to a poll: says when the next one is due.
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

/// The server answered a poll: the failures before it count no more.
pub(super) fn reachable(turn: &mut Turn<'_>, memory: &mut Running) {
    memory.poll.failures = 0;
    turn.server_answered();
}

/// The server answered a poll, but not with the status of the job: says when the next poll is due. The user is told
/// with `at_once`, or after `TELL_AFTER` such answers in a row.
pub(super) fn refused(turn: &mut Turn<'_>, memory: &mut Running, refusal: &Refusal, at_once: bool) {
    let wait = turn.back_off(&mut memory.poll, refusal.retry_after);
    if at_once || memory.poll.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, refusal.reason, &refusal.message);
    }
    memory.poll.next_try = Some(turn.later(wait));
}
