//! How long a schedule waits after a failure before it tries again.

use jiff::Timestamp;

use super::instant::after;
use crate::core::ledger::StorageFailureKind;

/// The step that failed, which decides how long the schedule waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedStep {
    /// A run could not continue: the API server refused its export, or the storage account did not answer.
    Run,
    /// A folder could not be deleted because the storage account did not answer.
    DeletionUnanswered,
    /// A folder could not be deleted because the storage account refused.
    DeletionRefused,
}

impl FailedStep {
    /// The failed step for a deletion that ended with this kind of failure.
    pub(super) fn of_deletion(failure: StorageFailureKind) -> Self {
        match failure {
            StorageFailureKind::Transient { .. } => Self::DeletionUnanswered,
            StorageFailureKind::NotConfigured
            | StorageFailureKind::Missing
            | StorageFailureKind::HostNotAllowed
            | StorageFailureKind::NotGranted
            | StorageFailureKind::NotMounted
            | StorageFailureKind::Denied
            | StorageFailureKind::NotFound
            | StorageFailureKind::Full
            | StorageFailureKind::ReadOnly
            | StorageFailureKind::Permanent => Self::DeletionRefused,
        }
    }

    /// The wait, in seconds.
    pub(super) fn seconds(self) -> i64 {
        match self {
            Self::Run => 60,
            Self::DeletionUnanswered => 600,
            Self::DeletionRefused => 3600,
        }
    }

    /// When to try again.
    pub(super) fn next_try(self, now: Timestamp) -> Timestamp {
        after(now, self.seconds())
    }
}

/// The time of the next deletion, if it is still to come. A time further ahead than the longest wait was
/// written while the clock was wrong, and is ignored.
pub(super) fn still_ahead(next_try: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let longest = after(now, FailedStep::DeletionRefused.seconds());
    next_try.filter(|next| *next > now && *next <= longest)
}
