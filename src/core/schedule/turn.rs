//! One decision in the making: the status and the events as they will be.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::child::owned_by;
use super::{Effect, Facts, Inputs, Step};
use crate::api::{
    ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirExportScheduleSpec,
    FhirExportScheduleStatus, Reason, SkippedRun,
};
use crate::core::condition;
use crate::core::effect::{Note, NoteType, Requeue};
use crate::core::export::is_terminal;
use crate::core::words;

/// Longest message of an event, in bytes: the API server refuses longer ones.
const MAX_NOTE: usize = 1024;
/// No requeue is shorter than this, so that nothing spins.
const MIN_WAIT: Duration = Duration::from_millis(50);
/// Nor longer than this: a clock that is set anew does not move a wait.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// One decision in the making.
pub(super) struct Turn<'a> {
    pub(super) schedule: &'a FhirExportSchedule,
    pub(super) status: FhirExportScheduleStatus,
    pub(super) facts: &'a Facts,
    pub(super) now: Timestamp,
    /// What is to be done has just failed, and is tried again in a minute.
    pub(super) held_up: bool,
    notes: Vec<Note>,
}

impl<'a> Turn<'a> {
    #[allow(clippy::needless_pass_by_value)] // they are made for this one turn
    pub(super) fn new(inputs: Inputs<'a>) -> Self {
        Self {
            schedule: inputs.schedule,
            status: inputs.schedule.status.clone().unwrap_or_default(),
            facts: inputs.facts,
            now: inputs.now,
            held_up: false,
            notes: Vec::new(),
        }
    }

    pub(super) fn spec(&self) -> &'a FhirExportScheduleSpec {
        &self.schedule.spec
    }

    pub(super) fn name(&self) -> String {
        self.schedule.name_any()
    }

    pub(super) fn uid(&self) -> String {
        self.schedule.uid().unwrap_or_default()
    }

    pub(super) fn deleting(&self) -> bool {
        self.schedule.metadata.deletion_timestamp.is_some()
    }

    /// The object is new, or its status was lost.
    pub(super) fn never_seen(&self) -> bool {
        self.status.observed_generation.is_none_or(|generation| generation < 0)
    }

    /// The schedule's runs that are there.
    pub(super) fn children(&self) -> impl Iterator<Item = &'a Arc<FhirExport>> + use<'a> {
        let uid = self.uid();
        self.facts.children.iter().filter(move |child| owned_by(child, &uid))
    }

    /// A run of this name that is there.
    pub(super) fn child(&self, name: &str) -> Option<&'a Arc<FhirExport>> {
        self.children().find(|child| child.name_any() == name)
    }

    pub(super) fn set(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: &str,
    ) {
        let generation = self.schedule.metadata.generation.unwrap_or(0);
        condition::set(&mut self.status.conditions, type_, status, reason, message, generation, self.now);
    }

    pub(super) fn is_true(&self, type_: ConditionType) -> bool {
        condition::is_true(&self.status.conditions, type_)
    }

    pub(super) fn note(&mut self, type_: NoteType, reason: Reason, action: &'static str, message: &str) {
        self.notes.push(Note { type_, reason, action, message: words::cut(message, MAX_NOTE), folder: None });
    }

    /// What became of a folder.
    pub(super) fn note_folder(&mut self, type_: NoteType, reason: Reason, folder: String, message: &str) {
        let message = words::cut(message, MAX_NOTE);
        self.notes.push(Note { type_, reason, action: "Retain", message, folder: Some(folder) });
    }

    /// No run is made for this time.
    pub(super) fn skip(&mut self, slot: Timestamp, reason: Reason, why: &str) {
        self.status.last_skipped = Some(SkippedRun { time: slot, reason: reason.to_string() });
        let type_ = if reason == Reason::Suspended { NoteType::Normal } else { NoteType::Warning };
        self.note(type_, reason, "Skip", &format!("no run for {slot}: {why}"));
    }

    /// Do this next.
    pub(super) fn perform(self, effect: Effect) -> Step {
        Step { status: self.status, effect: Some(effect), requeue: Requeue::AwaitChange, notes: self.notes }
    }

    /// Nothing to do until something changes.
    pub(super) fn rest(self) -> Step {
        Step { status: self.status, effect: None, requeue: Requeue::AwaitChange, notes: self.notes }
    }

    /// Nothing to do until the earliest of these, or for some minutes.
    pub(super) fn wait_until(self, moments: &[Option<Timestamp>]) -> Step {
        let left = moments.iter().flatten().min().map_or(MAX_WAIT, |moment| {
            Duration::try_from(moment.duration_since(self.now)).unwrap_or_default()
        });
        let requeue = Requeue::After(left.clamp(MIN_WAIT, MAX_WAIT));
        Step { status: self.status, effect: None, requeue, notes: self.notes }
    }
}

/// A time so many seconds later, at the end of time if need be.
pub(super) fn after(start: Timestamp, seconds: i64) -> Timestamp {
    start.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Whether a run has ended, well or not.
pub(super) fn has_ended(child: &FhirExport) -> bool {
    child.status.as_ref().is_some_and(is_terminal)
}

/// Whether it ended well.
pub(super) fn is_complete(child: &FhirExport) -> bool {
    child.status.as_ref().is_some_and(|status| {
        is_terminal(status) && condition::is_true(&status.conditions, ConditionType::Complete)
    })
}
