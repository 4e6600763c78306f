//! The values of metric labels.

use crate::ports::ExportTask;

/// The tasks beside the reconciles, as label values.
pub(super) const TASKS: [ExportTask; 4] =
    [ExportTask::Landing, ExportTask::Verification, ExportTask::Request, ExportTask::Probe];

/// The label of a task.
pub(super) fn task_label(task: ExportTask) -> &'static str {
    match task {
        ExportTask::Landing => "landing",
        ExportTask::Verification => "verification",
        ExportTask::Request => "request",
        ExportTask::Probe => "probe",
    }
}

/// The kinds that the operator reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `FhirExport`.
    FhirExport,
    /// `FhirServer`.
    FhirServer,
    /// `FhirExportSchedule`.
    FhirExportSchedule,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::FhirExport, Self::FhirServer, Self::FhirExportSchedule];

    /// The kind as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FhirExport => "FhirExport",
            Self::FhirServer => "FhirServer",
            Self::FhirExportSchedule => "FhirExportSchedule",
        }
    }
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileOutcome {
    /// Everything that was due was done.
    Done,
    /// The object had changed in the meantime; another reconcile follows.
    Conflict,
    /// The API server failed, or rejected a request.
    Failed,
    /// The reconcile panicked, which is a bug.
    Panicked,
}

impl ReconcileOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::Conflict, Self::Failed, Self::Panicked];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// The purpose of a request to a FHIR server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A kick-off.
    KickOff,
    /// A status request for a job.
    Poll,
    /// A cancel.
    Cancel,
    /// The `CapabilityStatement`.
    Metadata,
    /// A check whether the identity may export.
    Access,
    /// A download of a file.
    File,
    /// A count of the resources of a type.
    Count,
}

impl Operation {
    pub(super) const ALL: [Self; 7] =
        [Self::KickOff, Self::Poll, Self::Cancel, Self::Metadata, Self::Access, Self::File, Self::Count];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KickOff => "kickoff",
            Self::Poll => "poll",
            Self::Cancel => "cancel",
            Self::Metadata => "metadata",
            Self::Access => "access",
            Self::File => "file",
            Self::Count => "count",
        }
    }
}
