//! Schedules in the API server: what people and the operator do to them, and the garbage collector, which
//! deletes the runs of schedules that are gone.

use std::sync::Arc;

use fhir_export_operator::api::{
    ConcurrencyPolicy, FhirExport, FhirExportSchedule, FhirExportScheduleStatus, RUN_NOW_ANNOTATION,
};
use fhir_export_operator::cluster::stores::{Key, key, owner_of};
use fhir_export_operator::ports::{ClusterFailure, Creation};
use kube::ResourceExt;
use serde_json::json;

use crate::laws::Law;
use crate::plan::{Propagation, ScheduleEdit, ScheduleEvent};
use crate::scheduler::{Happening, NAMESPACE};
use crate::state::State;
use crate::time::{Due, SECOND};

/// The finalizers that the API server sets for deletions that are not in the background.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The namespace and name of a schedule of the plan.
pub fn schedule_key(number: usize) -> Key {
    (NAMESPACE.to_owned(), format!("n{number}"))
}

/// The cron line for each hour at the minutes that `every` divides.
fn cron(every: i64) -> String {
    format!("*/{every} * * * *")
}

impl State {
    /// Creates a schedule, unless its name is taken.
    pub fn create_schedule(&mut self, number: usize) {
        let Some(plan) = self.plan.schedules.get(number).cloned() else { return };
        let (namespace, name) = schedule_key(number);
        let (server_namespace, server) = self.server_key(plan.server);
        let mut spec = plan.spec;
        if let Some(members) = spec.as_object_mut() {
            members.insert("schedule".into(), cron(plan.every).into());
        }
        if let Some(template) = spec.pointer_mut("/template/spec").and_then(|spec| spec.as_object_mut()) {
            template.insert("serverRef".into(), json!({"name": server, "namespace": server_namespace}));
        }
        let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let Ok(object) = serde_json::from_value::<FhirExportSchedule>(object) else {
            self.broken(
                Law::Simulation,
                "the simulation goes on",
                "a FhirExportSchedule that cannot be read",
            );
            return;
        };
        let now = self.time.stamp();
        if self.api.create(object, now)
            && let Some(made) = self.api.schedules.objects.get(&schedule_key(number)).cloned()
        {
            self.tell(90, || {
                format!("n{number} is made: {}", serde_json::to_string(&made.spec).unwrap_or_default())
            });
            self.schedule_made(&made, number);
        }
    }

    /// The operator writes the status of a schedule.
    pub fn write_schedule_status(
        &mut self,
        read: &FhirExportSchedule,
        status: &FhirExportScheduleStatus,
    ) -> Result<FhirExportSchedule, ClusterFailure> {
        let before = self.api.current(read)?;
        if before.status.as_ref() == Some(status) {
            return Ok(FhirExportSchedule::clone(&before));
        }
        self.check_schedule_write(&before, status);
        let mut object = FhirExportSchedule::clone(&before);
        object.status = Some(status.clone());
        Ok(FhirExportSchedule::clone(&self.api.put(object)))
    }

    /// The operator creates an export.
    pub fn make_export(&mut self, export: &FhirExport) -> Creation {
        let (at, now) = (key(export), self.time.stamp());
        self.check_creation(export);
        let made = self.api.create(export.clone(), now);
        let there = self.api.exports.objects.get(&at).cloned();
        match there {
            Some(there) if made => {
                self.run_made(&there);
                Creation::Made(Box::new(FhirExport::clone(&there)))
            }
            Some(there) => Creation::Exists(Box::new(FhirExport::clone(&there))),
            None => Creation::Refused("the namespace is being terminated".to_owned()),
        }
    }

