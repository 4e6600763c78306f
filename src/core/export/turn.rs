//! One decision in the making: the status, the memory and the events as they will be.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Facts, Inputs, Memory, ServerView, Step};
use crate::api::{
    CANCEL_FINALIZER, ConditionStatus, ConditionType, Dialect, FhirExport, FhirExportSpec, FhirExportStatus,
    PreviousJob, Reason, UnsettledJob,
};
use crate::core::condition;
use crate::core::effect::{Effect, Note, NoteType, Requeue};
use crate::core::planted::{Fault, planted};
use crate::core::poll::{Bounds, delay};
use crate::core::tuning::Tuning;
use crate::core::words;

/// Earlier attempts that are kept.
const MAX_PREVIOUS: usize = 5;
/// Unsettled jobs that are kept.
const MAX_UNSETTLED: usize = 8;
/// Longest reason of an entry in a list of the status, in characters.
const MAX_ENTRY: usize = 128;
/// Longest message of an event, in bytes: the API server refuses longer ones.
const MAX_NOTE: usize = 1024;
/// Largest status, in bytes of JSON.
const MAX_STATUS: usize = 16_000;
/// Nothing so short is shortened to make room, in bytes.
const SHORT: usize = 128;
/// No requeue is shorter than this, so that nothing spins.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// One decision in the making.
pub(super) struct Turn<'a> {
    pub(super) status: FhirExportStatus,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
    pub(super) jitter: f64,
    pub(super) facts: &'a Facts,
    pub(super) tuning: &'a Tuning,
    /// The check of the files, or their landing, was just looked at, and goes on.
    pub(super) going_on: bool,
    export: &'a FhirExport,
    notes: Vec<Note>,
}

impl<'a> Turn<'a> {
    #[allow(clippy::needless_pass_by_value)] // they are made for this one turn
    pub(super) fn new(inputs: Inputs<'a>) -> Self {
        let mut status = inputs.export.status.clone().unwrap_or_default();
        if status.completion_time.is_none() || planted(Fault::TerminalChanges) {
            status.observed_generation = inputs.export.metadata.generation;
        }
        Self {
            status,
            memory: inputs.memory.clone(),
            now: inputs.now,
            jitter: inputs.jitter,
            facts: inputs.facts,
            tuning: inputs.tuning,
            going_on: false,
            export: inputs.export,
            notes: Vec::new(),
        }
    }

