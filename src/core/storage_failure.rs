//! Why a store could not be used.

use std::time::Duration;

use crate::api::Reason;

/// Why a store could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageFailure {
    /// The kind of failure, which decides what happens next.
    pub kind: StorageFailureKind,
    /// One sentence for people: the cause and the next step, without secrets or signatures.
    pub message: String,
}

impl StorageFailure {
    /// A failure that trying again does not fix. `message` is one sentence: the cause and the next step.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: StorageFailureKind::Permanent, message: message.into() }
    }

    /// A failure that another try may fix. `message` is one sentence: the cause and the next step.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: StorageFailureKind::Transient { retry_after: None }, message: message.into() }
    }

    /// The reason for a condition about something that the store could not provide: StorageUnreachable if
    /// another try may succeed, otherwise NoStorageAccess.
    pub fn access_reason(&self) -> Reason {
        match self.kind {
            StorageFailureKind::Transient { .. } => Reason::StorageUnreachable,
            StorageFailureKind::NotConfigured
            | StorageFailureKind::Missing
            | StorageFailureKind::HostNotAllowed
            | StorageFailureKind::NotGranted
            | StorageFailureKind::NotMounted
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
    /// The operator may not send a token to that host.
    HostNotAllowed,
    /// The namespace of the `FhirServer` may not use the folder of the volume.
    NotGranted,
    /// The volume is not mounted into the operator.
    NotMounted,
    /// The store refuses the identity, or the user of the process (401, 403, EACCES).
    Denied,
    /// There is no such container (404).
    NotFound,
    /// The store has no room left; space must be freed or the quota raised.
    Full,
    /// The store is read-only; it must be mounted writable.
    ReadOnly,
    /// The store did not answer, or asked the operator to wait.
    Transient {
        /// The wait that the store asked for, if it did.
        retry_after: Option<Duration>,
    },
    /// Any other failure: trying again does not help.
    Permanent,
}
