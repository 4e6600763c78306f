//! The laws of schedules: which runs they create, and that each run is reported, followed and counted.
//! `chains` has the laws of what incremental runs cover and of deletions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir_export_operator::api::{
    ActiveRun, ConcurrencyPolicy, ConditionType, FhirExport, FhirExportSchedule, FhirExportScheduleStatus,
    Reason, SLOT_ANNOTATION,
};
use fhir_export_operator::cluster::stores::{Key, owner_of};
use fhir_export_operator::core::condition::find;
use fhir_export_operator::core::effect::Note;
use fhir_export_operator::core::export::is_terminal;
use jiff::Timestamp;
use kube::ResourceExt;

use super::MAX_STATUS;
use crate::fhir::SENTINEL;
use crate::laws::Law;
use crate::plan::JobPlan;
use crate::state::State;

/// How long the operator may take to create a run that is due, in seconds. It looks at least every 300 s.
const PROMPT: i64 = 420;

/// What the laws know of a schedule, even after it was deleted.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The number of the schedule in the plan.
    number: usize,
    /// The runs that the status ever listed as active, with their times.
    recorded: BTreeMap<String, Timestamp>,
    /// How often an export of each name was created.
    made: BTreeMap<String, u32>,
    /// The exports of the runs as they were created, by uid.
    pub(super) runs: BTreeMap<String, Arc<FhirExport>>,
    /// Whether the status was lost at some time.
    pub(super) forgets: bool,
    /// All values that `incremental.overlapSeconds` had.
    pub(super) overlaps: BTreeSet<i64>,
    /// All history limits that the spec had, of successful and of failed runs, and since when, in microseconds.
    pub(super) limits: Vec<(i64, (i32, i32))>,
    /// Whether the policy ever was Replace.
    pub(super) replaces: bool,
}

/// What the laws know of all schedules.
#[derive(Debug, Default)]
pub struct Books {
    /// The schedules, by uid.
    pub(super) schedules: BTreeMap<String, Book>,
    /// The number of jobs that the runs of each schedule of the plan began.
    jobs: BTreeMap<usize, usize>,
}

/// The policy for runs that are due while another one is running.
fn policy(schedule: &FhirExportSchedule) -> ConcurrencyPolicy {
    schedule.spec.concurrency_policy.unwrap_or_default()
}

/// The minutes between two times of a schedule.
fn minutes(schedule: &FhirExportSchedule) -> i64 {
    let line = schedule.spec.schedule.strip_prefix("*/").and_then(|line| line.split(' ').next());
    line.and_then(|minutes| minutes.parse().ok()).unwrap_or(60)
}

/// The instant up to which a status has handled the times of its schedule.
fn handled(status: &FhirExportScheduleStatus) -> Option<Timestamp> {
    status.last_schedule_time.max(status.last_skipped.as_ref().map(|skipped| skipped.time))
}

/// Whether a status holds no decision, because it is new or was lost.
pub(super) fn is_blank(status: &FhirExportScheduleStatus) -> bool {
    status.observed_generation.is_none()
}

/// The status of a schedule.
pub(super) fn status_of(schedule: &FhirExportSchedule) -> FhirExportScheduleStatus {
    schedule.status.clone().unwrap_or_default()
}

impl State {
    /// Records that a schedule was created.
    pub fn schedule_made(&mut self, made: &FhirExportSchedule, number: usize) {
        let book = Book { number, ..Book::default() };
        self.laws.books.schedules.insert(made.uid().unwrap_or_default(), book);
        self.tally.schedules += 1;
        self.note_spec(made);
    }

    /// Records that somebody edited a schedule.
    pub fn schedule_edited(&mut self, at: &Key) {
        if let Some(schedule) = self.api.schedules.objects.get(at).cloned() {
            self.note_spec(&schedule);
        }
    }