    pub(super) fn export(&self) -> &'a FhirExport {
        self.export
    }

    pub(super) fn spec(&self) -> &'a FhirExportSpec {
        &self.export.spec
    }

    pub(super) fn server(&self) -> Option<ServerView<'a>> {
        self.facts.server.as_deref().map(ServerView::new)
    }

    /// Whether the operator lands the files itself.
    pub(super) fn lands(&self) -> bool {
        self.server().is_some_and(|server| server.spec().dialect == Dialect::BulkData)
    }

    /// The namespace of the export.
    pub(super) fn namespace(&self) -> String {
        self.export.namespace().unwrap_or_default()
    }

    pub(super) fn deleting(&self) -> bool {
        self.export.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn has_finalizer(&self) -> bool {
        self.export.finalizers().iter().any(|f| f == CANCEL_FINALIZER)
    }

    /// `namespace/name` of the server as the run names it, for messages.
    pub(super) fn server_name(&self) -> (String, String) {
        let reference = &self.spec().server_ref;
        let namespace = reference.namespace.clone().or_else(|| self.export.namespace()).unwrap_or_default();
        (namespace, reference.name.clone())
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.server().map_or(
            Bounds {
                min: self.tuning.poll_floor,
                max: self.tuning.poll_ceiling,
                max_retry_after: self.tuning.poll_ceiling,
            },
            |server| server.bounds(self.tuning),
        )
    }

    /// When the run must have ended; absent before it left the queue.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let limit = super::deadline(self.spec(), self.server().map(|view| view.object()), self.tuning);
        Some(after(self.status.start_time?, limit))
    }

    /// The last word on progress is what the manifest says: users read it for ever.
    pub(super) fn told_files(&mut self, files: usize) {
        let Some(job) = self.status.job.as_mut() else { return };
        let progress = job.progress.get_or_insert_default();
        progress.percent = progress.percent.map(|_| 100);
        progress.files = i64::try_from(files).ok();
        progress.summary = Some(if files == 1 { "1 file".to_owned() } else { format!("{files} files") });
        progress.bytes = None;
    }

    pub(super) fn is_true(&self, type_: ConditionType) -> bool {
        condition::is_true(&self.status.conditions, type_)
    }

    pub(super) fn because(&self, type_: ConditionType, reason: Reason) -> bool {
        condition::find(&self.status.conditions, type_).is_some_and(|c| c.because(reason))
    }

    pub(super) fn set(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: &str,
    ) {
        let generation = self.export.metadata.generation.unwrap_or(0);
        condition::set(&mut self.status.conditions, type_, status, reason, message, generation, self.now);
    }

    pub(super) fn set_true(&mut self, type_: ConditionType, reason: Reason, message: &str) {
        self.set(type_, ConditionStatus::True, reason, message);
    }

    pub(super) fn set_false(&mut self, type_: ConditionType, reason: Reason, message: &str) {
        self.set(type_, ConditionStatus::False, reason, message);
    }

    pub(super) fn remove(&mut self, type_: ConditionType) {
        condition::remove(&mut self.status.conditions, type_);
    }

    pub(super) fn state(&mut self, state: &str) {
        if self.status.state.as_deref() != Some(state) {
            self.status.state = Some(state.to_owned());
        }
    }

    pub(super) fn note(&mut self, type_: NoteType, reason: Reason, action: &'static str, message: &str) {
        self.notes.push(Note { type_, reason, action, message: words::cut(message, MAX_NOTE), folder: None });
    }

    /// The job is over and its end is known: it moves to the earlier ones.
    pub(super) fn retire_job(&mut self, reason: Reason) {
        let Some(job) = self.status.job.take() else { return };
        // Whoever reads of a folder here may delete it: it must be ours.
        let ours = !self.because(ConditionType::KickOffUncertain, Reason::JobAdopted);
        let folder = self.status.output.take().and_then(|o| o.folder);
        self.status.previous_jobs.push(PreviousJob {
            id: job.id,
            folder: folder.filter(|_| ours),
            start_time: job.kick_off_time.unwrap_or(job.intent_time),
            end_time: condition::whole_seconds(self.now),
            reason: reason.to_string(),
        });
        let surplus = self.status.previous_jobs.len().saturating_sub(MAX_PREVIOUS);
        self.status.previous_jobs.drain(..surplus);
    }

    /// The job may still run, and nobody will look after it: it is written down for people.
    pub(super) fn leave_job(&mut self, reason: &str) {
        let Some(job) = &self.status.job else { return };
        self.leave(job.status_url.clone(), job.intent_time, reason);
    }

    /// Likewise of the job that the kick-off may have started, whatever job is followed.
    pub(super) fn leave_unseen_job(&mut self) {
        let Some(job) = &self.status.job else { return };
        self.leave(None, job.intent_time, "the answer to its kick-off was lost");
    }

    fn leave(&mut self, status_url: Option<String>, intent_time: Timestamp, reason: &str) {
        let entry =
            UnsettledJob { status_url, intent_time, reason: reason.chars().take(MAX_ENTRY).collect() };
        if self.status.unsettled_jobs.iter().any(|j| j.intent_time == entry.intent_time) {
            return;
        }
        self.status.unsettled_jobs.push(entry);
        let surplus = self.status.unsettled_jobs.len().saturating_sub(MAX_UNSETTLED);
        self.status.unsettled_jobs.drain(..surplus);
    }

    /// A delay by the server's bounds, counted from the failures in a row.
    pub(super) fn back_off(&mut self, asked: Option<Duration>) -> Duration {
        let wait = delay(&self.bounds(), self.memory.failures, asked, self.jitter);
        self.memory.failures = self.memory.failures.saturating_add(1);
        wait
    }

    /// `wait` from now.
    pub(super) fn later(&self, wait: Duration) -> Timestamp {
        after(self.now, wait)
    }

    /// Do this next.
    pub(super) fn perform(self, effect: Effect) -> Step {
        self.into_step(Some(effect), Requeue::AwaitChange)
    }

    /// Nothing to do until something changes.
    pub(super) fn rest(self) -> Step {
        self.into_step(None, Requeue::AwaitChange)
    }

    /// Nothing to do until the earliest of these.
    pub(super) fn wait_until(self, moments: &[Option<Timestamp>]) -> Step {
        let requeue = moments.iter().flatten().min().map_or(Requeue::AwaitChange, |moment| {
            let left = Duration::try_from(moment.duration_since(self.now)).unwrap_or_default();
            Requeue::After(left.max(MIN_WAIT))
        });
        self.into_step(None, requeue)
    }

    fn into_step(mut self, effect: Option<Effect>, requeue: Requeue) -> Step {
        // What has ended is not touched, whoever made it long.
        if self.export.status.as_ref().is_none_or(|status| !super::is_terminal(status)) {
            fit(&mut self.status);
        }
        // Memory may have begun anew.
        self.memory.last_look = Some(self.now);
        Step { status: self.status, memory: self.memory, effect, requeue, notes: self.notes }
    }
}

