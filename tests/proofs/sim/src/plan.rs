//! The plan that a seed makes of a simulation: the objects, what their servers do with them, and what goes
//! wrong when. A plan is a value, so that a failing one can be shrunk by leaving things out.

use fhir_export_operator::api::Dialect;

mod schedules;

pub use crate::faults::Outage;
pub use schedules::{Propagation, ScheduleEdit, ScheduleEvent, SchedulePlan};

/// Everything that is decided before a simulation begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is left to chance during the simulation.
    pub seed: u64,
    /// The servers.
    pub servers: Vec<ServerPlan>,
    /// The exports.
    pub exports: Vec<ExportPlan>,
    /// The schedules.
    pub schedules: Vec<SchedulePlan>,
    /// The faults at the edges.
    pub faults: Vec<Fault>,
    /// The events in the world.
    pub events: Vec<Event>,
    /// When all faults end, in seconds.
    pub heal_at: i64,
    /// How long a message is usually on its way at most, in milliseconds. One in twenty takes up to ten times
    /// as long.
    pub latency: i64,
    /// The most reconciles of one kind at once.
    pub concurrency: usize,
    /// The number of processes, except during a rollout. Two or more elect a leader.
    pub replicas: usize,
    /// The most requests at once, to one server and for one namespace.
    pub seats: (usize, usize),
    /// The kind of the plan.
    pub kind: Kind,
}

/// The subject of a plan: what may go wrong in it, and which laws hold besides those that always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything may go wrong.
    Anything,
    /// The only fault is that some servers are not prompt. Exports on the others must not be late.
    Crowd,
    /// The only fault is that one part is out for hours in the middle of a landing.
    Outage(LongOutage),
    /// The leader's connection to the Lease repeatedly becomes slow and then hangs.
    Lease,
    /// The only fault is that somebody edits where the files of a server land.
    Place,
    /// Anything may go wrong while schedules create runs.
    Schedules,
}

impl Kind {
    /// The name of plans of this kind in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anything => "of anything",
            Self::Crowd => "of a crowd",
            Self::Outage(_) => "of an outage of six hours",
            Self::Lease => "of a Lease that runs out",
            Self::Place => "of a place that moves",
            Self::Schedules => "of schedules",
        }
    }
}

/// An outage in the middle of a landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongOutage {
    /// The part that is out.
    pub part: Outage,
    /// The outage begins once this many files were opened.
    pub after_files: u32,
    /// The duration of the outage, in seconds.
    pub lasts: i64,
}

/// How fast a server answers until everything is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The server answers at once.
    Prompt,
    /// The server never answers, and requests to it are lost.
    Silent,
    /// The server answers after this many seconds.
    Slow(i64),
    /// The server answers at once, but each piece of a file takes this many seconds.
    Trickles(i64),
}

/// A `FhirServer`, and the server behind it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is independent of the others
pub struct ServerPlan {
    /// The dialect of the server.
    pub dialect: Dialect,
    /// How the server cancels jobs.
    pub cancels: Cancels,
    /// Whether the FhirServer names storage. Without it files are not checked.
    pub storage: bool,
    /// Whether the server wants a token, which is made from a Secret.
    pub token: bool,
    /// How long a token is valid, in seconds.
    pub token_lasts: i64,
    /// `limits.maxConcurrentExports`.
    pub places: i32,
    /// The version of Bulk Data, from 1 to 4.
    pub version: u8,
    /// Whether the server supports `separate-export-status`.
    pub separate: bool,
    /// The number of files on one page of a manifest.
    pub page: usize,
    /// How long the signed links to files are valid, in seconds; `None` if links are not signed.
    pub links_last: Option<i64>,
    /// Whether each manifest has other paths for the same files.
    pub fresh_paths: bool,
    /// Whether files can be read on from any byte.
    pub ranges: bool,
    /// The `Retry-After` of the server, in seconds.
    pub retry_after: Option<i64>,
    /// Whether the server reports progress.
    pub progress: bool,
    /// Whether the manifest states how many resources each file holds.
    pub counts: bool,
    /// Whether the manifest states the SHA-256 of each file.
    pub checksums: bool,
    /// `bulkData.finishedJobs`.
    pub finished: &'static str,
    /// Whether the FhirServer is in the namespace of the exports, not in one of its own.
    pub beside: bool,
    /// `storage.exportLog`.
    pub log: bool,
    /// How fast the server answers.
    pub pace: Pace,
    /// Whether the FhirServer does not admit the namespace of the exports.
    pub refuses: bool,
    /// `defaultContainer`.
    pub container: Option<&'static str>,
    /// The storage account and the compression of files.
    pub account: Account,
}

