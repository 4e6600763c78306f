//! `FhirExportSchedule`: exports that repeat by a clock, in full or with changes only.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DeletionPolicy, ErrorFilePolicy, ExportRequest, FhirExportScheduleStatus, OnUncertainKickOff, Retention,
    ServerRef,
};

/// What to do when a run is due while another run is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Skip the new run.
    #[default]
    Forbid,
    /// Delete the other run, which cancels its job, and create the new one.
    Replace,
    /// Create the new run beside the other one. At most 32 runs are active at once.
    Allow,
}

/// When to export, what to export, and whether to export only changes.
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
    doc = "Creates FhirExports by a clock. Each run is a FhirExport of its own. With incremental, a run exports only \
        what changed since the last run that succeeded, without a gap. Deleting a FhirExportSchedule deletes its \
        FhirExports, which cancels running jobs. Files stay.",
    validation = Rule::new("size(self.metadata.name) <= 52")
        .message("a name of at most 52 characters: the names of the runs begin with it")
        .reason(Reason::FieldValueInvalid),
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
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
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
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[x_kube(validation = Rule::new("!has(self.incremental) || !has(self.concurrencyPolicy) || self.concurrencyPolicy != \
    'Allow'")
    .message("incremental runs build on each other: use Forbid or Replace")
    .field_path(".concurrencyPolicy")
    .reason(Reason::FieldValueForbidden))]
pub struct FhirExportScheduleSpec {
    /// When to run, as a cron line with five fields: minute, hour, day of month, month, day of week. Example:
    /// `30 1 * * *`.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// The time zone of `schedule`, such as Europe/Berlin. Default: UTC. A time that daylight saving skips runs as soon
    /// as the clocks have moved on. A time that it repeats runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Stops the schedule from creating runs by the clock. Times that pass meanwhile are not made up for. Runs that
    /// exist continue. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What to do when a run is due while another run is not done. Forbid (default) skips the new run. Replace deletes
    /// the other run, which cancels its job. Allow runs both, up to 32 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// How many seconds late a run may start, whether after an outage or in the queue of the server. Default: one
    /// run makes up for all missed times, however late, and may wait a day for its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i64>,
    /// How many successful runs keep their FhirExports. Default: 3. Files stay, unless `retention` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub successful_runs_history_limit: Option<i32>,
    /// How many failed runs keep their FhirExports. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_runs_history_limit: Option<i32>,
    /// Export only what changed since the last run that succeeded. Default: every run exports everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<Incremental>,
    /// Delete the folders of old runs. Default: all files stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The FhirExport to create for each run.
    pub template: ExportTemplate,
}

/// Runs that build on each other. The first run is full, and so is the next run after a change of the server or of the
/// request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incremental {
    /// When to export everything, as a cron line in the time zone of the schedule. Example: `30 1 * * 0`. These times
    /// are in addition to those of `schedule`. Default: only the first run is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub full_schedule: Option<String>,
    /// How many seconds before `coveredUntil` a run begins, since a server may date a change before the moment at
    /// which it becomes visible. 0 uses the server's instant verbatim. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub overlap_seconds: Option<i64>,
    /// Begin the first chain with the changes since this instant instead of a full run. Use it if everything before
    /// this instant is already exported. Default: the first run is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
        T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')")
        .message("use an instant with a time zone, such as 2026-01-01T00:00:00Z")
        .reason(Reason::FieldValueInvalid))]
    pub initial_since: Option<String>,
    /// With level Patient or Group: accepts that Azure's FHIR service and HAPI leave out new resources of patients
    /// whose own record did not change, until the next full run. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_loss: Option<bool>,
}

/// The FhirExport to create for each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ExportTemplate {
    /// Labels and annotations for the FhirExports, besides those that the schedule sets. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The spec of the FhirExports, without the fields that the schedule sets: `since`, `until`, `suspend`, `cancel`
    /// and `kickOffBefore`.
    pub spec: ExportTemplateSpec,
}

/// The labels and annotations of the FhirExports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TemplateMetadata {
    /// Labels for the FhirExports, such as `team: cardiology`. Those of fhirexport.dev are refused. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 63 })
    ))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('fhirexport.dev/'))")
        .message("labels of fhirexport.dev are the schedule's to set")
        .reason(Reason::FieldValueForbidden))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations for the FhirExports. Those of fhirexport.dev are refused. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 1024 })
    ))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('fhirexport.dev/'))")
        .message("annotations of fhirexport.dev are the schedule's to set")
        .reason(Reason::FieldValueForbidden))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The spec of a FhirExport, without the fields that the schedule sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.request.since)")
        .message("since is the schedule's to set: use incremental")
        .field_path(".request.since")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.request.until)")
        .message("until is not for runs that repeat")
        .field_path(".request.until")
        .reason(Reason::FieldValueForbidden)
)]
pub struct ExportTemplateSpec {
    /// The server to export from.
    pub server_ref: ServerRef,
    /// What to export. After a change, incremental runs begin a new chain with a full run.
    pub request: ExportRequest,
    /// How many seconds a run may take from its first start, over all attempts. Default:
    /// `defaults.activeDeadlineSeconds` of the server, else 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often to start a new attempt after a failure whose cause may pass. Each attempt is a new job on the server,
    /// with a folder of its own. Set it to 0 to get exactly one. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
    /// How many seconds after its end a run's FhirExport is deleted, even if the history limits would keep it. The
    /// schedule records the result in its status first. Default: the history limits alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// What deleting a FhirExport does to a running job: Cancel (default), or Abandon, which lets it continue on the
    /// server. The files stay in either case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do when the answer to the kick-off was lost and no job was found: Retry (default) sends another
    /// kick-off, Fail ends the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_uncertain_kick_off: Option<OnUncertainKickOff>,
    /// How error files from the server affect a run: Tolerate (default) completes it with reason
    /// CompletedWithErrors, Fail makes it `Failed`. With either, the next incremental run repeats the period of a run
    /// whose error files hold errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file_policy: Option<ErrorFilePolicy>,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use crate::api::{FhirExport, FhirExportSchedule, FhirServer};

    /// `kubectl get fexps` must not list something else than `kubectl get fexp` does.
    #[test]
    fn no_short_name_is_the_plural_of_another() {
        let names: Vec<String> = [FhirExport::crd(), FhirServer::crd(), FhirExportSchedule::crd()]
            .into_iter()
            .flat_map(|crd| crd.spec.names.short_names.unwrap_or_default())
            .collect();
        assert!(names.contains(&"fsched".to_owned()), "{names:?}");
        assert!(names.iter().all(|name| !names.contains(&format!("{name}s"))), "{names:?}");
    }
}
