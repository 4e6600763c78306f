//! Storing the manifest beside the data, as the mark of completeness.

use std::time::Duration;

use super::memory::StoreManifest;
use super::turn::Turn;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::poll::retry_delay;

/// How often storing is tried where it fails in a way that may pass: an outage of minutes is outlived.
const TRIES: u32 = 8;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Takes in what came of storing the manifest. A failure never fails a run whose data is complete.
pub(super) fn observe(turn: &Turn<'_>, store: &mut StoreManifest, result: Result<String, StorageFailure>) {
    if let Err(StorageFailure { kind: StorageFailureKind::Transient { retry_after }, .. }) = &result
        && store.retry.failures < TRIES - 1
    {
        let own = retry_delay(DELAY, DELAY_MAX, store.retry.count(), turn.jitter);
        store.retry.next_try = Some(turn.later(retry_after.unwrap_or(own).min(DELAY_MAX)));
        return;
    }
    store.outcome = Some(result.map_err(|failure| failure.message));
}
