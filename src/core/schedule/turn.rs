//! One decision in the making: the status and the events that will be written.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::decision::{
    ListMembers, Listed, Next, ScheduleDecision, ScheduleFacts, ScheduleInputs, ScheduleObservation,
};
use super::names::{names_before, owned_by};
use super::run::has_ended;
use crate::api::{
    ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirExportScheduleSpec,
    FhirExportScheduleStatus, PendingRun, Reason, SkippedRun,
};
use crate::core::condition;
use crate::core::effect::{Note, NoteType, Requeue};
use crate::core::words;

/// The longest message of an event, in bytes; the API server refuses longer ones.
const MAX_NOTE: usize = 1024;
/// The shortest wait between two decisions, so that no error makes the operator loop without pause.
const MIN_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two decisions. No run is later than this after the clock is set.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Default of `incremental.overlapSeconds`.
const OVERLAP: i64 = 300;

/// One decision in the making.
pub(super) struct Turn<'a> {
    pub(super) schedule: &'a FhirExportSchedule,
    pub(super) status: FhirExportScheduleStatus,
    pub(super) facts: &'a ScheduleFacts,
    pub(super) now: Timestamp,
    /// Whether a run could not continue just now, so that the schedule waits before it tries again.
    pub(super) held_up: bool,
    /// What was just observed of a listing of members.
    pub(super) reading: Reading,
    notes: Vec<Note>,
}

/// What the last observation says about a listing of members.
#[derive(Clone, Debug, Default)]
pub(super) enum Reading {
    /// The observation was not about a listing.
    #[default]
    NotAsked,
    /// The files are still being read.
    Running,
    /// The lists are stored, and have still to be taken in.
    Done(ListMembers, Listed),
}

impl<'a> Turn<'a> {
    /// Starts from the schedule's present status. Also returns the result of the last effect.
    pub(super) fn new(inputs: ScheduleInputs<'a>) -> (Self, Option<ScheduleObservation>) {
        let ScheduleInputs { schedule, facts, seen, now } = inputs;
        let status = schedule.status.clone().unwrap_or_default();
        let reading = Reading::NotAsked;
        (Self { schedule, status, facts, now, held_up: false, reading, notes: Vec::new() }, seen)
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

    pub(super) fn suspended(&self) -> bool {
        self.spec().suspend == Some(true)
    }

    /// How many seconds an incremental run reaches back before the covered instant.
    pub(super) fn overlap_seconds(&self) -> i64 {
        self.spec().incremental.as_ref().and_then(|i| i.overlap_seconds).unwrap_or(OVERLAP)
    }

    /// Whether the status records no decision: the schedule is new, or its status was lost.
    pub(super) fn never_seen(&self) -> bool {
        self.status.observed_generation.is_none_or(|generation| generation < 0)
    }

    /// The exports that this schedule owns.
    pub(super) fn children(&self) -> impl Iterator<Item = &'a Arc<FhirExport>> + use<'a> {
        let uid = self.uid();
        self.facts.children.iter().filter(move |child| owned_by(child, &uid))
    }

    /// The export of this name, if the schedule owns one.
    pub(super) fn child(&self, name: &str) -> Option<&'a Arc<FhirExport>> {
        self.children().find(|child| child.name_any() == name)
    }

    /// The exports that precede an export in its run and have ended, in their order.
    pub(super) fn ended_before(&self, export: &str) -> Vec<Arc<FhirExport>> {
        names_before(export)
            .filter_map(|name| self.child(&name).filter(|child| has_ended(child)).cloned())
            .collect()
    }

    /// What the chain waits for, if it waits for this run.
    pub(super) fn pending(&self, run: &str) -> Option<&PendingRun> {
        self.status.chain.as_ref()?.pending.as_ref().filter(|pending| pending.name == run)
    }

    /// What the chain waits for, to be changed, if it waits for this run.
    pub(super) fn pending_mut(&mut self, run: &str) -> Option<&mut PendingRun> {
        self.status.chain.as_mut()?.pending.as_mut().filter(|pending| pending.name == run)
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

    /// Whether a condition has this reason now.
    pub(super) fn because(&self, type_: ConditionType, reason: Reason) -> bool {
        condition::find(&self.status.conditions, type_).is_some_and(|c| c.because(reason))
    }

    /// Publishes an event about the schedule.
    pub(super) fn note(&mut self, type_: NoteType, reason: Reason, action: &'static str, message: &str) {
        self.notes.push(Note { type_, reason, action, message: words::cut(message, MAX_NOTE), folder: None });
    }

    /// Publishes an event about a folder.
    pub(super) fn note_folder(&mut self, type_: NoteType, reason: Reason, folder: String, message: &str) {
        let message = words::cut(message, MAX_NOTE);
        self.notes.push(Note { type_, reason, action: "Retain", message, folder: Some(folder) });
    }

    /// Records that no run is made for this time, and publishes an event that says why.
    pub(super) fn skip(&mut self, slot: Timestamp, reason: Reason, why: &str) {
        self.status.last_skipped = Some(SkippedRun { time: slot, reason: reason.to_string() });
        let type_ = if reason == Reason::Suspended { NoteType::Normal } else { NoteType::Warning };
        self.note(type_, reason, "Skip", &format!("no run for {slot}: {why}"));
    }

    /// Nothing to do until something changes.
    pub(super) fn rest(self) -> ScheduleDecision {
        ScheduleDecision {
            status: self.status,
            effect: None,
            requeue: Requeue::AwaitChange,
            notes: self.notes,
        }
    }

    /// The decision, with what comes next. A wait lasts at most [`MAX_WAIT`].
    pub(super) fn finish(self, next: Next) -> ScheduleDecision {
        match next {
            Next::Perform(effect) => ScheduleDecision { effect: Some(effect), ..self.rest() },
            Next::Wait(moments) => {
                let left = moments.iter().flatten().min().map_or(MAX_WAIT, |moment| {
                    Duration::try_from(moment.duration_since(self.now)).unwrap_or_default()
                });
                let requeue = Requeue::After(left.clamp(MIN_WAIT, MAX_WAIT));
                ScheduleDecision { requeue, ..self.rest() }
            }
        }
    }
}