    fn note_spec(&mut self, schedule: &FhirExportSchedule) {
        let now = self.time.now;
        let Some(book) = self.laws.books.schedules.get_mut(&schedule.uid().unwrap_or_default()) else {
            return;
        };
        let spec = &schedule.spec;
        book.overlaps.extend(spec.incremental.as_ref().and_then(|incremental| incremental.overlap_seconds));
        let limits =
            (spec.successful_runs_history_limit.unwrap_or(3), spec.failed_runs_history_limit.unwrap_or(1));
        book.limits.push((now, limits));
        book.replaces |= policy(schedule) == ConcurrencyPolicy::Replace;
    }

    /// Records that the status of a schedule was lost.
    pub fn schedule_forgets(&mut self, number: usize) {
        for book in self.laws.books.schedules.values_mut().filter(|book| book.number == number) {
            book.forgets = true;
        }
    }

    /// The plan of the next job of a schedule's runs.
    pub(super) fn next_job(&mut self, number: usize) -> Option<JobPlan> {
        let nth = self.laws.books.jobs.entry(number).or_default();
        let jobs = &self.plan.schedules.get(number)?.jobs;
        let job = jobs.get(*nth % jobs.len().max(1)).cloned();
        *nth += 1;
        job
    }

    /// Records that the operator publishes an event about a schedule.
    pub fn told_of_schedule(&mut self, about: &FhirExportSchedule, note: &Note) {
        self.tell(91, || format!("event about {}: {}: {}", about.name_any(), note.reason, note.message));
        self.check_note(note);
    }

    /// Checks an export before the operator creates it.
    pub fn check_creation(&mut self, export: &FhirExport) {
        const RULE: &str = "a run is recorded before it is created";
        let uid = owner_of(export).map(|owner| owner.uid.clone()).unwrap_or_default();
        let (name, acting) = (export.name_any(), self.laws.acting.clone());
        let Some(book) = self.laws.books.schedules.get(&uid).filter(|_| acting.uid == uid) else {
            let text = format!("{name} is of {uid}, and a look at {} makes it", acting.uid);
            self.broken(Law::SlotBeforeRun, "a look makes the runs of its own schedule", text);
            return;
        };
        let slot = export.annotations().get(SLOT_ANNOTATION).and_then(|slot| slot.parse().ok());
        if slot.is_none() || book.recorded.get(&name).copied() != slot {
            self.broken(Law::SlotBeforeRun, RULE, format!("{name} of {slot:?}"));
            return;
        }
        let late = self.is_late(acting.process);
        let Some(stored) = self.schedule(&uid).filter(|stored| !late && !is_blank(&status_of(stored))) else {
            return;
        };
        let status = status_of(&stored);
        if !status.active.iter().any(|run| run.name == name) {
            self.broken(Law::SlotBeforeRun, RULE, format!("{name} is not active"));
        }
        self.check_since(&uid, &status, export);
    }

    /// Records that the export of a run was created.
    pub fn run_made(&mut self, export: &Arc<FhirExport>) {
        let Some(owner) = owner_of(export).map(|owner| owner.uid.clone()) else { return };
        let name = export.name_any();
        self.tell(92, || {
            format!("{name} is made, since {:?}, labels {:?}", export.spec.request.since, export.labels())
        });
        if self.schedule(&owner).is_none() {
            self.collect_later();
        }
        let Some(book) = self.laws.books.schedules.get_mut(&owner) else { return };
        let number = book.number;
        book.runs.insert(export.uid().unwrap_or_default(), Arc::clone(export));
        let times = book.made.entry(name.clone()).or_default();
        *times += 1;
        let twice = *times > 1 && !book.forgets;
        self.tally.runs += 1;
        self.made(export, Some(number));
        if twice {
            self.broken(Law::SlotBeforeRun, "no run is made twice", name);
        }
    }

