//! What a seed makes of a simulation: the objects, what their servers do with them, what goes wrong and when. A plan
//! is a value, so that a failing one can be made smaller by leaving things out of it.

use fhir_export_operator::api::Dialect;

mod schedules;

pub use crate::faults::Outage;
pub use schedules::{Propagation, ScheduleEdit, ScheduleEvent, SchedulePlan};

/// All that is decided before a simulation begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of everything that is left to chance while it runs.
    pub seed: u64,
    /// The servers.
    pub servers: Vec<ServerPlan>,
    /// The exports.
    pub exports: Vec<ExportPlan>,
    /// The schedules.
    pub schedules: Vec<SchedulePlan>,
    /// What goes wrong at the edges.
    pub faults: Vec<Fault>,
    /// What happens in the world.
    pub events: Vec<Event>,
    /// When all that is wrong ends, in seconds.
    pub heal_at: i64,
    /// Calls take so long at most, in milliseconds.
    pub latency: i64,
    /// Reconciles of one kind at once.
    pub concurrency: usize,
    /// How many processes there are, but in a rollout; from two on they elect one.
    pub replicas: usize,
    /// How many requests may be out at once: to one server, and for one namespace.
    pub seats: (usize, usize),
    /// What the plan is about.
    pub kind: Kind,
}

/// What a plan is about: what may go wrong in it, and which laws hold beside the ones that always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything goes wrong.
    Anything,
    /// Nothing goes wrong but that some servers are not prompt: exports on the others must not be late.
    Crowd,
    /// Nothing goes wrong but that one part is out for hours in the middle of a landing.
    Outage(LongOutage),
    /// The leader's way to the Lease becomes slow and then hangs, again and again.
    Lease,
    /// Nothing goes wrong but that somebody edits where the files of a server land.
    Place,
    /// Anything goes wrong while schedules make their runs.
    Schedules,
}

impl Kind {
    /// What plans of this kind are called in the table.
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
    /// What is out.
    pub part: Outage,
    /// It begins when so many files were opened.
    pub after_files: u32,
    /// How long it lasts, in seconds.
    pub lasts: i64,
}

/// How fast a server answers before everything is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Prompt,
    /// Never: what is sent to it is lost.
    Silent,
    /// After so many seconds.
    Slow(i64),
    /// At once, but each piece of a file takes so many seconds.
    Trickles(i64),
}

/// A `FhirServer`, and the server behind it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub struct ServerPlan {
    /// How it speaks.
    pub dialect: Dialect,
    /// How it cancels.
    pub cancels: Cancels,
    /// Without it files are not checked.
    pub storage: bool,
    /// Wants a token, which is made of a Secret.
    pub token: bool,
    /// A token is good for so long, in seconds.
    pub token_lasts: i64,
    /// Places.
    pub places: i32,
    /// Version of Bulk Data, from 1 to 4.
    pub version: u8,
    /// Speaks `separate-export-status`.
    pub separate: bool,
    /// Files of one page of a manifest.
    pub page: usize,
    /// Links to files are signed and good for so long, in seconds.
    pub links_last: Option<i64>,
    /// Each manifest has other paths for the same files.
    pub fresh_paths: bool,
    /// Files can be read on from any byte.
    pub ranges: bool,
    /// Says when to come again, in seconds.
    pub retry_after: Option<i64>,
    /// Tells its progress.
    pub progress: bool,
    /// Says how many resources files hold.
    pub counts: bool,
    /// Says the files' SHA-256.
    pub checksums: bool,
    /// `bulkData.finishedJobs`.
    pub finished: &'static str,
    /// It is in the namespace of the exports, else in one of its own.
    pub beside: bool,
    /// `storage.exportLog`.
    pub log: bool,
    /// How fast it answers.
    pub pace: Pace,
    /// It does not admit the namespace of the exports.
    pub refuses: bool,
    /// `defaultContainer`.
    pub container: Option<&'static str>,
    /// The storage account and the compression of files.
    pub account: Account,
}

/// What `storage` of a `FhirServer` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// It is the second account, not the first.
    pub second: bool,
    /// Files are compressed.
    pub gzip: bool,
}

/// How a server cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// 202 for any job, 404 ever after (Azure since 2026-03, and Bulk Data servers).
    Forgets,
    /// 202, then 202 for a while, then 200 with an empty manifest; 500 for finished jobs.
    Empties500,
    /// The same, and 409 for finished jobs.
    Empties409,
    /// 202, and the job goes on to its end.
    Slowly,
    /// 405 (Bulk Data) or 503.
    Never,
    /// 404 for finished jobs, which stay (HAPI).
    Keeps,
}

/// A `FhirExport`.
#[derive(Clone, Debug)]
pub struct ExportPlan {
    /// The number of its server.
    pub server: usize,
    /// When it is created, in seconds.
    pub at: i64,
    /// Members of its spec, as JSON.
    pub spec: serde_json::Value,
    /// What becomes of its jobs, one after the other; the last one for all that follow.
    pub jobs: Vec<JobPlan>,
}

/// What becomes of a job.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// How long it takes, in seconds.
    pub lasts: i64,
    /// How it ends.
    pub ending: Ending,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With these files.
    Files(Vec<FilePlan>),
    /// With an error of this status code and words.
    Fails(u16, &'static str),
    /// The server forgets it.
    Forgotten,
}

/// A file.
#[derive(Clone, Debug)]
pub struct FilePlan {
    /// Its type; `deleted` and `error` for such files.
    pub type_: &'static str,
    /// Its lines.
    pub lines: u64,
    /// It has some MiB.
    pub big: bool,
    /// What is the matter with it.
    pub flaw: Flaw,
}

