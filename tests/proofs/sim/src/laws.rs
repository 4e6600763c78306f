//! The laws that must hold, checked at each write, request and event against what the models know.

mod chains;
mod data;
mod end;
mod folders;
mod law;
mod patience;
mod place;
mod requests;
pub mod schedules;
mod tenure;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use fhir_export_operator::api::{CancelOutcome, Destination, FhirExport, FhirExportStatus, Reason};
use fhir_export_operator::core::effect::Note;
use fhir_export_operator::core::export::is_terminal;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::fhir::{Job, SENTINEL};
use crate::state::State;
pub use law::{BrokenLaw, Law};
pub use place::endpoint_of;
use writes::MAX_STATUS;
pub use writes::is_unread;

/// The process and the task that act at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting {
    /// The number of the process.
    pub process: usize,
    /// The number of the task.
    pub task: u64,
    /// The task of the look that began this task, or this task if it is a look.
    pub look: u64,
    /// The number of the export that the look is about, if any.
    pub export: Option<usize>,
    /// The uid of the object that the look is about.
    pub uid: String,
    /// Whether this repeats a look that just ended, at the same time. Such a look must do nothing.
    pub echo: bool,
}

impl Acting {
    /// Whether both belong to the same look at the same object.
    fn same_look(&self, other: &Self) -> bool {
        (self.process, self.look, &self.uid) == (other.process, other.look, &other.uid)
    }
}

/// The recorded intent of a kick-off.
#[derive(Clone, Debug)]
struct Intent {
    time: Timestamp,
    by: Acting,
    /// Whether a server has received the kick-off.
    sent: bool,
    /// When the kick-off left the operator, in microseconds.
    left: Option<i64>,
    /// Whether the operator knows the outcome of the kick-off, as far as any answer told it.
    heard: bool,
}

/// What the laws know of an export, even after it was deleted.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The name of the export.
    pub name: String,
    /// The number of the schedule that created the export.
    pub schedule: Option<usize>,
    /// When the export was created, in microseconds.
    made: i64,
    /// The status as it was last written.
    pub status: FhirExportStatus,
    /// The reasons of events about the export, and when they were published, in microseconds.
    pub told: Vec<(Reason, i64)>,
    /// Whether the export was deleted.
    pub gone: bool,
    /// When the export was deleted, in microseconds.
    gone_at: i64,
    /// The number of jobs that the export began.
    pub kick_offs: usize,
    intents: Vec<Intent>,
    /// The times of unsettled jobs, each with the intent that it stands for: a clock that was set back gives
    /// another time.
    moved: BTreeSet<(Timestamp, Timestamp)>,
    /// The jobs whose status URLs the export's status named.
    followed: BTreeSet<usize>,
    /// The process that received a status URL that is not written yet.
    heard_by: Option<usize>,
    /// The number of DELETEs that were sent to cancel its job.
    deletes: i32,
    /// Where each attempt lands, by folder, as it was written with the intent.
    places: BTreeMap<String, Destination>,
}

/// What the laws have recorded.
#[derive(Debug, Default)]
pub struct Laws {
    /// The broken laws, and how each was broken.
    pub broken: Vec<(BrokenLaw, String)>,
    /// The process and the task that act at this moment.
    pub acting: Acting,
    /// What the laws know of schedules.
    pub books: schedules::Books,
    /// The exports, by uid.
    pub records: BTreeMap<String, Record>,
    /// The job that each task kicked off last.
    kicked: BTreeMap<u64, usize>,
    /// The number of files that were opened.
    opened: u32,
}

impl Record {
    /// Whether the status names a job, or its intent, as one that may still run.
    fn lists(&self, job: &Job, url: &str) -> bool {
        listed(&self.status, job, url) || job.intent.is_some_and(|intent| self.lists_intent(intent))
    }

