//! How the check of the files stands, and when one that failed is tried again.

use std::sync::Arc;
use std::time::Duration;

use super::memory::Checking;
use super::turn::Turn;
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::ledger::{Checked, StorageFailure, StorageFailureKind, Verification};
use crate::core::poll::retry_delay;

/// How often a check that failed in a way that may pass is tried.
const TRIES: u32 = 10;
/// How often it is tried where something is missing in the cluster: these tries are cheap, and a repair should be seen
/// at once.
const TRIES_MISSING: u32 = 100;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Takes in how the check stands.
pub(super) fn observe(turn: &mut Turn<'_>, memory: &mut Checking, state: Verification) {
    match state {
        Verification::Running { .. } => {
            turn.task_runs = true;
            memory.check_began.get_or_insert(turn.now);
        }
        Verification::Done(checked) => memory.outcome = Some(Ok(Arc::new(checked))),
        Verification::Failed(failure) => failed(turn, memory, &failure),
    }
}

fn failed(turn: &mut Turn<'_>, memory: &mut Checking, failure: &StorageFailure) {
    let own = retry_delay(DELAY, DELAY_MAX, memory.check.count(), turn.jitter);
    let again = match failure.kind {
        StorageFailureKind::Transient { retry_after } => {
            Some((TRIES, retry_after.unwrap_or(own).min(DELAY_MAX)))
        }
        StorageFailureKind::Missing => Some((TRIES_MISSING, turn.tuning.missing_retry)),
        StorageFailureKind::NotFound => {
            // Without the container none of its files is there.
            let none = Checked { bytes: None, lines: None };
            memory.outcome = Some(Ok(Arc::new(vec![none; memory.manifest.files()])));
            return;
        }
        StorageFailureKind::NotConfigured
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::Denied
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => None,
    };
    match again {
        Some((limit, wait)) if memory.check.failures < limit => {
            memory.check.next_try = Some(turn.later(wait));
            let why = format!("the files are not checked yet: {}", failure.message);
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, unchecked(failure), &why);
        }
        Some(_) | None => {
            let why = format!("the files were not checked: {}", failure.message);
            memory.outcome = Some(Err((unchecked(failure), why)));
        }
    }
}

/// The reason to give for files that were not checked.
fn unchecked(failure: &StorageFailure) -> Reason {
    match failure.kind {
        StorageFailureKind::Transient { .. } => Reason::StorageUnreachable,
        StorageFailureKind::NotConfigured
        | StorageFailureKind::Missing
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::Denied
        | StorageFailureKind::NotFound
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => Reason::NoStorageAccess,
    }
}
