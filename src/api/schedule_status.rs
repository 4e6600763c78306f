//! The status of a `FhirExportSchedule`: its runs, the chain that they form, and the members of a group.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, PatientsBlob, RetentionStatus};

/// What one run exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunMode {
    /// Everything that the request names.
    Full,
    /// The resources that changed since an instant.
    Incremental,
    /// Everything about the patients that joined the group since the previous run of the chain.
    Newcomers,
}

impl RunMode {
    /// The value of the label `fhirexport.dev/mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Incremental => "Incremental",
            Self::Newcomers => "Newcomers",
        }
    }
}

/// An export that precedes the run's own, if the schedule keeps track of the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunStage {
    /// The export that lists the members of the group.
    Members,
    /// The export of everything about the patients that joined the group since the previous run of the chain.
    Newcomers,
}

impl RunStage {
    /// The value of the label `fhirexport.dev/mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Members => "Members",
            Self::Newcomers => "Newcomers",
        }
    }

    /// The ending of the FhirExport's name, after the name of the run.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Members => "-members",
            Self::Newcomers => "-newcomers",
        }
    }
}

/// The state of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirExportScheduleStatus {
    /// The generation of the spec that this status belongs to. -1 before the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions Ready, Suspended, ChainIntact, LastRunSucceeded, OldFilesDeleted and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The last scheduled time for which a run was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    /// When the last run that succeeded ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// When the next run is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// The last scheduled time for which no run was created, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skipped: Option<SkippedRun>,
    /// The runs that are not done, oldest first. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub active: Vec<ActiveRun>,
    /// The number of runs since the last success that failed, or whose result the chain could not use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// The name of the run that the annotation `fhirexport.dev/run-now` last requested. Each new value of the
    /// annotation requests one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_now: Option<String>,
    /// What the incremental runs cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// The folders that `spec.retention` may delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionStatus>,
}

/// A scheduled time for which no run was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SkippedRun {
    /// The scheduled time.
    pub time: Timestamp,
    /// Why no run was created, as one of the documented reasons.
    pub reason: String,
}

/// A run that is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRun {
    /// The name of the run's FhirExport.
    pub name: String,
    /// The uid of the FhirExport. Absent until it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The scheduled time that the run is for; for a run on request, the time of the request.
    pub slot_time: Timestamp,
    /// Members or Newcomers if this FhirExport precedes the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<RunStage>,
}

/// A chain: one full run and the incremental runs that build on it. Together they hold every change up to
/// `coveredUntil`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The value of the label `fhirexport.dev/chain` of the chain's runs: the name of the chain's first run, without
    /// the name of the schedule and the hyphen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A hash of the server and the request. A change of either begins a new chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The instant up to which every change is exported, verbatim as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_until: Option<String>,
    /// The scheduled time of the chain's first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_full_time: Option<Timestamp>,
    /// Why the next run is full, as one of the documented reasons. Absent if the next run is incremental.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_due_reason: Option<String>,
    /// The members of the group at the last run of the chain. Present if newcomers are exported in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberList>,
    /// The run that the chain waits for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRun>,
    /// The last 10 runs of the chain that succeeded, oldest first, each preceded by its export of newcomers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ChainedRun>,
}

/// The run that a chain waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingRun {
    /// The name of the run's FhirExport.
    pub name: String,
    /// The uid of the FhirExport. Absent until it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The scheduled time that the run is for; for a run on request, the time of the request.
    pub slot_time: Timestamp,
    /// Full or Incremental.
    pub mode: RunMode,
    /// The instant from which the run exports changes. Absent for a full run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The id of the chain that the run continues or begins.
    pub chain: String,
    /// The hash of the run's server and request.
    pub fingerprint: String,
    /// The members of the group. Absent until the run's export of members has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberList>,
    /// The members that joined since the previous run of the chain. Absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcomers: Option<PatientsBlob>,
    /// The export of the members that joined, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcomers_run: Option<ChainedRun>,
}

/// A list of a group's members in the server's storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct MemberList {
    /// The container and path of the list. Absent if the group has no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The SHA-256 of the list, in hexadecimal.
    pub sha256: String,
}

/// A run of a chain that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainedRun {
    /// The name of the FhirExport, which may be deleted by now.
    pub name: String,
    /// The uid of the FhirExport.
    pub uid: String,
    /// Full, Incremental or Newcomers.
    pub mode: RunMode,
    /// The instant from which the run exported changes. Absent for a full run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The server's `transactionTime` of the run: the instant up to which it exported changes.
    pub transaction_time: String,
    /// The container of the run's files: of the storage account, a directory of the volume, or the bucket or prefix of
    /// an S3 store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}
