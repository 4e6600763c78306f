//! `FhirExport`: one run of an export.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExportRequest, FhirExportStatus, ServerRef};

/// What happens to the job on the server when the resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The operator cancels the job.
    Cancel,
    /// The job continues on the server.
    Abandon,
}

/// What to do when the answer to a kick-off was lost and no job can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUncertainKickOff {
    /// Send another kick-off, although a first job may be running unnoticed.
    Retry,
    /// End the export as `Failed`.
    Fail,
}

/// How error files from the server affect the result of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErrorFilePolicy {
    /// The export is `Complete`, with reason `CompletedWithErrors`.
    Tolerate,
    /// The export is `Failed`.
    Fail,
}

/// What to export, from which server, and how long to try. `serverRef` and `request` cannot be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fhirexport.dev",
    version = "v1alpha1",
    kind = "FhirExport",
    namespaced,
    status = "FhirExportStatus",
    shortname = "fexp",
    category = "fhir",
    derive = "PartialEq",
    selectable = ".spec.serverRef.name",
    cel,
    doc = "One run of a FHIR bulk export. Apply it and the data lies in the container, or the status says \
        why not. Deleting it cancels the server's job and keeps the files.",
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.serverRef.name"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.request.level"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.job.progress.summary"),
    printcolumn(name = "Resources", type_ = "integer", json_path = ".status.output.resources"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Container",
        type_ = "string",
        json_path = ".status.output.container",
        priority = "1"
    ),
    printcolumn(name = "Folder", type_ = "string", json_path = ".status.output.folder", priority = "1"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts", priority = "1"),
    printcolumn(
        name = "Transaction",
        type_ = "string",
        json_path = ".status.transactionTime",
        priority = "1"
    ),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = "1")
)]
#[x_kube(
    validation = Rule::new("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)")
        .message("cancel cannot be taken back: create a new FhirExport instead")
        .field_path(".cancel")
        .reason(Reason::FieldValueForbidden)
)]
pub struct FhirExportSpec {
    /// The server to export from. Cannot be changed.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("serverRef cannot be changed: create a new FhirExport instead")
            .reason(Reason::FieldValueForbidden)
    )]
    pub server_ref: ServerRef,
    /// What to export. Cannot be changed: create another FhirExport instead.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("a request cannot be changed: create a new FhirExport instead")
            .reason(Reason::FieldValueForbidden)
    )]
    pub request: ExportRequest,
    /// Do not start the export after this instant, such as 2026-12-01T04:00:00Z; if it has not started by then, it is
    /// `Failed` with reason StartWindowMissed. Set it where a backup or GitOps may create the object again, which would
    /// export again. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_before: Option<Timestamp>,
    /// Pauses the export. Before its start, the export waits and its deadline does not run. After its start,
    /// the operator stops polling, but the job on the server continues, the export keeps its place among the
    /// running ones, and the deadline keeps running. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Cancels the export and keeps this object as a record. It cannot be taken back, and wins over
    /// `suspend`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
    /// How long the export may take, in seconds from its first start, over all attempts. When the time is over, the
    /// operator cancels the job, and the export is `Failed`. Raise it for exports of more than a week. Default: the
    /// server's `defaults.activeDeadlineSeconds`, else 604800 (7 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often to start a new attempt after a failure whose cause may pass. Each attempt is a new job on the server,
    /// with a folder of its own. Set it to 0 to get exactly one. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
    /// Deletes this object this many seconds after the export has ended. The files stay. Default: the object
    /// is kept. Do not combine this with GitOps, which would recreate the object and so export again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// What deleting this object does to a running job: Cancel (default), or Abandon, which lets it continue
    /// on the server. The files stay in either case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What to do when the answer to the kick-off was lost and no job was found: Retry (default) sends
    /// another kick-off, Fail ends the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_uncertain_kick_off: Option<OnUncertainKickOff>,
    /// How error files from the server affect the result: Tolerate (default) completes the export with reason
    /// CompletedWithErrors, Fail makes it `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file_policy: Option<ErrorFilePolicy>,
}
