//! `FhirExport`: one run of an export.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExportRequest, FhirExportStatus, ServerRef};

/// What happens to the server's job when the resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is cancelled.
    Cancel,
    /// It is left alone.
    Abandon,
}

/// What to do when the answer to a kick-off was lost and no job can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUncertainKickOff {
    /// Start again: a first job may run unseen.
    Retry,
    /// End the run.
    Fail,
}

/// What error files of the server mean for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErrorFilePolicy {
    /// It is `Complete`, with reason `CompletedWithErrors`.
    Tolerate,
    /// It is `Failed`.
    Fail,
}

/// One export: which server, what, and how long to try. `serverRef` and
/// `request` cannot be changed.
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
    doc = "One run of a FHIR bulk export. Apply it and the data lies in the container, or the status says why not. Deleting it cancels the server's job and keeps the files.",
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.serverRef.name"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.request.level"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
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
    )
)]
#[x_kube(validation = Rule::new("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)").message("cancel cannot be taken back: create a new FhirExport instead").field_path(".cancel").reason(Reason::FieldValueForbidden))]
pub struct FhirExportSpec {
    /// The server to export from.
    #[x_kube(validation = Rule::new("self == oldSelf").message("serverRef cannot be changed: create a new FhirExport instead").reason(Reason::FieldValueForbidden))]
    pub server_ref: ServerRef,
    /// What to export.
    #[x_kube(validation = Rule::new("self == oldSelf").message("a request cannot be changed: create a new FhirExport instead").reason(Reason::FieldValueForbidden))]
    pub request: ExportRequest,
    /// Do not start after this instant; the run is then `Failed`, reason `StartWindowMissed`. So an
    /// object that is restored from a backup, or made anew by GitOps, exports nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_before: Option<Timestamp>,
    /// Before the start: wait, with the clock standing still. After it: stop polling; the server's
    /// job, the place in the queue and the deadline go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Cancel the export and keep this record of it. Cannot be taken back, and wins over `suspend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
    /// How long the run may take from its first start, over all attempts. Default: the server's
    /// `defaults.activeDeadlineSeconds`, else 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often to try again where the cause of a failure may pass. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
    /// Delete this object so many seconds after its end. Default: keep it. The files stay in any case.
    /// Not together with GitOps: it would make the object, and the export, anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Cancel (default) or Abandon: what deleting this object does to a running job. Files stay either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Retry (default) or Fail: what to do when the answer to the kick-off was lost and no job was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_uncertain_kick_off: Option<OnUncertainKickOff>,
    /// Tolerate (default) or Fail: what error files of the server mean for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file_policy: Option<ErrorFilePolicy>,
}
