//! `FhirExportSchedule`: exports that repeat, and only what changed where that is asked for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, DeletionPolicy, ErrorFilePolicy, ExportRequest, OnUncertainKickOff, PatientsBlob, Retention,
    RetentionStatus, ServerRef,
};

/// What happens when a run is due while another one is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// The new one is skipped.
    #[default]
    Forbid,
    /// The old one is deleted, which cancels its job.
    Replace,
    /// Both run.
    Allow,
}

/// What a run exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunMode {
    /// Everything that the request names.
    Full,
    /// Of that, what changed since an instant.
    Incremental,
    /// Everything of the patients that joined the group since the last run that counts.
    Newcomers,
}

impl RunMode {
    /// As it is written in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Incremental => "Incremental",
            Self::Newcomers => "Newcomers",
        }
    }
}

/// What of a run comes before the run's own export, where it keeps track of the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunStage {
    /// Who is in the group.
    Members,
    /// Patients that joined it since the last run that counts, in full.
    Newcomers,
}

impl RunStage {
    /// As it is written in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Members => "Members",
            Self::Newcomers => "Newcomers",
        }
    }

    /// What the name of its FhirExport ends with, after that of the run.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Members => "-members",
            Self::Newcomers => "-newcomers",
        }
    }
}

/// When to export, what, and whether only changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fhirexport.dev",
    version = "v1alpha1",
    kind = "FhirExportSchedule",
    namespaced,
    status = "FhirExportScheduleStatus",
    shortname = "fsched",
    category = "fhir",
    derive = "PartialEq",
    selectable = ".spec.template.spec.serverRef.name",
    cel,
    doc = "Makes FhirExports by a clock: each run is a FhirExport of its own. With incremental, runs export only what changed since the last one that succeeded, with no gap. Deleting it deletes its FhirExports, which cancels those that run, and keeps the files.",
    validation = Rule::new("size(self.metadata.name) <= 52").message("a name of at most 52 characters: the names of the runs begin with it").reason(Reason::FieldValueInvalid),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Last Success", type_ = "date", json_path = ".status.lastSuccessfulTime"),
    printcolumn(name = "Next Run", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(name = "Covered Until", type_ = "string", json_path = ".status.chain.coveredUntil"),
    printcolumn(name = "Running", type_ = "string", json_path = ".status.active[0].name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Server",
        type_ = "string",
        json_path = ".spec.template.spec.serverRef.name",
        priority = "1"
    ),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone", priority = "1"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = "1"),
    printcolumn(
        name = "Failures",
        type_ = "integer",
        json_path = ".status.consecutiveFailures",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[x_kube(validation = Rule::new("!has(self.incremental) || !has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Allow'").message("incremental runs build on each other: use Forbid or Replace").field_path(".concurrencyPolicy").reason(Reason::FieldValueForbidden))]
pub struct FhirExportScheduleSpec {
    /// When to run, in the five fields of cron: minute, hour, day of month, month, day of week, such as `30 1 * * *`.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// The time zone of `schedule`, such as Europe/Berlin. Default: UTC. A time that daylight saving leaves out runs when
    /// the clocks have moved on; one that it repeats runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Make no runs by the clock. What is missed meanwhile is not made up for; runs that were made go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Forbid (default), Replace or Allow: whether a run that is due while another one is not done is skipped, replaces
    /// that one, or runs beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// How late a run may start, after a time that was missed or in a queue. Default: a missed run is made up for once,
    /// however late, and may wait for its start for a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i64>,
    /// How many runs that succeeded are kept as FhirExports. Default: 3. Files stay, unless `retention` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub successful_runs_history_limit: Option<i32>,
    /// How many runs that failed are kept as FhirExports. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_runs_history_limit: Option<i32>,
    /// Export only what changed since the last run that succeeded. Default: every run exports all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<Incremental>,
    /// Delete the folders of old runs. Default: all files stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The FhirExport that each run is.
    pub template: ExportTemplate,
}

/// Runs that build on each other. The first run is full; so is the next one after a change of the server or the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incremental {
    /// When to run in full, in the five fields of cron and the zone of the schedule, such as `30 1 * * 0`. It adds its own
    /// times to those of `schedule`. Default: never again after the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub full_schedule: Option<String>,
    /// By how much a run reaches back before the instant that is covered: servers may give a change an earlier time than
    /// the one at which it can be seen. 0 uses the server's instant verbatim. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub overlap_seconds: Option<i64>,
    /// Begin the first chain with the changes since this instant, instead of a full run: what is before it is exported
    /// already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')").message("use an instant with a time zone, such as 2026-01-01T00:00:00Z").reason(Reason::FieldValueInvalid))]
    pub initial_since: Option<String>,
    /// Level Patient and Group only: accept that Azure's service and HAPI leave out new resources of patients that did not
    /// change themselves, until the next full run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_loss: Option<bool>,
}

/// The FhirExport that each run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ExportTemplate {
    /// Labels and annotations of the FhirExports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Their spec. `since`, `until`, `suspend`, `cancel` and `kickOffBefore` are the schedule's to set.
    pub spec: ExportTemplateSpec,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 63 })))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('fhirexport.dev/'))").message("labels of fhirexport.dev are the schedule's to set").reason(Reason::FieldValueForbidden))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 1024 })))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('fhirexport.dev/'))").message("annotations of fhirexport.dev are the schedule's to set").reason(Reason::FieldValueForbidden))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The spec of a FhirExport, but for what the schedule sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.request.since)").message("since is the schedule's to set: use incremental").field_path(".request.since").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.request.until)").message("until is not for runs that repeat").field_path(".request.until").reason(Reason::FieldValueForbidden)
)]
pub struct ExportTemplateSpec {
    /// The server to export from.
    pub server_ref: ServerRef,
    /// What to export. A change begins a new chain of incremental runs, with a full run.
    pub request: ExportRequest,
    /// How long a run may take from its first start, over all attempts. Default: the server's
    /// `defaults.activeDeadlineSeconds`, else 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often to try again where the cause of a failure may pass. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
    /// Delete a run's FhirExport so many seconds after its end, also before the history limits do. The schedule does it,
    /// after it has taken the result in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Cancel (default) or Abandon: what deleting a FhirExport does to a running job. Files stay either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Retry (default) or Fail: what to do when the answer to the kick-off was lost and no job was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_uncertain_kick_off: Option<OnUncertainKickOff>,
    /// Tolerate (default) or Fail: what error files of the server mean for a run. Either way a run whose error files hold
    /// errors is repeated by the next one, if runs are incremental.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file_policy: Option<ErrorFilePolicy>,
}