    /// Checks the status of a schedule before it is replaced.
    pub fn check_schedule_write(&mut self, before: &FhirExportSchedule, status: &FhirExportScheduleStatus) {
        let (name, old) = (before.name_any(), status_of(before));
        self.tell(93, || {
            let active: Vec<&str> = status.active.iter().map(|run| run.name.as_str()).collect();
            let covered = status.chain.as_ref().and_then(|chain| chain.covered_until.as_deref());
            format!("status of {name}: active {active:?}, covered {covered:?}, handled {:?}", handled(status))
        });
        let text = serde_json::to_string(status).unwrap_or_default();
        if text.len() >= MAX_STATUS {
            self.broken(Law::StatusSmall, "a status is small", format!("{name}: {} bytes", text.len()));
        }
        if text.contains(SENTINEL) {
            self.broken(Law::TokenStays, "no secret and no patient is shown", format!("{name}: {text}"));
        }
        if !is_blank(&old) {
            self.check_slots(&name, &old, status);
            self.check_begun(before, &old, status);
            self.check_followed(before, &old, status);
        }
        self.check_covered(before, &old, status);
        if let Some(book) = self.laws.books.schedules.get_mut(&before.uid().unwrap_or_default()) {
            book.recorded.extend(status.active.iter().map(|run| (run.name.clone(), run.slot_time)));
        }
    }

    /// Checks that each time of the schedule gets a run or is reported as skipped.
    fn check_slots(&mut self, name: &str, old: &FhirExportScheduleStatus, status: &FhirExportScheduleStatus) {
        let (was, is) = (handled(old), handled(status));
        if is < was {
            let text = format!("{name}: {was:?} to {is:?}");
            self.broken(Law::SlotBeforeRun, "no time of a schedule comes again", text);
        }
        let told = status.last_skipped.as_ref().map(|skipped| skipped.time) == is;
        let begun = |run: &ActiveRun| Some(run.slot_time) == is && !old.active.contains(run);
        if is > was && !told && !status.active.iter().any(begun) {
            let text = format!("{name}: {is:?} of {:?}", status.active);
            self.broken(
                Law::SlotBeforeRun,
                "each time of a schedule has its run or is told as skipped",
                text,
            );
        }
    }

    /// Checks that a run that begins is new and permitted, and that no other runs beside it unless the policy
    /// is Allow.
    fn check_begun(
        &mut self,
        before: &FhirExportSchedule,
        old: &FhirExportScheduleStatus,
        status: &FhirExportScheduleStatus,
    ) {
        let uid = before.uid().unwrap_or_default();
        let Some(book) = self.laws.books.schedules.get(&uid) else { return };
        let mut wrong = Vec::new();
        let known = |run: &&ActiveRun| !old.active.iter().any(|other| other.name == run.name);
        for run in status.active.iter().filter(known) {
            let name = &run.name;
            if book.recorded.contains_key(name) && !book.forgets {
                wrong.push(("no time of a schedule is started twice", name.clone()));
            }
            let by_hand = name.contains("-manual-");
            if before.spec.suspend == Some(true) && !by_hand {
                wrong.push(("a schedule that is suspended makes no run by the clock", name.clone()));
            }
            let slot = format!("{}-{}", before.name_any(), run.slot_time.strftime("%Y%m%d-%H%M"));
            if !by_hand && *name != slot {
                wrong.push(("the name of a run follows from its time", name.clone()));
            }
            if policy(before) == ConcurrencyPolicy::Allow {
                continue;
            }
            let beside = self.api.exports.objects.values().find(|other| {
                owner_of(other).is_some_and(|owner| owner.uid == uid)
                    && other.name_any() != *name
                    && other.metadata.deletion_timestamp.is_none()
                    && !other.status.as_ref().is_some_and(is_terminal)
            });
            if let Some(beside) = beside {
                let text = format!("{name} begins, and {} goes on", beside.name_any());
                wrong.push(("two runs go on at once only if the policy is Allow", text));
            }
        }
        for (rule, text) in wrong {
            self.broken(Law::SlotBeforeRun, rule, text);
        }
    }