    /// Somebody does something to a schedule or its runs.
    pub(super) fn befall_schedule(&mut self, number: usize, what: ScheduleEvent) {
        let at = schedule_key(number);
        match what {
            ScheduleEvent::Suspend(on) => self.edit_schedule(number, |s| s.spec.suspend = Some(on)),
            ScheduleEvent::RunNow(token, full) => {
                let token = format!("{}{token}", if full { "full-" } else { "" });
                self.api.edit::<FhirExportSchedule>(&at, false, |s| {
                    s.annotations_mut().insert(RUN_NOW_ANNOTATION.to_owned(), token);
                });
            }
            ScheduleEvent::Edit(edit) => self.edit_schedule(number, |schedule| apply(schedule, edit)),
            ScheduleEvent::DeleteRun(nth) => {
                if let Some(run) = self.runs_of(number).into_iter().nth(nth) {
                    self.delete_export_object(&key(run.as_ref()));
                }
            }
            ScheduleEvent::CancelRun => {
                if let Some(run) = self.runs_of(number).into_iter().next() {
                    self.api.edit::<FhirExport>(&key(run.as_ref()), true, |e| e.spec.cancel = Some(true));
                }
            }
            ScheduleEvent::LoseStatus => {
                self.api.edit::<FhirExportSchedule>(&at, false, |schedule| schedule.status = None);
                self.schedule_forgets(number);
            }
            ScheduleEvent::Foreign => self.foreign_export(number),
            ScheduleEvent::Delete(propagation) => self.delete_schedule(number, propagation),
            ScheduleEvent::CreateAgain => self.create_schedule(number),
        }
    }

    pub(super) fn edit_schedule(&mut self, number: usize, change: impl FnOnce(&mut FhirExportSchedule)) {
        let at = schedule_key(number);
        self.api.edit::<FhirExportSchedule>(&at, true, change);
        self.schedule_edited(&at);
    }

    /// The exports of a schedule's runs, the newest first.
    fn runs_of(&self, number: usize) -> Vec<Arc<FhirExport>> {
        let schedule = self.api.schedules.objects.get(&schedule_key(number));
        let Some(uid) = schedule.and_then(|schedule| schedule.uid()) else { return Vec::new() };
        let own = |export: &&Arc<FhirExport>| owner_of(export).is_some_and(|owner| owner.uid == uid);
        let mut runs: Vec<Arc<FhirExport>> = self.api.exports.objects.values().filter(own).cloned().collect();
        runs.sort_by_cached_key(|run| std::cmp::Reverse(run.uid()));
        runs
    }

