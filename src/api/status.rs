//! The status of a `FhirExport`: what the operator learnt, and all that it needs to go on after a restart.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::cancellation::Cancellation;
use super::job::{Job, PreviousJob, UnsettledJob};
use super::output::Output;
use super::run_state::RunState;

/// What the operator learnt about a run.
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
    /// Accepted, Reconciling, Suspended, ServerReachable, KickOffUncertain, Verified, Complete, Failed, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The server that the run uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerIdentity>,
    /// When the server accepted the kick-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Timestamp>,
    /// When the run first left the queue; moved on by the time that it was suspended before its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the run ended, well or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// The instant that the data is of, verbatim as the server says it: the `since` of a next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_time: Option<String>,
    /// Tries so far that count against `backoffLimit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// When the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Timestamp>,
    /// When the next try is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Timestamp>,
    /// The job on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Earlier attempts; their data stays. At most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_jobs: Vec<PreviousJob>,
    /// Jobs that may still run on the server, unseen. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled_jobs: Vec<UnsettledJob>,
    /// How a cancel goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// What lies where.
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
    /// Its URL.
    pub url: String,
}
