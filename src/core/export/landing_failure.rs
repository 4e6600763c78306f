//! A landing cannot continue: another try follows later, or a fresh manifest is requested, or the attempt ends.

use std::sync::Arc;
use std::time::Duration;

use super::memory::{CleanUp, Landing, LandingStage, LandingTries, Running};
use super::phase::Phase;
use super::turn::Turn;
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::effect::NoteType;
use crate::core::landing::{LandFailure, LandFailureKind};
use crate::core::ledger::StorageFailureKind;
use crate::core::planted::{Fault, planted};
use crate::core::poll::retry_delay;
use crate::core::retry::{Retry, after};

/// The smallest number of consecutive fresh manifests that must lack a file before it counts as missing on the server.
const REFRESHES: u32 = 5;
/// How long a file must be missing in every fresh manifest before it counts as missing on the server. A
/// gateway that is being deployed answers 404, too.
const MISSING_FOR: Duration = Duration::from_mins(10);
/// From this number of consecutive fruitless manifests on, the conditions tell the user. One is usual: links expire.
const TOLD_REFRESHES: u32 = 3;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Takes in why the landing cannot continue.
pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Landing, failure: LandFailure) -> Phase {
    let tries = memory.tries.retry.count();
    if planted(Fault::GivesUpEarly) && memory.tries.retry.failures > 10 {
        return give_up(memory, failure);
    }
    let own = retry_delay(DELAY, DELAY_MAX, tries, turn.jitter);
    memory.tries.fruitless_since.get_or_insert(turn.now);
    memory.tries.obstructed = Arc::new(failure.obstructed.clone());
    let not_yet = format!("the files have not all landed yet: {}", failure.message);
    if failure.kind != LandFailureKind::Expired {
        turn.set_true(ConditionType::Reconciling, failure.reason, &not_yet);
    }
    let wait = match failure.kind {
        LandFailureKind::Expired => {
            memory.tries.refreshes += 1;
            return expired(turn, memory, failure, &not_yet);
        }
        LandFailureKind::Panicked => {
            if tries == 1 {
                turn.note(NoteType::Warning, failure.reason, "Land", &failure.message);
            }
            own
        }
        LandFailureKind::Missing => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            turn.tuning.missing_retry
        }
        LandFailureKind::Source => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            own
        }
        LandFailureKind::Storage(StorageFailureKind::Transient { retry_after }) => {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::StorageUnreachable, &not_yet);
            retry_after.unwrap_or(own).min(DELAY_MAX)
        }
        // Only a person can provide a role, a Secret or a container: the deadline bounds the wait.
        LandFailureKind::Storage(
            StorageFailureKind::Missing
            | StorageFailureKind::Denied
            | StorageFailureKind::HostNotAllowed
            | StorageFailureKind::NotGranted
            | StorageFailureKind::NotMounted
            | StorageFailureKind::NotConfigured
            | StorageFailureKind::NotFound
            | StorageFailureKind::Full
            | StorageFailureKind::ReadOnly,
        ) => {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::NoStorageAccess, &not_yet);
            own.min(turn.tuning.missing_retry * 6)
        }
        LandFailureKind::Storage(StorageFailureKind::Permanent) | LandFailureKind::Permanent => {
            return give_up(memory, failure);
        }
    };
    memory.tries.retry.next_try = Some(turn.later(wait));
    Phase::Landing(Box::new(memory))
}

/// Requests a fresh manifest, which has fresh links; files that have landed are recognized by their source.
/// The deadline bounds the wait, unless the server keeps saying that it does not have a file.
fn expired(turn: &mut Turn<'_>, mut memory: Landing, failure: LandFailure, not_yet: &str) -> Phase {
    let LandingTries { retry, refreshes, fruitless_since, .. } = memory.tries.clone();
    let long = fruitless_since.is_some_and(|since| after(since, MISSING_FOR) <= turn.now);
    if failure.reason == Reason::FileMissing && refreshes > REFRESHES && long {
        let message =
            format!("{}, nor in {refreshes} manifests since; tell the server's owner", failure.message);
        return give_up(memory, LandFailure { message, ..failure });
    }
    if refreshes >= TOLD_REFRESHES {
        turn.set_true(ConditionType::Reconciling, failure.reason, not_yet);
    }
    let bounds = turn.bounds();
    let tries = i32::try_from(retry.failures).unwrap_or(i32::MAX);
    let wait = retry_delay(DELAY, bounds.max, tries, turn.jitter).max(bounds.min);
    memory.tries.retry.next_try = None;
    Phase::Running(Running {
        poll: Retry { failures: 0, next_try: Some(turn.later(wait)) },
        progress_at: memory.progress_at,
        refresh: Some(memory.tries),
        ..Running::default()
    })
}

fn give_up(mut memory: Landing, failure: LandFailure) -> Phase {
    memory.stage =
        LandingStage::GivingUp { why: (failure.reason, failure.message), clean_up: CleanUp::default() };
    Phase::Landing(Box::new(memory))
}
