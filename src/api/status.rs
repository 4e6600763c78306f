//! The status of a `FhirExport`: what the operator learnt, and all that it needs to go on after a restart.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compression, Condition};

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

/// The word in `status.state` of a FhirExport. It is for people; programs use the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunState {
    /// The kick-off cannot be sent yet; the conditions say why.
    Waiting,
    /// All places of the server are taken.
    Queued,
    /// `spec.suspend` of the export or of its server holds the run.
    Suspended,
    /// The kick-off is on its way.
    Starting,
    /// Nobody knows whether the server started a job.
    Uncertain,
    /// The server works on the job.
    Running,
    /// The operator copies the server's files into the container.
    Landing,
    /// The operator checks the files that the server wrote.
    Verifying,
    /// The server was asked to cancel the job.
    Cancelling,
    /// The data is complete.
    Complete,
    /// The run ended without success.
    Failed,
    /// The run was cancelled on request.
    Cancelled,
    /// A word that this version does not know. It is never written, only read.
    #[serde(other)]
    Unknown,
}

impl RunState {
    /// Every word that the operator writes, in the order in which a run may show them.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Queued,
        Self::Suspended,
        Self::Starting,
        Self::Uncertain,
        Self::Running,
        Self::Landing,
        Self::Verifying,
        Self::Cancelling,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Queued => "Queued",
            Self::Suspended => "Suspended",
            Self::Starting => "Starting",
            Self::Uncertain => "Uncertain",
            Self::Running => "Running",
            Self::Landing => "Landing",
            Self::Verifying => "Verifying",
            Self::Cancelling => "Cancelling",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether a run that shows this word has ended.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Complete | Self::Failed | Self::Cancelled => true,
            Self::Waiting
            | Self::Queued
            | Self::Suspended
            | Self::Starting
            | Self::Uncertain
            | Self::Running
            | Self::Landing
            | Self::Verifying
            | Self::Cancelling
            | Self::Unknown => false,
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
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

/// A job on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The server's id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where the server answers for the job.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// Written before the kick-off was sent.
    pub intent_time: Timestamp,
    /// When the server accepted the kick-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_time: Option<Timestamp>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Whether the server agreed to tell the job's status apart from that of its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separate_status: Option<bool>,
    /// Where the files of this job go, as it was decided just before the kick-off was sent. Later edits of the
    /// FhirServer change it for later jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// Where the files of a job go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The blob container; absent when an Azure server makes one of its own for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in it that the operator lands the files in; absent when the server writes the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The blob endpoint of the storage account that the operator lands the files in; absent when the server writes
    /// the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// None or Gzip: how the operator stores the files; absent when the server writes the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How far a job is: what the server says, else what was seen in the container; then what has landed there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// For people, such as `61 files`, `40%` or `12 of 200 files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Per cent, as the server says it, or of the files that have landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Files seen so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Bytes seen so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// An earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousJob {
    /// The server's id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where its files lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// When it started.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Timestamp,
    /// Why it ended.
    pub reason: String,
}

/// A job that may still run, unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnsettledJob {
    /// Where the server answers for the job, if that is known.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// When its kick-off was sent.
    pub intent_time: Timestamp,
    /// Why its end is not known.
    pub reason: String,
}

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

/// What lies where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The blob container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in it; absent when the files lie at its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The manifest that the operator stored beside the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<StoredManifest>,
    /// Number of NDJSON files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Number of resources, as the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes of all files, where the container could be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Files that name deleted resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_files: Option<i64>,
    /// Error files of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_files: Option<i64>,
    /// Issues in them; of files that the operator landed, only errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_issues: Option<i64>,
    /// What was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// One entry a resource type, at most 60; the full manifest lies in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub types: Vec<TypeOutput>,
}

/// The stored manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct StoredManifest {
    /// Its path in the container.
    pub path: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The result of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckResult {
    /// It was checked and is right.
    Passed,
    /// It was checked and is wrong.
    Failed,
    /// It could not be checked, or only in part.
    #[default]
    Unknown,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// Every file of the manifest is in the container.
    pub files: CheckResult,
    /// The files hold as many resources as the manifest says.
    pub counts: CheckResult,
    /// Their checksums are those of the manifest.
    pub checksums: CheckResult,
    /// Each requested type was answered.
    pub requested_types: CheckResult,
}

/// The output of one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TypeOutput {
    /// The resource type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Number of files.
    pub files: i64,
    /// Number of resources, where the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes, where the container could be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_stored_as_they_are_shown_and_unknown_ones_are_read() {
        for state in RunState::ALL {
            let status: FhirExportStatus = serde_json::from_value(json!({"state": state.as_str()})).unwrap();
            assert_eq!((status.state, status.state_word()), (Some(state), Some(state.as_str())));
            assert_eq!(serde_json::to_value(&status).unwrap(), json!({"state": state.to_string()}));
        }
        let later: FhirExportStatus = serde_json::from_value(json!({"state": "Dreaming"})).unwrap();
        assert_eq!(later.state, Some(RunState::Unknown));
    }
}
