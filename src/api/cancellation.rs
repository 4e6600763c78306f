//! How a cancel goes, as the status of a `FhirExport` records it.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a job is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancelReason {
    /// `spec.cancel`.
    Requested,
    /// `activeDeadlineSeconds`.
    Deadline,
    /// The object was deleted.
    Deleted,
}

/// How a cancel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancelOutcome {
    /// The server confirmed it.
    Confirmed,
    /// The job had ended before.
    AlreadyFinished,
    /// The server did not confirm it in time.
    Unconfirmed,
}

/// How a cancel goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// When it was asked for.
    pub request_time: Timestamp,
    /// Requested, Deadline or Deleted.
    pub reason: CancelReason,
    /// Tries that failed so far.
    pub tries: i32,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CancelOutcome>,
}
