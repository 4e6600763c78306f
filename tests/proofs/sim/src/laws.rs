//! What must stay true, checked against what the models themselves know, at each write, request and event.

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

/// Who acts at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting {
    /// The process.
    pub process: usize,
    /// The task.
    pub task: u64,
    /// The task of the look that began this one, or its own.
    pub look: u64,
    /// The number of the export, if it is about one.
    pub export: Option<usize>,
    /// Its uid.
    pub uid: String,
    /// It is the repetition of a look that just ended, at the same time: there is nothing to do.
    pub echo: bool,
}

impl Acting {
    /// Whether both are the same look at the same object, or a request of it.
    fn same_look(&self, other: &Self) -> bool {
        (self.process, self.look, &self.uid) == (other.process, other.look, &other.uid)
    }
}

/// An intent to kick off.
#[derive(Clone, Debug)]
struct Intent {
    time: Timestamp,
    by: Acting,
    /// A server took in its kick-off.
    sent: bool,
    /// When its kick-off left the operator, in microseconds.
    left: Option<i64>,
    /// The operator knows what came of it, as far as anybody said.
    heard: bool,
}

/// What is known of an export, also when it is gone.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The number of the schedule that it is a run of.
    pub schedule: Option<usize>,
    /// When it was made, in microseconds.
    made: i64,
    /// Its status, as it was written last.
    pub status: FhirExportStatus,
    /// Events about it, and when they were published, in microseconds.
    pub told: Vec<(Reason, i64)>,
    /// It is gone.
    pub gone: bool,
    /// Since when, in microseconds.
    gone_at: i64,
    /// Jobs that it began.
    pub kick_offs: usize,
    intents: Vec<Intent>,
    /// Times of unsettled jobs, and of the intents that they stand for: a clock that was set back gives another time.
    moved: BTreeSet<(Timestamp, Timestamp)>,
    /// Jobs that a status URL of it named.
    followed: BTreeSet<usize>,
    /// The process that heard of a status URL that is not written yet.
    heard_by: Option<usize>,
    /// DELETEs that were sent for its cancellation.
    deletes: i32,
    /// Where each of its attempts lands, by folder, as it was written with the intent.
    places: BTreeMap<String, Destination>,
}

/// The records.
#[derive(Debug, Default)]
pub struct Laws {
    /// Laws that were broken: which, and how.
    pub broken: Vec<(BrokenLaw, String)>,
    /// Who acts.
    pub acting: Acting,
    /// What is known of schedules.
    pub books: schedules::Books,
    /// By uid.
    pub records: BTreeMap<String, Record>,
    /// The job that each task kicked off last.
    kicked: BTreeMap<u64, usize>,
    /// Files that were opened.
    opened: u32,
}

impl Record {
    /// Whether the status names a job that may still run.
    fn lists(&self, job: &Job, url: &str) -> bool {
        listed(&self.status, job, url) || job.intent.is_some_and(|intent| self.lists_intent(intent))
    }

    /// Whether the status names an intent of which nobody knows what it came to.
    fn lists_intent(&self, intent: Timestamp) -> bool {
        let times = self.status.unsettled_jobs.iter().map(|entry| entry.intent_time);
        times.into_iter().any(|time| time == intent || self.moved.contains(&(time, intent)))
    }

    /// Whether its end says that the job had ended before it could be cancelled. The answer that said so may have
    /// broken off.
    fn tells_end(&self, url: &str) -> bool {
        let status = &self.status;
        let named = status.job.as_ref().and_then(|job| job.status_url.as_deref()).is_some_and(|of| of == url);
        let outcome = status.cancellation.as_ref().and_then(|cancellation| cancellation.outcome);
        let told = is_terminal(status)
            || self.gone && self.told.iter().any(|(reason, _)| *reason == Reason::Cancelled);
        named && told && outcome == Some(CancelOutcome::AlreadyFinished)
    }

    /// Whether its owner was told by an event that a job may run on.
    fn told_by_event(&self, job: &Job) -> bool {
        self.told_since(job.left)
    }

    /// Whether its owner was told so at that time or later.
    fn told_since(&self, time: i64) -> bool {
        let reasons =
            [Reason::CancelUnconfirmed, Reason::Abandoned, Reason::KickOffUncertain, Reason::NoJobFound];
        self.told.iter().any(|(reason, at)| *at >= time && reasons.contains(reason))
    }
}

/// Whether a status names a job that may still run.
fn listed(status: &FhirExportStatus, job: &Job, url: &str) -> bool {
    status.unsettled_jobs.iter().any(|entry| {
        let here = entry.status_url.as_deref().is_some_and(|there| there.split('?').next() == Some(url));
        here || Some(entry.intent_time) == job.intent
    })
}

impl State {
    /// An export was made.
    pub fn made(&mut self, object: &FhirExport, schedule: Option<usize>) {
        let name = object.name_any();
        let record = Record { name, schedule, made: self.time.now, ..Record::default() };
        self.tally.exports += 1;
        self.laws.records.insert(object.uid().unwrap_or_default(), record);
    }

    /// An export is gone.
    pub fn gone(&mut self, object: &FhirExport) {
        let uid = object.uid().unwrap_or_default();
        self.tell(20, || format!("{} is gone", object.name_any()));
        let now = self.time.now;
        if let Some(record) = self.laws.records.get_mut(&uid) {
            (record.gone, record.gone_at) = (true, now);
        }
    }

    /// The operator does something that changes or tells anything.
    pub fn quiet(&mut self, what: &str) {
        if self.laws.acting.echo {
            self.broken(Law::QuietWhenUnchanged, "the same inputs at the same time write nothing", what);
        }
    }

    /// The operator publishes an event.
    pub fn told(&mut self, about: &FhirExport, note: &Note) {
        self.tell(21, || format!("event about {}: {}: {}", about.name_any(), note.reason, note.message));
        self.check_note(note);
        let now = self.time.now;
        if let Some(record) = self.laws.records.get_mut(&about.uid().unwrap_or_default()) {
            record.told.push((note.reason, now));
        }
    }

    /// What an event says is short, and shows no secret and no patient.
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

    /// The status of an export as the API server has it, if it is there.
    fn stored(&self, uid: &str) -> Option<&FhirExport> {
        self.api
            .exports
            .objects
            .values()
            .find(|object| object.metadata.uid.as_deref() == Some(uid))
            .map(|o| &**o)
    }
}
