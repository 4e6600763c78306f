//! Why a file did not land.

use crate::api::Reason;
use crate::core::landing::{LandFailureKind, LandFile};
use crate::core::ledger::StorageFailure;

/// Why one file did not land.
pub(super) struct Obstacle {
    pub(super) kind: LandFailureKind,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Obstacle {
    pub(super) fn new(kind: LandFailureKind, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into() }
    }
}

impl From<StorageFailure> for Obstacle {
    fn from(failure: StorageFailure) -> Self {
        Self::new(LandFailureKind::Storage(failure.kind), Reason::UploadFailed, failure.message)
    }
}

/// An object with the key of a file that is not that file.
pub(super) fn not_the_same(file: &LandFile) -> Obstacle {
    let message = format!(
        "{} lies in the container already and is another file than the one that the manifest names in its place now; \
         both are kept, and the export begins anew in another folder",
        file.blob
    );
    Obstacle::new(LandFailureKind::Permanent, Reason::SourceChanged, message)
}
