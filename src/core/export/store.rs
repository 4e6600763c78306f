//! Stores the manifest beside the data, as the mark of completeness, and the log.

use std::time::Duration;

use jiff::Timestamp;

use super::flow::Next;
use super::memory::Storing;
use super::turn::Turn;
use crate::api::{ConditionType, Reason};
use crate::core::effect::Effect;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::poll::retry_delay;

/// How often storing is tried if it fails for a reason that may pass: enough to survive an outage of minutes.
const TRIES: u32 = 8;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Stores the log or the manifest, or waits until the next try is due, at most until `deadline`.
pub(super) fn next(
    turn: &Turn<'_>,
    storing: &Storing,
    deadline: Option<Timestamp>,
    effect: impl FnOnce() -> Effect,
) -> Next {
    match storing.retry.due_after(turn.now) {
        Some(due) => Next::wait_until(&[Some(due), deadline]),
        None => Next::perform(effect()),
    }
}

/// Takes in the result of storing the log, or the manifest beside files that an Azure server wrote. A
/// failure never fails a run whose data is complete, since the operator may not be allowed to write there;
/// the final message reports it.
pub(super) fn observe(turn: &Turn<'_>, store: &mut Storing, result: Result<String, StorageFailure>) {
    if let Err(StorageFailure { kind: StorageFailureKind::Transient { retry_after }, .. }) = &result
        && store.retry.failures < TRIES - 1
    {
        let own = retry_delay(DELAY, DELAY_MAX, store.retry.count(), turn.jitter);
        store.retry.next_try = Some(turn.later(retry_after.unwrap_or(own).min(DELAY_MAX)));
        return;
    }
    store.outcome = Some(result.map_err(|failure| failure.message));
}

/// Takes in the result of storing the manifest of files that the operator landed. A stored manifest marks the
/// files as complete, so it is tried like the files until the deadline. Returns why the attempt must be given
/// up if trying again cannot help.
pub(super) fn mark(
    turn: &mut Turn<'_>,
    store: &mut Storing,
    result: Result<String, StorageFailure>,
) -> Option<(Reason, String)> {
    let failure = match result {
        Ok(sha256) => {
            store.outcome = Some(Ok(sha256));
            return None;
        }
        Err(failure) => failure,
    };
    let own = retry_delay(DELAY, DELAY_MAX, store.retry.count(), turn.jitter);
    let not_yet = format!(
        "the files have landed, and the manifest that marks them as complete is not stored yet: {}",
        failure.message
    );
    let (reason, wait) = match failure.kind {
        StorageFailureKind::Transient { retry_after } => {
            (Reason::StorageUnreachable, retry_after.unwrap_or(own).min(DELAY_MAX))
        }
        // Only a person can provide a role, a Secret or a container.
        StorageFailureKind::Missing
        | StorageFailureKind::Denied
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::NotGranted
        | StorageFailureKind::NotMounted
        | StorageFailureKind::NotConfigured
        | StorageFailureKind::NotFound
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly => (Reason::NoStorageAccess, own.min(turn.tuning.missing_retry * 6)),
        StorageFailureKind::Permanent => {
            let message = format!("the manifest cannot be stored beside the files: {}", failure.message);
            return Some((Reason::UploadFailed, message));
        }
    };
    turn.set_true(ConditionType::Reconciling, reason, &not_yet);
    store.retry.next_try = Some(turn.later(wait));
    None
}