/// The storage account of a `FhirServer`, and the compression of files there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Whether this is the second account, not the first.
    pub second: bool,
    /// Whether files are compressed.
    pub gzip: bool,
}

/// How a server answers cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// 202 for any job, 404 ever after (Azure since 2026-03, and Bulk Data servers).
    Forgets,
    /// 202, then 202 to polls for a while, then 200 with an empty manifest; 500 for finished jobs.
    Empties500,
    /// As `Empties500`, but 409 for finished jobs.
    Empties409,
    /// 202, but the job runs on to its end.
    Slowly,
    /// 405 (Bulk Data) or 503.
    Never,
    /// 404 for finished jobs, which stay (HAPI).
    Keeps,
}

/// A `FhirExport`.
#[derive(Clone, Debug)]
pub struct ExportPlan {
    /// The number of the server in the plan.
    pub server: usize,
    /// When the export is created, in seconds.
    pub at: i64,
    /// Members of the export's spec, as JSON.
    pub spec: serde_json::Value,
    /// The plans of its jobs, in order. The last one also holds for all later jobs.
    pub jobs: Vec<JobPlan>,
}

/// What happens to a job.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// How long the job takes, in seconds.
    pub lasts: i64,
    /// How the job ends.
    pub ending: Ending,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The job ends with these files.
    Files(Vec<FilePlan>),
    /// The job ends with an error of this status code and text.
    Fails(u16, &'static str),
    /// The server forgets the job.
    Forgotten,
}

/// A file of a job.
#[derive(Clone, Debug)]
pub struct FilePlan {
    /// The type of the file's resources; `deleted` and `error` for such files.
    pub type_: &'static str,
    /// The number of lines in the file.
    pub lines: u64,
    /// Whether the file has some MiB.
    pub big: bool,
    /// What is wrong with the file.
    pub flaw: Flaw,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is wrong.
    None,
    /// This many downloads break off.
    Breaks(u32),
    /// The first download breaks off after the last byte, before its end is marked.
    BreaksAtEnd,
    /// This many downloads end early, as if the file ended there.
    Short(u32),
    /// This many downloads bring a gateway's page with status 200.
    Page(u32),
    /// This many requests are answered with this status.
    Refused(u32, u16),
    /// From the second download on, the bytes are others.
    Changes,
    /// The file does not exist.
    Missing,
    /// The manifest states another number of lines.
    Miscounted,
    /// The file is at an origin that is not allowed.
    Elsewhere,
}

/// A place in the operator's communication where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// The operator writes the status of an export.
    Status,
    /// The operator writes a finalizer or a server's status, or deletes an export.
    Object,
    /// The operator publishes an event.
    Note,
    /// The operator reads credentials.
    Authorize,
    /// The operator sends a kick-off.
    KickOff,
    /// The operator polls a job.
    Poll,
    /// The operator sends a DELETE.
    Delete,
    /// The operator opens a file.
    File,
    /// The operator sends any other request to a FHIR server.
    Probe,
    /// The operator sends a request to the storage account.
    Storage,
    /// The operator reads or writes the Lease.
    Lease,
}

/// A fault that strikes one use of an edge.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The edge.
    pub edge: Edge,
    /// Which use of the edge the fault strikes, counted from 0.
    pub nth: u32,
    /// The kind of the fault.
    pub kind: FaultKind,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// The operator is killed before the request is sent.
    CrashBefore,
    /// The operator is killed after the request was carried out, before it receives the answer.
    CrashAfter,
    /// The request is not carried out, and the operator knows that.
    NotSent,
    /// The request is not carried out, and the operator does not know that.
    NotDone,
    /// The request is carried out, and the answer is lost.
    AnswerLost,
    /// The request is carried out, and a repetition by the client is answered with a conflict.
    Repeated,
    /// The request takes this many seconds longer.
    Slow(i64),
    /// The answer is a gateway's page with this status.
    Page(u16),
    /// The answer is an OperationOutcome with this status.
    Outcome(u16),
    /// The answer is 429, with a `Retry-After` of this many seconds if it has one.
    Throttled(Option<i64>),
    /// The answer is that of the last time.
    Replayed,
    /// The body of the answer breaks off.
    Truncated,
    /// The request is carried out, and the answer's `Content-Location` is changed.
    Location(Location),
    /// The storage account refuses the identity.
    Denied,
    /// The task panics before the request is sent.
    PanicsBefore,
    /// The request is carried out, and the task panics over its answer.
    PanicsAfter,
    /// The process is stopped (SIGSTOP) for this many seconds, right before it checks its tenure.
    StopBefore(i64),
    /// The process is stopped for this many seconds between that check and the sending.
    StopWithin(i64),
    /// The process is stopped for this many seconds after the request was carried out.
    StopAfter(i64),
}

