//! Spans and what they tell: words of fixed sets, names of objects, and numbers. So nothing of a patient, a request or a
//! credential can come into a trace.

use jiff::Timestamp;

use crate::core::effect::Effect;

/// The id of a trace: the uid of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanName {
    /// The export, from its creation to its end.
    Export,
    /// The check of the credentials and the list of patients.
    Authorize,
    /// The kick-off.
    KickOff,
    /// A question about the status of the job.
    Poll,
    /// The cancel of the job.
    Cancel,
    /// The search for a job whose kick-off was not answered.
    FindJobs,
    /// The count of the files that a running job has written.
    CountFiles,
    /// The question how many resources of a type the server holds.
    CountType,
    /// The landing of all files.
    Land,
    /// The landing of one file: its download and its upload.
    LandFile,
    /// The check of the files.
    Verify,
    /// The upload of the log of the export.
    StoreLog,
    /// The upload of the manifest.
    StoreManifest,
    /// The request by which the server may forget the job.
    CleanUp,
}

impl SpanName {
    /// The name, as traces have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "FhirExport",
            Self::Authorize => "authorize",
            Self::KickOff => "kick-off",
            Self::Poll => "poll",
            Self::Cancel => "cancel",
            Self::FindJobs => "find jobs",
            Self::CountFiles => "count files",
            Self::CountType => "count type",
            Self::Land => "land",
            Self::LandFile => "land file",
            Self::Verify => "verify",
            Self::StoreLog => "store log",
            Self::StoreManifest => "store manifest",
            Self::CleanUp => "clean up",
        }
    }

    /// The span of an effect; `None` for an effect on the cluster, and for one that only looks at a task.
    pub fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Authorize(_) => Some(Self::Authorize),
            Effect::KickOff(_) => Some(Self::KickOff),
            Effect::Poll(_) => Some(Self::Poll),
            Effect::Cancel(_) => Some(Self::Cancel),
            Effect::FindJobs { .. } => Some(Self::FindJobs),
            Effect::CountFiles { .. } => Some(Self::CountFiles),
            Effect::CountType { .. } => Some(Self::CountType),
            Effect::StoreLog { .. } => Some(Self::StoreLog),
            Effect::StoreManifest { .. } => Some(Self::StoreManifest),
            Effect::CleanUp(_) => Some(Self::CleanUp),
            Effect::Verify(_)
            | Effect::Land(_)
            | Effect::AddFinalizer
            | Effect::RemoveFinalizer
            | Effect::DeleteSelf
            | Effect::StopLanding => None,
        }
    }

    /// Whether the span is a request to another program.
    pub fn is_request(self) -> bool {
        !matches!(self, Self::Export | Self::Land | Self::Verify)
    }
}

/// How the work of a span ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work was done.
    Done,
    /// The work was not done. A word of a fixed set, or a reason of a condition, says why.
    Failed(String),
}

/// What is told with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The namespace of the export.
    Namespace,
    /// The name of the export.
    Export,
    /// The name of its `FhirServer`.
    Server,
    /// The state that the export ended in.
    State,
    /// The number of attempts.
    Attempts,
    /// The number of files.
    Files,
    /// The number of resources.
    Resources,
    /// The number of bytes.
    Bytes,
    /// The status code of the answer of a FHIR server.
    StatusCode,
}

impl Attribute {
    /// The name, as traces have it: that of OpenTelemetry's conventions where there is one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "k8s.namespace.name",
            Self::Export => "fhirexport.name",
            Self::Server => "fhirexport.server",
            Self::State => "fhirexport.state",
            Self::Attempts => "fhirexport.attempts",
            Self::Files => "fhirexport.files",
            Self::Resources => "fhirexport.resources",
            Self::Bytes => "fhirexport.bytes",
            Self::StatusCode => "http.response.status_code",
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The name of an object, or a word of a fixed set.
    Word(String),
    /// A number.
    Number(i64),
}

/// A part of a trace, after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace that the span belongs to.
    pub trace: TraceId,
    /// The id of the span.
    pub id: SpanId,
    /// The span that this one is a part of; `None` for that of the export.
    pub parent: Option<SpanId>,
    /// What the span is about.
    pub name: SpanName,
    /// When the work began.
    pub started: Timestamp,
    /// When the work ended.
    pub ended: Timestamp,
    /// How the work ended.
    pub outcome: Outcome,
    /// What is told with the span.
    pub attributes: Vec<(Attribute, Value)>,
}
