//! The cancel of a job, as the status of a `FhirExport` records it.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a job is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancelReason {
    /// `spec.cancel` of the export is true.
    Requested,
    /// The run took longer than `activeDeadlineSeconds`.
    Deadline,
    /// The FhirExport was deleted.
    Deleted,
}

/// The result of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancelOutcome {
    /// The server confirmed the cancel.
    Confirmed,
    /// The job had ended before the server received the cancel.
    AlreadyFinished,
    /// The server did not confirm the cancel in time, so the job may still run.
    Unconfirmed,
}

/// The cancel of a job: why it was requested, and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// When the operator began to cancel the job.
    pub request_time: Timestamp,
    /// Why the job is cancelled: Requested (by `spec.cancel`), Deadline (`activeDeadlineSeconds` has passed) or
    /// Deleted (the FhirExport was deleted).
    pub reason: CancelReason,
    /// How often the operator has tried to cancel the job.
    pub tries: i32,
    /// The result: Confirmed, AlreadyFinished (the job had ended before) or Unconfirmed (the server did not
    /// confirm the cancel in time, so the job may still run). Absent while the cancel is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CancelOutcome>,
}
