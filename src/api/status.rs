//! The status of a `FhirExport`: what the operator knows about a run, and all that it needs to continue the run
//! after a restart.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::cancellation::Cancellation;
use super::job::{Job, PreviousJob, UnsettledJob};
use super::output::Output;
use super::run_state::RunState;

/// The state of an export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirExportStatus {
    /// The generation of the object that this status is about; -1 before the operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Waiting, Queued, Suspended, Starting, Uncertain, Running,
    /// Landing, Verifying, Cancelling, Complete, Failed or Cancelled. Programs use the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<RunState>,
    /// Why the export shows its `state`, in one CamelCase word: the reason of the condition that decides the state. The
    /// documentation lists all reasons (docs/reasons.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why the export shows its `state`, in one sentence with the cause and the next step: the message of the condition
    /// that decides the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Conditions of the types Accepted, Reconciling, Suspended, ServerReachable, KickOffUncertain, Verified,
    /// Complete, Failed and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The server that the run uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerIdentity>,
    /// When the server first accepted a kick-off of this export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Timestamp>,
    /// When the run first left the queue. The deadline counts from here, so the operator moves this forward by
    /// any time for which the run is queued or suspended afterwards without a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the run ended, with or without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// The server's `transactionTime`, verbatim: the instant up to which the data is complete. Use it as `since`
    /// of the next export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_time: Option<String>,
    /// Number of attempts so far, the first one included: at most `backoffLimit` + 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// When the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Timestamp>,
    /// When the next attempt, or the next try of a kick-off, is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Timestamp>,
    /// The job on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// The jobs of earlier attempts, whose files stay in the container. At most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_jobs: Vec<PreviousJob>,
    /// Jobs that may still run on the server although the operator does not follow them. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled_jobs: Vec<UnsettledJob>,
    /// The cancel of the job, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// The files of the export: where they are, how many there are, and what the operator checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

impl FhirExportStatus {
    /// The word in `state`, if there is one.
    pub fn state_word(&self) -> Option<&'static str> {
        self.state.map(RunState::as_str)
    }
}

/// The server that a run uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ServerIdentity {
    /// The uid of the FhirServer.
    pub uid: String,
    /// The URL of the FhirServer when the run started.
    pub url: String,
}