    /// Checks that a recorded run is followed until it has ended, is deleted, or is reported as not created.
    fn check_followed(
        &mut self,
        before: &FhirExportSchedule,
        old: &FhirExportScheduleStatus,
        status: &FhirExportScheduleStatus,
    ) {
        let Some(book) = self.laws.books.schedules.get(&before.uid().unwrap_or_default()) else { return };
        let last = find(&status.conditions, ConditionType::LastRunSucceeded);
        let given_up =
            last.is_some_and(|c| c.because(Reason::RequestChanged) || c.because(Reason::AdoptionRefused));
        let mut dropped = Vec::new();
        for run in old.active.iter().filter(|run| !status.active.iter().any(|other| other.name == run.name)) {
            let by_name =
                || book.runs.iter().rev().find(|(_, made)| made.name_any() == run.name).map(|(uid, _)| uid);
            let Some(uid) = run.uid.as_ref().or_else(by_name) else {
                // The status names the last time that was skipped: a later one may have been skipped in the same
                // decision.
                let newly = status.last_skipped != old.last_skipped;
                let told = status.last_skipped.as_ref().is_some_and(|skipped| {
                    skipped.time == run.slot_time || newly && skipped.time > run.slot_time
                });
                if !told && !given_up {
                    dropped.push((run.name.clone(), "not made"));
                }
                continue;
            };
            let record = self.laws.records.get(uid);
            let over = record.is_none_or(|record| record.gone || is_terminal(&record.status));
            let deleting =
                self.stored(uid).is_some_and(|export| export.metadata.deletion_timestamp.is_some());
            if !over && !deleting {
                dropped.push((run.name.clone(), "going on"));
            }
        }
        for (name, state) in dropped {
            let text = format!("{name} is {state}");
            self.broken(Law::SlotBeforeRun, "a run that was recorded is followed to its end", text);
        }
    }

    /// For how many seconds schedules go on after everything was repaired.
    pub fn goes_on_for(&self) -> i64 {
        let longest = self.api.schedules.objects.values().map(|schedule| minutes(schedule)).max();
        longest.unwrap_or(0) * 2 * 60 + PROMPT
    }

    /// Checks that each schedule has handled its last time after nothing has hindered it for some time.
    pub fn check_kept_up(&mut self) {
        let now = self.time.shifted(self.skew).as_second() - PROMPT;
        let mut late = Vec::new();
        for schedule in self.api.schedules.objects.values() {
            let period = minutes(schedule) * 60;
            let due = Timestamp::from_second(now - now.rem_euclid(period)).unwrap_or_default();
            let made = schedule.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let waits = schedule.metadata.deletion_timestamp.is_some() || made > Some(due);
            let done = handled(&status_of(schedule));
            if !waits && done < Some(due) {
                late.push(format!("{} was due at {due}, last {done:?}", schedule.name_any()));
            }
        }
        for text in late {
            self.broken(Law::Liveness, "a schedule that nothing hinders makes its runs", text);
        }
    }

    /// Whether no schedule waits for a run or for its own deletion.
    pub(super) fn schedules_ended(&self) -> bool {
        let rests = |schedule: &FhirExportSchedule| {
            let settled = |status: &FhirExportScheduleStatus| {
                status.active.is_empty() && status.observed_generation == schedule.metadata.generation
            };
            schedule.status.as_ref().is_some_and(settled)
        };
        self.api.schedules.objects.values().all(|schedule| rests(schedule)) && self.is_collected()
    }

    /// Reports what schedules wait for at the end.
    pub(super) fn check_schedules_ended(&mut self) {
        if self.schedules_ended() {
            return;
        }
        let all = self.api.schedules.objects.values();
        let texts: Vec<String> = all
            .map(|schedule| format!("{}: {:?}", schedule.name_any(), status_of(schedule).active))
            .collect();
        self.broken(Law::Liveness, "schedules and their deletions come to rest", texts.join("; "));
    }

    /// A schedule as the API server has it, by uid.
    pub(super) fn schedule(&self, uid: &str) -> Option<Arc<FhirExportSchedule>> {
        let mut all = self.api.schedules.objects.values();
        all.find(|schedule| schedule.metadata.uid.as_deref() == Some(uid)).cloned()
    }
}