/// What is done to `Content-Location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The header is removed.
    None,
    /// The URL is relative.
    Relative,
    /// The URL names an internal host.
    Inside,
    /// The URL is of another origin.
    Elsewhere,
    /// The URL carries a signature.
    Signed,
}

/// Something that happens in the world.
#[derive(Clone, Debug)]
pub struct Event {
    /// When the event happens, in seconds.
    pub at: i64,
    /// What happens.
    pub kind: EventKind,
}

/// What is wrong with a replica's connection to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// All requests hang.
    Hangs,
    /// All requests are refused.
    Refuses,
    /// Requests about the Lease arrive late, and their answers are lost.
    AnswersLost,
    /// Answers about the Lease take the longest time allowed, and longer. All other requests are not affected.
    AnswersLate,
    /// One answer about the Lease takes nearly the longest time allowed, and from then on all requests hang.
    Falters,
}

/// What happens in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A process of the operator is killed, and starts again after this many seconds.
    Crash(i64),
    /// A process is stopped (SIGSTOP) for this many seconds.
    Stop(i64),
    /// A process is told to end (SIGTERM), and its replica starts again.
    Terminate,
    /// All processes are replaced, one after the other.
    Rollout,
    /// The connection of one process to the API server is in trouble for this many seconds.
    Hinder(Trouble, i64),
    /// Somebody writes an annotation of the Lease.
    TouchLease,
    /// Somebody sets `spec.suspend` of an export.
    Suspend(usize, bool),
    /// Somebody sets `spec.cancel` of an export.
    Cancel(usize),
    /// Somebody sets `spec.activeDeadlineSeconds` of an export.
    Deadline(usize, i64),
    /// Somebody writes an annotation of an export.
    Touch(usize),
    /// Another version of the operator writes words that this one does not know into the status of an export.
    AnotherVersion(usize),
    /// The status of an export can be read again.
    ReadAgain(usize),
    /// An export is deleted.
    Delete(usize),
    /// An export of the same name is created again.
    CreateAgain(usize),
    /// Somebody sets `spec.suspend` of a server.
    SuspendServer(usize, bool),
    /// Somebody sets `defaultContainer` of a server.
    MoveContainer(usize, &'static str),
    /// Somebody edits `storage` of a server that does not write the files itself.
    MoveStorage(usize, Account),
    /// A FhirServer is deleted.
    DeleteServer(usize),
    /// A FhirServer is created again.
    CreateServer(usize),
    /// The Secret of a server is deleted.
    DeleteSecret(usize),
    /// The Secret of a server is created again.
    CreateSecret(usize),
    /// The namespace of the exports is deleted.
    DeleteNamespace,
    /// The clock of the operator jumps by this many seconds.
    ClockJumps(i64),
    /// For this many seconds no watch event arrives. Then everything is listed again.
    WatchBreaks(i64),
    /// The API server does not answer for this many seconds.
    ApiDown(i64),
    /// A FHIR server does not answer for this many seconds.
    FhirDown(usize, i64),
    /// A FHIR server refuses tokens for this many seconds.
    FhirRefuses(usize, i64),
    /// The storage account does not answer for this many seconds.
    StorageDown(i64),
    /// The storage account refuses the identity for this many seconds.
    StorageDenies(i64),
    /// A job of another client begins on a server, in the same container.
    Stranger(usize),
    /// Another client cancels the job of an export.
    CancelledByOthers(usize),
    /// Somebody does something to a schedule or its runs.
    OfSchedule(usize, ScheduleEvent),
    /// All tokens that were issued for a server become invalid.
    TokensEnd(usize),
}