    /// Whether the status names an intent whose outcome is unknown.
    fn lists_intent(&self, intent: Timestamp) -> bool {
        let times = self.status.unsettled_jobs.iter().map(|entry| entry.intent_time);
        times.into_iter().any(|time| time == intent || self.moved.contains(&(time, intent)))
    }

    /// Whether the end of the run reports that the job had ended before it could be cancelled. The answer
    /// that showed this may have broken off.
    fn tells_end(&self, url: &str) -> bool {
        let status = &self.status;
        let named = status.job.as_ref().and_then(|job| job.status_url.as_deref()).is_some_and(|of| of == url);
        let outcome = status.cancellation.as_ref().and_then(|cancellation| cancellation.outcome);
        let told = is_terminal(status)
            || self.gone && self.told.iter().any(|(reason, _)| *reason == Reason::Cancelled);
        named && told && outcome == Some(CancelOutcome::AlreadyFinished)
    }

    /// Whether an event reported that a job may run on.
    fn told_by_event(&self, job: &Job) -> bool {
        self.told_since(job.left)
    }

    /// Whether an event reported this at that time or later, in microseconds.
    fn told_since(&self, time: i64) -> bool {
        let reasons =
            [Reason::CancelUnconfirmed, Reason::Abandoned, Reason::KickOffUncertain, Reason::NoJobFound];
        self.told.iter().any(|(reason, at)| *at >= time && reasons.contains(reason))
    }
}

/// Whether a status lists a job as one that may still run.
fn listed(status: &FhirExportStatus, job: &Job, url: &str) -> bool {
    status.unsettled_jobs.iter().any(|entry| {
        let here = entry.status_url.as_deref().is_some_and(|there| there.split('?').next() == Some(url));
        here || Some(entry.intent_time) == job.intent
    })
}

impl State {
    /// Records that an export was created.
    pub fn made(&mut self, object: &FhirExport, schedule: Option<usize>) {
        let name = object.name_any();
        let record = Record { name, schedule, made: self.time.now, ..Record::default() };
        self.tally.exports += 1;
        self.laws.records.insert(object.uid().unwrap_or_default(), record);
    }

    /// Records that an export was deleted.
    pub fn gone(&mut self, object: &FhirExport) {
        let uid = object.uid().unwrap_or_default();
        self.tell(20, || format!("{} is gone", object.name_any()));
        let now = self.time.now;
        if let Some(record) = self.laws.records.get_mut(&uid) {
            (record.gone, record.gone_at) = (true, now);
        }
    }

    /// The operator does something that changes or reports anything, which a repeated look must not do.
    pub fn quiet(&mut self, what: &str) {
        if self.laws.acting.echo {
            self.broken(Law::QuietWhenUnchanged, "the same inputs at the same time write nothing", what);
        }
    }

    /// Records that the operator publishes an event.
    pub fn told(&mut self, about: &FhirExport, note: &Note) {
        self.tell(21, || format!("event about {}: {}: {}", about.name_any(), note.reason, note.message));
        self.check_note(note);
        let now = self.time.now;
        if let Some(record) = self.laws.records.get_mut(&about.uid().unwrap_or_default()) {
            record.told.push((note.reason, now));
        }
    }

    /// Checks that an event is short, and shows no secret and no patient.
    fn check_note(&mut self, note: &Note) {
        if note.message.contains(SENTINEL) {
            self.broken(
                Law::TokenStays,
                "no secret and no patient is shown",
                format!("event {}: {}", note.reason, note.message),
            );
        }
        if note.message.is_empty() || note.message.len() > 1024 {
            self.broken(
                Law::StatusSmall,
                "events are short",
                format!("event {}: {} bytes", note.reason, note.message.len()),
            );
        }
    }

    /// The export with this uid as the API server has it.
    fn stored(&self, uid: &str) -> Option<&FhirExport> {
        self.api
            .exports
            .objects
            .values()
            .find(|object| object.metadata.uid.as_deref() == Some(uid))
            .map(|o| &**o)
    }
}
