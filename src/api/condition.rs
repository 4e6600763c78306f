//! Conditions, in the form that `kubectl wait`, kstatus and Argo CD read.

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
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the object that this was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// One word for programs. The list of reasons is in the documentation.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// One sentence for people: the cause, and what to do.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// The types of condition that this operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// The run is valid and its server admits it; final once the job was started.
    Accepted,
    /// The operator still works towards the kick-off, or on a cancel.
    Reconciling,
    /// Held by `spec.suspend`, of the run or of its server.
    Suspended,
    /// What the last requests to the server met.
    ServerReachable,
    /// A kick-off was sent and its answer was lost.
    KickOffUncertain,
    /// Whether the files in the container are what the manifest says.
    Verified,
    /// The export is done and its files are in the container.
    Complete,
    /// The export ended without success.
    Failed,
    /// Nothing goes on without somebody's help.
    Stalled,
    /// `FhirServer`: exports can be started. `FhirExportSchedule`: runs are made.
    Ready,
    /// `FhirServer`: a token was obtained, and the server accepts it for exports.
    Authenticated,
    /// `FhirServer`: the operator can list the storage account.
    StorageAccessible,
    /// `FhirExportSchedule`: the incremental runs hold every change so far, with no gap.
    ChainIntact,
    /// `FhirExportSchedule`: how the last run ended.
    LastRunSucceeded,
    /// `FhirExportSchedule`: folders that `spec.retention` does not keep are deleted.
    OldFilesDeleted,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Condition {
    /// Whether this is of type `type_`.
    pub fn is(&self, type_: ConditionType) -> bool {
        self.type_ == type_.to_string()
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// Whether its reason is `reason`.
    pub fn because(&self, reason: Reason) -> bool {
        self.reason == reason.as_str()
    }
}
