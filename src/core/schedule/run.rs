//! What one `FhirExport` of a schedule says about itself.

use jiff::Timestamp;
use kube::ResourceExt;

use super::instant::meaning;
use crate::api::{
    ChainedRun, Condition, ConditionStatus, ConditionType, FhirExport, Reason, RunMode, SLOT_ANNOTATION,
};
use crate::core::condition;
use crate::core::export::is_terminal;
use crate::core::planted::{Fault, planted};

/// Why no chain can build on an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Uncounted {
    /// The operator has not written a status yet.
    #[error("it has no status")]
    NoStatus,
    /// The export is not `Complete`.
    #[error("it did not succeed")]
    NotComplete,
    /// The export is `Complete`, but the server reports errors beside the data.
    #[error("the server reports errors")]
    WithErrors,
    /// `Verified` is False.
    #[error("a check of its files failed")]
    CheckFailed,
    /// The manifest has no `transactionTime`, or one that cannot be read.
    #[error("the server did not say of which instant its data is")]
    NoTransactionTime,
    /// The export is not the one that the chain waits for.
    #[error("it is not the run that the chain waits for")]
    NotAwaited,
    /// The export belongs to a run that the chain does not wait for.
    #[error("it is not of the run that the chain waits for")]
    OfAnotherRun,
    /// The server or the request is not the one that the run was made for.
    #[error("it ran on another server, or for another request, than it was made for")]
    OtherRequest,
    /// The server's time is before what the chain already covers.
    #[error("the server says that its data is of {0}, before what was covered already; the next run is full")]
    WentBack(String),
}

/// The conditions of an export.
pub(super) fn conditions(run: &FhirExport) -> &[Condition] {
    run.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

/// When an export ended, whether it succeeded or not.
pub(super) fn ended_at(run: &FhirExport) -> Option<Timestamp> {
    run.status.as_ref().and_then(|status| status.completion_time)
}

/// Whether an export has ended, whether it succeeded or not.
pub(super) fn has_ended(run: &FhirExport) -> bool {
    run.status.as_ref().is_some_and(is_terminal)
}

/// Whether an export has ended and is `Complete`.
pub(super) fn is_complete(run: &FhirExport) -> bool {
    has_ended(run) && condition::is_true(conditions(run), ConditionType::Complete)
}

/// Whether an export requests everything and not only changes.
pub(super) fn is_full(run: &FhirExport) -> bool {
    run.spec.request.since.is_none()
}

/// Whether an export is being deleted.
pub(super) fn is_deleting(run: &FhirExport) -> bool {
    run.metadata.deletion_timestamp.is_some()
}

/// The time of the schedule that an export is for.
pub(super) fn slot_of(run: &FhirExport) -> Option<Timestamp> {
    instant(run, SLOT_ANNOTATION)
}

/// The time in an annotation.
pub(super) fn instant(run: &FhirExport, annotation: &str) -> Option<Timestamp> {
    run.annotations().get(annotation)?.parse().ok()
}

/// The `transactionTime` of an export that a chain can build on. The error says why a chain cannot build on it.
pub(super) fn counts(run: &FhirExport) -> Result<&str, Uncounted> {
    let Some(status) = run.status.as_ref() else { return Err(Uncounted::NoStatus) };
    let complete = condition::find(&status.conditions, ConditionType::Complete).filter(|c| c.is_true());
    let Some(complete) = complete else { return Err(Uncounted::NotComplete) };
    if !complete.because(Reason::Exported) && !planted(Fault::ChainDespiteErrors) {
        return Err(Uncounted::WithErrors);
    }
    let verified = condition::find(&status.conditions, ConditionType::Verified);
    if verified.is_some_and(|c| c.status == ConditionStatus::False) {
        return Err(Uncounted::CheckFailed);
    }
    let time = status.transaction_time.as_deref().filter(|time| meaning(time).is_some());
    time.ok_or(Uncounted::NoTransactionTime)
}

/// The entry in a chain's history for an export that counts.
pub(super) fn row(
    run: &FhirExport,
    mode: RunMode,
    since: Option<String>,
    transaction_time: String,
) -> ChainedRun {
    let output = run.status.as_ref().and_then(|status| status.output.as_ref());
    ChainedRun {
        name: run.name_any(),
        uid: run.uid().unwrap_or_default(),
        mode,
        since,
        transaction_time,
        container: output.and_then(|output| output.container.clone()),
        folder: output.and_then(|output| output.folder.clone()),
    }
}
