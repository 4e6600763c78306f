//! Why a store could not be used.

use std::time::Duration;

use crate::api::Reason;

/// Why a store could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageFailure {
    /// The kind of failure, which decides what happens next.
    pub kind: StorageFailureKind,
    /// One sentence for people: the cause and the next step; no secret, no signature.
    pub message: String,
}

impl StorageFailure {
    /// A failure that trying again does not mend. `message` is one sentence: the cause and the next step.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: StorageFailureKind::Permanent, message: message.into() }
    }

    /// A failure that another try may mend. `message` is one sentence: the cause and the next step.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: StorageFailureKind::Transient { retry_after: None }, message: message.into() }
    }

    /// The reason of a condition about something that the store could not give: StorageUnreachable if another try may
    /// mend it, else NoStorageAccess.
    pub fn access_reason(&self) -> Reason {
        match self.kind {
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
}

/// The kinds of storage failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFailureKind {
    /// The `FhirServer` names no storage.
    NotConfigured,
    /// A Secret or ServiceAccount for the storage is missing or wrong.
    Missing,
    /// The operator sends no token to that host.
    HostNotAllowed,
    /// The store refuses the identity, or the user of the process (401, 403, EACCES).
    Denied,
    /// There is no such container (404).
    NotFound,
    /// The store has no room left: somebody makes room or raises the quota.
    Full,
    /// The store cannot be written to: somebody mounts it writable.
    ReadOnly,
    /// The store did not answer, or asks for patience.
    Transient {
        /// The wait that the store asked for, if it did.
        retry_after: Option<Duration>,
    },
    /// Any other failure: trying again does not help.
    Permanent,
}