    /// Somebody creates an export of their own under the name that the next run will have.
    fn foreign_export(&mut self, number: usize) {
        let Some(schedule) = self.api.schedules.objects.get(&schedule_key(number)).cloned() else { return };
        let next = schedule.status.as_ref().and_then(|status| status.next_schedule_time);
        let Some(next) = next else { return };
        let template = &schedule.spec.template.spec;
        let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": {"name": format!("n{number}-{}", next.strftime("%Y%m%d-%H%M")), "namespace": NAMESPACE},
            "spec": {"serverRef": template.server_ref, "request": template.request, "activeDeadlineSeconds": 900}});
        let Ok(object) = serde_json::from_value::<FhirExport>(object) else { return };
        let (at, now) = (key(&object), self.time.stamp());
        if self.api.create(object, now)
            && let Some(made) = self.api.exports.objects.get(&at).cloned()
        {
            self.tell(61, || format!("{} is made by somebody", at.1));
            self.made(&made, None);
        }
    }

    /// Deletes a schedule.
    pub(super) fn delete_schedule(&mut self, number: usize, propagation: Propagation) {
        let at = schedule_key(number);
        let finalizer = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Orphan => Some(ORPHAN),
        };
        if let Some(finalizer) = finalizer {
            self.api.edit::<FhirExportSchedule>(&at, false, |schedule| {
                schedule.finalizers_mut().push(finalizer.to_owned());
            });
        }
        let now = self.time.stamp();
        self.api.delete::<FhirExportSchedule>(&at, now);
        self.collect_later();
    }

    /// Lets the garbage collector look a little later.
    pub(super) fn collect_later(&mut self) {
        let (wait, tie) = (self.chance.between(0, 20 * SECOND), self.chance.draw());
        self.time.after(wait, tie, Due::Happens(Happening::Collect));
    }

    /// The garbage collector deletes exports whose schedule is gone or waits for them, and releases those
    /// that are to stay.
    pub(super) fn collect(&mut self) {
        let ends = |schedule: &FhirExportSchedule, finalizer: &str| {
            schedule.metadata.deletion_timestamp.is_some()
                && schedule.finalizers().iter().any(|f| f == finalizer)
        };
        let exports: Vec<Arc<FhirExport>> = self.api.exports.objects.values().cloned().collect();
        for export in exports {
            let Some(owner) = owner_of(&export) else { continue };
            let of = |schedule: &&Arc<FhirExportSchedule>| schedule.uid().as_ref() == Some(&owner.uid);
            let schedule = self.api.schedules.objects.values().find(of).cloned();
            let at = key(export.as_ref());
            match schedule {
                Some(schedule) if ends(&schedule, ORPHAN) => {
                    self.api.edit::<FhirExport>(&at, false, |e| e.metadata.owner_references = None);
                }
                Some(schedule) if !ends(&schedule, FOREGROUND) => {}
                Some(_) | None => self.delete_export_object(&at),
            }
        }
        let schedules: Vec<Arc<FhirExportSchedule>> = self.api.schedules.objects.values().cloned().collect();
        let mut waits = false;
        for schedule in schedules.into_iter().filter(|s| s.metadata.deletion_timestamp.is_some()) {
            let uid = schedule.uid().unwrap_or_default();
            let mut exports = self.api.exports.objects.values();
            if exports.any(|export| owner_of(export).is_some_and(|owner| owner.uid == uid)) {
                waits = true;
                continue;
            }
            for finalizer in [FOREGROUND, ORPHAN] {
                let read = self.api.schedules.objects.get(&key(schedule.as_ref())).cloned();
                if let Some(read) = read {
                    drop(self.api.set_finalizer(read.as_ref(), finalizer, false));
                }
            }
        }
        if waits {
            self.collect_later();
        }
    }

    /// Whether the garbage collector has nothing left to do.
    pub(super) fn is_collected(&self) -> bool {
        let gone = |uid: &str| {
            !self.api.schedules.objects.values().any(|schedule| schedule.metadata.uid.as_deref() == Some(uid))
        };
        let waits = |schedule: &FhirExportSchedule| schedule.metadata.deletion_timestamp.is_some();
        !self.api.schedules.objects.values().any(|schedule| waits(schedule))
            && !self.api.exports.objects.values().any(|e| owner_of(e).is_some_and(|owner| gone(&owner.uid)))
    }
}

/// Applies an edit, as far as the schema admits it.
fn apply(schedule: &mut FhirExportSchedule, edit: ScheduleEdit) {
    let spec = &mut schedule.spec;
    match edit {
        ScheduleEdit::Every(minutes) => spec.schedule = cron(minutes),
        ScheduleEdit::Policy(ConcurrencyPolicy::Allow) if spec.incremental.is_some() => {}
        ScheduleEdit::Policy(policy) => spec.concurrency_policy = Some(policy),
        ScheduleEdit::Types(more) => {
            let types: &[&str] = if more { &["Patient", "Observation"] } else { &["Patient"] };
            spec.template.spec.request.types = Some(types.iter().map(|&type_| type_.to_owned()).collect());
        }
        ScheduleEdit::Keep(succeeded, failed) => {
            spec.successful_runs_history_limit = Some(succeeded);
            spec.failed_runs_history_limit = Some(failed);
        }
        ScheduleEdit::Overlap(seconds) => {
            if let Some(incremental) = &mut spec.incremental {
                incremental.overlap_seconds = Some(seconds);
            }
        }
        ScheduleEdit::StartingDeadline(seconds) => spec.starting_deadline_seconds = seconds,
    }
}