/// What the operator knows of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirExportScheduleStatus {
    /// The generation of the object that this status is about; -1 before the operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Suspended, ChainIntact, LastRunSucceeded, OldFilesDeleted, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The last time of the schedule for which a run was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    /// When the last run that succeeded ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// When the next run is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// The last time of the schedule for which no run was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skipped: Option<SkippedRun>,
    /// The runs that are not done, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub active: Vec<ActiveRun>,
    /// Runs that did not succeed since the last one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// The run that the annotation `fhirexport.dev/run-now` last asked for, which is done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_now: Option<String>,
    /// What the incremental runs cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// The folders that `spec.retention` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionStatus>,
}

/// A time of the schedule for which no run was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SkippedRun {
    /// The time.
    pub time: Timestamp,
    /// Why: one word of the documented reasons.
    pub reason: String,
}

/// A run that is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRun {
    /// The name of its FhirExport.
    pub name: String,
    /// Its uid; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The time of the schedule that it is for, or that at which it was asked for.
    pub slot_time: Timestamp,
    /// Members or Newcomers where that is what the FhirExport is for; the run's own one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<RunStage>,
}

/// A chain: one full run and the incremental runs on it. Together they hold every change up to `coveredUntil`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// What the chain is called in the label `fhirexport.dev/chain` of its runs: after the run that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A hash of the server and the request: another one needs a chain of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Every change up to this instant is exported; the server's words, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_until: Option<String>,
    /// The time of the schedule that the run is for with which the chain began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_full_time: Option<Timestamp>,
    /// Why the next run is full, if it is: one word of the documented reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_due_reason: Option<String>,
    /// Who was in the group at the last run that counts, where newcomers are exported in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberList>,
    /// The run that the chain waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRun>,
    /// The last runs of the chain that succeeded, oldest first. At most 10, with what they exported of newcomers before each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ChainedRun>,
}

/// The run that a chain waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingRun {
    /// The name of its FhirExport.
    pub name: String,
    /// Its uid; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The time of the schedule that it is for, or that at which it was asked for.
    pub slot_time: Timestamp,
    /// Full or Incremental.
    pub mode: RunMode,
    /// The instant from which it exports changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The chain that it belongs to, or begins.
    pub chain: String,
    /// The hash of its server and request.
    pub fingerprint: String,
    /// Who is in the group, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberList>,
    /// Those of them that joined since the last run that counts, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcomers: Option<PatientsBlob>,
    /// What was exported of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcomers_run: Option<ChainedRun>,
}

/// The members of a group, in a blob of the server's storage account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct MemberList {
    /// Container and path; absent where the group has no members, and so no blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The SHA-256 of the blob, in hexadecimal.
    pub sha256: String,
}

/// A run of a chain that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainedRun {
    /// The name that its FhirExport has, or had.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Full, Incremental or Newcomers.
    pub mode: RunMode,
    /// The instant from which it exported changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The instant up to which it exported them.
    pub transaction_time: String,
    /// The blob container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}
