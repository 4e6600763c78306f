//! A landing cannot go on as it is: another try later, a fresh manifest, or another attempt.

use std::time::Duration;

use super::memory::{CleanUp, Landing, LandingStage, LandingTries, Running};
use super::phase::Phase;
use super::turn::Turn;
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::landing::{LandFailure, LandFailureKind};
use crate::core::ledger::StorageFailureKind;
use crate::core::poll::retry_delay;
use crate::core::retry::Retry;

/// How often a landing is tried again without a file landing between the tries.
const TRIES: u32 = 10;
/// How many fresh manifests in a row may bring no file.
const REFRESHES: u32 = 5;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Takes in why the landing cannot go on.
pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Landing, failure: LandFailure) -> Phase {
    let own = retry_delay(DELAY, DELAY_MAX, memory.tries.retry.count(), turn.jitter);
    let failures = memory.tries.retry.failures;
    let not_yet = format!("the files have not all landed yet: {}", failure.message);
    if failure.kind != LandFailureKind::Expired {
        turn.set_true(ConditionType::Reconciling, failure.reason, &not_yet);
    }
    let wait = match failure.kind {
        LandFailureKind::Expired => {
            memory.tries.refreshes += 1;
            if memory.tries.refreshes > REFRESHES {
                return give_up(memory, failure);
            }
            return refresh(turn, &memory, own);
        }
        LandFailureKind::Missing => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            turn.tuning.missing_retry
        }
        LandFailureKind::Source if failures < TRIES => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            own
        }
        LandFailureKind::Storage(StorageFailureKind::Transient { retry_after }) if failures < TRIES => {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::StorageUnreachable, &not_yet);
            retry_after.unwrap_or(own).min(DELAY_MAX)
        }
        // Somebody must give a role, a Secret or a container: the deadline bounds the wait.
        LandFailureKind::Storage(
            StorageFailureKind::Missing
            | StorageFailureKind::Denied
            | StorageFailureKind::HostNotAllowed
            | StorageFailureKind::NotConfigured
            | StorageFailureKind::NotFound
            | StorageFailureKind::Full
            | StorageFailureKind::ReadOnly,
        ) => {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::NoStorageAccess, &not_yet);
            own.min(turn.tuning.missing_retry * 6)
        }
        LandFailureKind::Source
        | LandFailureKind::Storage(StorageFailureKind::Transient { .. } | StorageFailureKind::Permanent)
        | LandFailureKind::Permanent => return give_up(memory, failure),
    };
    memory.tries.retry.next_try = Some(turn.later(wait));
    Phase::Landing(Box::new(memory))
}

/// A fresh manifest has fresh links; what has landed is known by its source.
fn refresh(turn: &Turn<'_>, memory: &Landing, wait: Duration) -> Phase {
    let next_poll = turn.later(wait.min(turn.bounds().max));
    let retry = Retry { next_try: None, ..memory.tries.retry };
    Phase::Running(Running {
        poll: Retry { failures: 0, next_try: Some(next_poll) },
        progress_at: memory.progress_at,
        refresh: Some(LandingTries { retry, ..memory.tries }),
        ..Running::default()
    })
}

fn give_up(mut memory: Landing, failure: LandFailure) -> Phase {
    memory.stage =
        LandingStage::GivingUp { why: (failure.reason, failure.message), clean_up: CleanUp::default() };
    Phase::Landing(Box::new(memory))
}
