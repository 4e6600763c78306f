//! Conditions in the form that `kubectl wait`, kstatus and Argo CD understand.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::Reason;

/// One aspect of the state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect, such as `Complete` or `ServerReachable`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False or Unknown: whether the condition holds.
    pub status: ConditionStatus,
    /// The `metadata.generation` that this condition was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// One CamelCase word for programs. The documentation lists all reasons (docs/reasons.md).
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// A message for people: the cause, and what to do about it.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The operator does not know whether the condition holds.
    Unknown,
}

/// The condition types that this operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// `FhirExport`: the export is valid and its server admits it. Does not change once the job was started.
    Accepted,
    /// `FhirExport`: the operator still works towards the kick-off, or cancels the job.
    Reconciling,
    /// `FhirExport`: `spec.suspend` of the export or of its server holds it.
    Suspended,
    /// `FhirExport`: whether the server answered the most recent requests.
    ServerReachable,
    /// `FhirExport`: a kick-off was sent and its answer was lost, so a job may or may not run.
    KickOffUncertain,
    /// `FhirExport`: whether the files in the container match the manifest.
    Verified,
    /// `FhirExport`: the export is done and its files are in the container.
    Complete,
    /// `FhirExport`: the export ended without success.
    Failed,
    /// The object makes no progress until somebody intervenes.
    Stalled,
    /// `FhirServer`: exports can be started. `FhirExportSchedule`: the schedule creates its exports.
    Ready,
    /// `FhirServer`: the operator obtained a token, and the server accepts it for exports.
    Authenticated,
    /// `FhirServer`: the operator can list the storage account, or use the volume.
    StorageAccessible,
    /// `FhirExportSchedule`: the incremental runs together hold every change so far, without a gap.
    ChainIntact,
    /// `FhirExportSchedule`: how the last run ended.
    LastRunSucceeded,
    /// `FhirExportSchedule`: the folders that `spec.retention` does not keep have been deleted.
    OldFilesDeleted,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Condition {
    /// Whether this condition is of type `type_`.
    pub fn is(&self, type_: ConditionType) -> bool {
        self.type_ == type_.to_string()
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// Whether the reason is `reason`.
    pub fn because(&self, reason: Reason) -> bool {
        self.reason == reason.as_str()
    }
}