/// What is the matter with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// So many downloads break off.
    Breaks(u32),
    /// The first download breaks off after the last byte, before its end is marked.
    BreaksAtEnd,
    /// So many downloads end early as if that were the end.
    Short(u32),
    /// So many downloads are a gateway's page with status 200.
    Page(u32),
    /// So many requests are answered with this status.
    Refused(u32, u16),
    /// Other bytes from the second download on.
    Changes,
    /// It is not there.
    Missing,
    /// The manifest says another number of lines.
    Miscounted,
    /// It is at an origin that is not allowed.
    Elsewhere,
}

/// Where something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// A status of an export is written.
    Status,
    /// A finalizer, a server's status, a deletion.
    Object,
    /// An event.
    Note,
    /// Credentials.
    Authorize,
    /// A kick-off.
    KickOff,
    /// A poll.
    Poll,
    /// A DELETE.
    Delete,
    /// A file is opened.
    File,
    /// Anything else of a FHIR server.
    Probe,
    /// The storage account.
    Storage,
    /// The Lease.
    Lease,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Where.
    pub edge: Edge,
    /// At the how-manieth use of the edge, from 0.
    pub nth: u32,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// The operator is killed before the request is sent.
    CrashBefore,
    /// The operator is killed after it was carried out, before the answer is heard.
    CrashAfter,
    /// Nothing is done, and that is certain.
    NotSent,
    /// Nothing is done, and that is not certain.
    NotDone,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is done, and a repetition by the client is answered with a conflict.
    Repeated,
    /// It takes so many seconds more.
    Slow(i64),
    /// A gateway's page of this status.
    Page(u16),
    /// An OperationOutcome of this status.
    Outcome(u16),
    /// 429, and when to come again, in seconds.
    Throttled(Option<i64>),
    /// The answer of the last time.
    Replayed,
    /// The body breaks off.
    Truncated,
    /// It is done, and `Content-Location` is this.
    Location(Location),
    /// The storage account refuses the identity.
    Denied,
    /// The task panics before the request is sent.
    PanicsBefore,
    /// The request is carried out, and the task panics over its answer.
    PanicsAfter,
    /// The process is stopped for so many seconds (SIGSTOP), right before it looks at the time that it has left.
    StopBefore(i64),
    /// The process is stopped for so many seconds between that look and the sending.
    StopWithin(i64),
    /// The process is stopped for so many seconds when the request was carried out.
    StopAfter(i64),
}

/// What becomes of `Content-Location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// It is removed.
    None,
    /// It is relative.
    Relative,
    /// It names an inside host.
    Inside,
    /// It is of another origin.
    Elsewhere,
    /// It carries a signature.
    Signed,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in seconds.
    pub at: i64,
    /// What.
    pub kind: EventKind,
}

/// What is the matter with a replica's way to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It hangs.
    Hangs,
    /// It is refused.
    Refuses,
    /// Requests about the Lease arrive late, and their answers are lost.
    AnswersLost,
    /// Answers about the Lease take as long as they may, and longer; all other requests go well.
    AnswersLate,
    /// One answer about the Lease takes nearly as long as it may, and from then on the way hangs.
    Falters,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A process of the operator is killed, and starts again after so many seconds.
    Crash(i64),
    /// A process is stopped for so many seconds.
    Stop(i64),
    /// A process is told to end (SIGTERM), and its replica starts anew.
    Terminate,
    /// All processes are replaced, one after the other.
    Rollout,
    /// The way of one process to the API server is troubled for so many seconds.
    Hinder(Trouble, i64),
    /// Somebody writes an annotation of the Lease.
    TouchLease,
    /// `spec.suspend` of an export.
    Suspend(usize, bool),
    /// `spec.cancel` of an export.
    Cancel(usize),
    /// `spec.activeDeadlineSeconds` of an export.
    Deadline(usize, i64),
    /// Somebody writes an annotation.
    Touch(usize),
    /// Another version of the operator writes words into the status of an export that this one does not know.
    AnotherVersion(usize),
    /// Its status can be read again.
    ReadAgain(usize),
    /// An export is deleted.
    Delete(usize),
    /// An export of that name is created again.
    CreateAgain(usize),
    /// `spec.suspend` of a server.
    SuspendServer(usize, bool),
    /// `defaultContainer` of a server.
    MoveContainer(usize, &'static str),
    /// `storage` of a server that does not write the files itself.
    MoveStorage(usize, Account),
    /// A server is deleted.
    DeleteServer(usize),
    /// It is created again.
    CreateServer(usize),
    /// Its Secret is deleted.
    DeleteSecret(usize),
    /// It is created again.
    CreateSecret(usize),
    /// The namespace of the exports is deleted.
    DeleteNamespace,
    /// The clock of the operator jumps by so many seconds.
    ClockJumps(i64),
    /// No watch event arrives for so many seconds; then everything is listed anew.
    WatchBreaks(i64),
    /// The API server is not there for so many seconds.
    ApiDown(i64),
    /// A FHIR server is not there for so many seconds.
    FhirDown(usize, i64),
    /// A FHIR server does not accept tokens for so many seconds.
    FhirRefuses(usize, i64),
    /// The storage account is not there for so many seconds.
    StorageDown(i64),
    /// The storage account refuses the identity for so many seconds.
    StorageDenies(i64),
    /// Somebody else's job begins on a server, in the same container.
    Stranger(usize),
    /// Somebody else cancels the job of an export.
    CancelledByOthers(usize),
    /// Somebody does something to a schedule or its runs.
    OfSchedule(usize, ScheduleEvent),
    /// All tokens that were given out for a server are not good any more.
    TokensEnd(usize),
}