/// Takes out what can be read elsewhere until the status is small enough: the manifest has all types, the server
/// and the container know earlier jobs. What is left then are words, and names of the server's choice.
fn fit(status: &mut FhirExportStatus) {
    let surplus = status.previous_jobs.len().saturating_sub(MAX_PREVIOUS);
    status.previous_jobs.drain(..surplus);
    let surplus = status.unsettled_jobs.len().saturating_sub(MAX_UNSETTLED);
    status.unsettled_jobs.drain(..surplus);
    while serde_json::to_vec(status).map_or(0, |json| json.len()) > MAX_STATUS {
        let types = status.output.as_mut().map(|output| &mut output.types);
        if let Some(types) = types.filter(|types| !types.is_empty()) {
            types.truncate(types.len() * 3 / 4);
        } else if !status.previous_jobs.is_empty() {
            status.previous_jobs.remove(0);
        } else if status.unsettled_jobs.len() > 1 {
            status.unsettled_jobs.remove(0);
        } else if !shorten(status) {
            return;
        }
    }
}

/// Makes the longest text shorter that is only to be read; false if none is long.
fn shorten(status: &mut FhirExportStatus) -> bool {
    let messages = status.conditions.iter_mut().map(|condition| &mut condition.message);
    let output = status.output.as_mut();
    let names = output.map(|o| [o.folder.as_mut(), o.manifest.as_mut().map(|m| &mut m.path)]);
    let longest = messages.chain(names.into_iter().flatten().flatten()).max_by_key(|text| text.len());
    let Some(text) = longest.filter(|text| text.len() > SHORT) else { return false };
    *text = words::cut(text, (text.len() / 2).max(SHORT));
    true
}

/// A time so much later, at the end of time if need be.
pub(super) fn after(start: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| start.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_that_is_full_of_the_server_s_words_still_fits() {
        let condition = |n: usize| {
            json!({"type": format!("T{n}"), "status": "True", "reason": "R", "message": "\"".repeat(1024),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let job = json!({"statusURL": format!("https://x/{}", "j".repeat(2000)), "intentTime": "2026-01-01T00:00:00Z",
            "reason": "r"});
        let previous =
            json!({"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z", "reason": "r"});
        let long = "\u{1}".repeat(1024);
        let mut status: FhirExportStatus = serde_json::from_value(json!({
            "conditions": (0..12).map(condition).collect::<Vec<_>>(),
            "job": job, "unsettledJobs": vec![job.clone(); 5000], "previousJobs": vec![previous; 5000],
            "server": {"uid": "u", "url": "u".repeat(1024)},
            "output": {"folder": long, "manifest": {"path": long, "sha256": "s"},
                "types": vec![json!({"type": "T".repeat(64), "files": 1}); 5000]},
        }))
        .unwrap();
        fit(&mut status);
        assert!(serde_json::to_vec(&status).unwrap().len() <= MAX_STATUS);
        // What is needed to go on is there.
        assert_eq!(status.job.as_ref().unwrap().status_url.as_deref(), job["statusURL"].as_str());
        assert_eq!((status.conditions.len(), status.unsettled_jobs.len()), (12, 1));
        assert!(status.conditions.iter().all(|c| !c.message.is_empty()));
        let once = status.clone();
        fit(&mut status);
        assert_eq!(status, once);
    }
}
