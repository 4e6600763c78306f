//! One decision in the making: the facts it is based on, and the status and events it has produced so far.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::decision::{Decision, Facts, Inputs, Memory};
use super::flow::Next;
use super::memory::JobOwner;
use super::phase::{Phase, PhaseName};
use super::server_view::{self, ServerView};
use super::size::{MAX_PREVIOUS, MAX_UNSETTLED, fit};
use super::status::{is_terminal, observe};
use crate::api::{
    CANCEL_FINALIZER, ConditionStatus, ConditionType, Dialect, FhirExport, FhirExportSpec, FhirExportStatus,
    PreviousJob, Reason, UnsettledJob,
};
use crate::core::condition;
use crate::core::effect::{Note, NoteType, Requeue};
use crate::core::planted::{Fault, planted};
use crate::core::poll::{Bounds, delay, early_delay};
use crate::core::retry::{Retry, after};
use crate::core::tuning::Tuning;
use crate::core::words;

/// The longest reason of an entry in a list of the status, in characters.
const MAX_ENTRY: usize = 128;
/// The longest message of an event, in bytes; the API server refuses longer ones.
const MAX_NOTE: usize = 1024;
/// The shortest requeue, so that no run is looked at in a tight loop.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// The state of one decision while the phases work it out: the inputs, and the status and events so far.
pub(super) struct Turn<'a> {
    pub(super) status: FhirExportStatus,
    pub(super) now: Timestamp,
    pub(super) jitter: f64,
    pub(super) facts: &'a Facts,
    pub(super) tuning: &'a Tuning,
    /// Whether this turn looked at the check or the landing and found it running beside the reconciles.
    pub(super) task_runs: bool,
    export: &'a FhirExport,
    notes: Vec<Note>,
    changes: Vec<(PhaseName, PhaseName)>,
    /// The conditions that were set since the run entered its present phase.
    #[cfg(test)]
    set: Vec<(ConditionType, ConditionStatus, Reason)>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(inputs: &Inputs<'a>) -> Self {
        let mut status = inputs.export.status.clone().unwrap_or_default();
        let generation = inputs.export.metadata.generation;
        if is_terminal(&status) && status.observed_generation != generation && planted(Fault::TerminalChanges)
        {
            status.completion_time = Some(condition::whole_seconds(inputs.now));
        }
        observe(&mut status, generation);
        Self {
            status,
            now: inputs.now,
            jitter: inputs.jitter,
            facts: inputs.facts,
            tuning: inputs.tuning,
            task_runs: false,
            export: inputs.export,
            notes: Vec::new(),
            changes: Vec::new(),
            #[cfg(test)]
            set: Vec::new(),
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

    /// Whether the operator lands the files itself: as decided when the job was started, else by the server's dialect.
    pub(super) fn lands(&self) -> bool {
        match self.status.job.as_ref().and_then(|job| job.destination.as_ref()) {
            Some(destination) => destination.folder.is_some(),
            None => self.server().is_some_and(|server| server.spec().dialect == Dialect::BulkData),
        }
    }

    /// The namespace of the export.
    pub(super) fn namespace(&self) -> String {
        self.export.namespace().unwrap_or_default()
    }

    pub(super) fn deleting(&self) -> bool {
        self.export.metadata.deletion_timestamp.is_some()
    }

    /// When the object was deleted, if it was.
    pub(super) fn deletion_time(&self) -> Option<Timestamp> {
        self.export.metadata.deletion_timestamp.as_ref().map(|time| time.0)
    }

    pub(super) fn has_finalizer(&self) -> bool {
        self.export.finalizers().iter().any(|f| f == CANCEL_FINALIZER)
    }

    /// Whether `spec.cancel` asks for the end of the run.
    pub(super) fn cancel_requested(&self) -> bool {
        self.spec().cancel == Some(true)
    }

    /// Namespace and name of the server as the run names it, for messages.
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

    /// When the run must have ended; `None` before it left the queue.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let server = self.server().map(|view| view.object());
        Some(after(self.status.start_time?, server_view::deadline(self.spec(), server, self.tuning)))
    }

    /// Whether the deadline has passed.
    pub(super) fn out_of_time(&self) -> bool {
        self.deadline().is_some_and(|end| end <= self.now)
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
        #[cfg(test)]
        {
            self.set.retain(|(earlier, ..)| *earlier != type_);
            self.set.push((type_, status, reason));
        }
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

    /// Records that the server can be reached: it has answered, no matter what.
    pub(super) fn server_answered(&mut self) {
        self.set_true(ConditionType::ServerReachable, Reason::Reachable, "the server answers");
    }

    /// Counts an attempt against `spec.backoffLimit`.
    pub(super) fn count_attempt(&mut self) {
        self.status.attempts = Some(self.status.attempts.unwrap_or(0) + 1);
    }

    pub(super) fn note(&mut self, type_: NoteType, reason: Reason, action: &'static str, message: &str) {
        self.notes.push(Note { type_, reason, action, message: words::cut(message, MAX_NOTE), folder: None });
    }

    /// Moves the job, whose end is known, to `previousJobs`.
    pub(super) fn retire_job(&mut self, reason: Reason, owner: JobOwner) {
        let Some(job) = self.status.job.take() else { return };
        // Readers may delete a folder that is named here, so only the run's own is named.
        let folder = self.status.output.take().and_then(|o| o.folder);
        self.status.previous_jobs.push(PreviousJob {
            id: job.id,
            folder: folder.filter(|_| owner == JobOwner::Own),
            start_time: job.kick_off_time.unwrap_or(job.intent_time),
            end_time: condition::whole_seconds(self.now),
            reason: reason.to_string(),
        });
        let surplus = self.status.previous_jobs.len().saturating_sub(MAX_PREVIOUS);
        self.status.previous_jobs.drain(..surplus);
    }

    /// Adds the job to `unsettledJobs`: it may still run, and the operator will no longer follow it.
    pub(super) fn leave_job(&mut self, reason: &str) {
        let Some(job) = &self.status.job else { return };
        self.leave(job.status_url.clone(), job.intent_time, reason);
    }

    /// Adds to `unsettledJobs` that the kick-off may have started a job that was never seen, even if the
    /// run follows another job now.
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

    /// Whether the job of this status URL is in `unsettledJobs`.
    pub(super) fn is_unsettled(&self, status_url: &str) -> bool {
        self.status.unsettled_jobs.iter().any(|job| job.status_url.as_deref() == Some(status_url))
    }

    /// Counts a failure and returns the delay before the next try, within the server's bounds.
    pub(super) fn back_off(&self, retry: &mut Retry, asked: Option<Duration>) -> Duration {
        let wait = delay(&self.bounds(), retry.failures, asked, self.jitter);
        retry.count();
        wait
    }

    /// How long to wait before the next poll of a job that was polled `polls` times. `early` says that these
    /// polls are all since its kick-off. A wait that the server asks for wins.
    pub(super) fn poll_wait(&self, polls: u32, early: bool, asked: Option<Duration>) -> Duration {
        let bounds = self.bounds();
        let early = early && self.server().is_some_and(|server| server.polls_early());
        match asked {
            None if early => early_delay(&bounds, polls, self.jitter).max(self.tuning.poll_floor),
            None if polls == 0 => bounds.min,
            None | Some(_) => delay(&bounds, polls.saturating_sub(1), asked, self.jitter),
        }
    }

    /// The time `wait` from now.
    pub(super) fn later(&self, wait: Duration) -> Timestamp {
        after(self.now, wait)
    }

    /// Records that the run moved from one phase into another, if they differ.
    pub(super) fn pass(&mut self, from: PhaseName, to: PhaseName) {
        if from != to {
            self.changes.push((from, to));
        }
        #[cfg(test)]
        self.shown_in(to);
    }

    /// Attributes the conditions that were set since the last phase to this one.
    #[cfg(test)]
    fn shown_in(&mut self, phase: PhaseName) {
        super::states::witness::see(phase, std::mem::take(&mut self.set));
    }

    /// The finished decision: status, memory, effect, requeue and events.
    pub(super) fn finish(mut self, phase: Phase, next: Next) -> Decision {
        // The status of an ended run is not touched, even if it is too long.
        if self.export.status.as_ref().is_none_or(|status| !is_terminal(status)) {
            self.status.state = phase.word(&self.status);
            // A stored status was fitted before it was written.
            if self.export.status.as_ref() != Some(&self.status) {
                fit(&mut self.status);
            }
        }
        let (effect, requeue) = match next {
            Next::Perform(effect) => (Some(*effect), Requeue::AwaitChange),
            Next::Rest => (None, Requeue::AwaitChange),
            Next::WaitUntil(moment) => (None, Requeue::After(self.wait(moment))),
        };
        #[cfg(test)]
        self.shown_in(phase.name());
        Decision {
            status: self.status,
            memory: Memory { last_look: Some(self.now), phase },
            effect,
            requeue,
            notes: self.notes,
            changes: self.changes,
        }
    }

    fn wait(&self, moment: Timestamp) -> Duration {
        Duration::try_from(moment.duration_since(self.now)).unwrap_or_default().max(MIN_WAIT)
    }
}
