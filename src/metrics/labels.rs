//! The values of labels.

/// The kinds that are reconciled.
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
    pub(super) const ALL: [Self; 3] = [Self::FhirExport, Self::FhirServer, Self::FhirExportSchedule];

    /// As in manifests.
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
pub enum Outcome {
    /// All was done that was due.
    Done,
    /// The object changed meanwhile; it is looked at again.
    Conflict,
    /// The API server failed or refused.
    Failed,
    /// A programming error.
    Panicked,
}

impl Outcome {
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

/// What a request to a FHIR server was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The kick-off.
    KickOff,
    /// A look at a job.
    Poll,
    /// A cancel.
    Cancel,
    /// The `CapabilityStatement`.
    Metadata,
    /// Whether the identity may export.
    Access,
    /// A file.
    File,
    /// How many resources of a type there are.
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
