//! The three custom resources as Kubernetes sees them: schema, bounds and CEL rules, but no behaviour.
//!
//! The doc comments on fields become the output of `kubectl explain`, so they address users.
//!
//! Uses: nothing of its own crate.

// kubectl explain shows the doc comments verbatim, so backticks around each name would be noise; and clippy
// mistakes the parts of a print column for repeated attributes.
#![allow(clippy::doc_markdown, clippy::duplicated_attributes)]

mod allow;
mod auth;
mod bulk_data;
mod cancellation;
mod condition;
mod crd;
mod export;
mod job;
mod output;
mod reason;
mod reference;
mod request;
mod retention;
mod run_state;
mod s3;
mod schedule;
mod schedule_status;
mod server;
mod status;
mod storage;
mod transfer;

pub use allow::{Allow, AllowedAnonymization, AllowedConfig};
pub use auth::{
    AuthType, BasicAuth, BearerToken, Cloud, Entra, EntraType, OAuthClientSecret, ServerAuth,
    SmartBackendServices, WorkloadIdentity,
};
pub use bulk_data::{
    BulkDataDialect, FinishedJobs, KickOffMethod, ListStyle, Preset, TypeFilterEscape, Version, YesNo,
};
pub use cancellation::{CancelOutcome, CancelReason, Cancellation};
pub use condition::{Condition, ConditionStatus, ConditionType};
pub use crd::{crds, crds_yaml};
pub use export::{DeletionPolicy, ErrorFilePolicy, FhirExport, FhirExportSpec, OnUncertainKickOff};
pub use job::{Destination, Job, PreviousJob, Progress, UnsettledJob};
pub use output::{CheckResult, Checks, Output, StoredManifest, TypeOutput};
pub use reason::Reason;
pub use reference::{KeyRef, NameRef, ServerRef};
pub use request::{
    Anonymization, AzureRequest, BulkDataRequest, ExportRequest, Handling, Level, OrganizeOutputBy,
    Parameter, PatientsBlob,
};
pub use retention::{
    DeletedFolder, DeletingFolder, KeptFolder, RetainedChain, Retention, RetentionStatus, RunFolder,
};
pub use run_state::RunState;
pub use s3::{S3, S3Auth, S3AuthType, S3Encryption, S3EncryptionType, WebIdentity};
pub use schedule::{
    ConcurrencyPolicy, ExportTemplate, ExportTemplateSpec, FhirExportSchedule, FhirExportScheduleSpec,
    Incremental, TemplateMetadata,
};
pub use schedule_status::{
    ActiveRun, Chain, ChainedRun, FhirExportScheduleStatus, MemberList, PendingRun, RunMode, RunStage,
    SkippedRun,
};
pub use server::{
    CaBundleKind, CaBundleRef, Consumers, Dialect, FhirServer, FhirServerSpec, FhirServerStatus, Header,
    LabelSelector, Limits, NamespaceSelection, NamespacesFrom, Resolved, ServerDefaults, Tls,
};
pub use status::{FhirExportStatus, ServerIdentity};
pub use storage::{
    AccessTier, AzureBlob, AzureBlobAuth, BlobAuthType, Compression, Storage, StorageType, Volume,
};
pub use transfer::{PodResources, Transfer, TransferMode};

/// The API group of all kinds.
pub const GROUP: &str = "fhirexport.dev";
/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// A Secret or ServiceAccount may be used as a credential only if it carries this label with the value `true`.
pub const CREDENTIAL_LABEL: &str = "fhirexport.dev/credential";
/// Finalizer of a `FhirExport`: present while there may be a job to cancel on the server.
pub const CANCEL_FINALIZER: &str = "fhirexport.dev/cancel";
/// Finalizer of a `FhirServer`: present while exports that started a job still need the connection.
pub const IN_USE_FINALIZER: &str = "fhirexport.dev/in-use";
/// Annotation of an object in memory, never stored: the part of its status that this version of the operator cannot
/// read because another version wrote it. The operator leaves such an object alone and waits.
pub const UNREAD_ANNOTATION: &str = "fhirexport.dev/unread";
/// Annotation of a `FhirExportSchedule`: each new value requests one run at once. A value that begins with
/// `full-` requests a full run.
pub const RUN_NOW_ANNOTATION: &str = "fhirexport.dev/run-now";
/// Label of a `FhirExport` that a schedule created: the name of the schedule.
pub const SCHEDULE_LABEL: &str = "fhirexport.dev/schedule";
/// Label of a `FhirExport` that a schedule created: its mode, Full or Incremental.
pub const MODE_LABEL: &str = "fhirexport.dev/mode";
/// Label of a `FhirExport` that a schedule created: the chain of incremental runs that it belongs to.
pub const CHAIN_LABEL: &str = "fhirexport.dev/chain";
/// Annotation of a `FhirExport` that a schedule created: the scheduled time that it was created for.
pub const SLOT_ANNOTATION: &str = "fhirexport.dev/slot-time";
/// Annotation of a `FhirExport` that a schedule created: the name of the run that it continues. The chain up
/// to that run holds every change before this run's `since`.
pub const PREDECESSOR_ANNOTATION: &str = "fhirexport.dev/predecessor";
/// Annotation of a `FhirExport` that a schedule created: the scheduled time of the first run of its chain.
pub const CHAIN_BEGAN_ANNOTATION: &str = "fhirexport.dev/chain-began";
/// Annotation of a `FhirExport` that a schedule created: the path and the SHA-256 of the blob that lists the
/// members of the group.
pub const MEMBERS_ANNOTATION: &str = "fhirexport.dev/members";
/// Annotation of a `FhirExport` that a schedule created: the export of newcomers that precedes it.
pub const NEWCOMERS_ANNOTATION: &str = "fhirexport.dev/newcomers";
