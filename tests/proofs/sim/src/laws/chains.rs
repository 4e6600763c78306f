//! The laws `chain-moves-with-pending`, that what incremental runs cover has no gap, and
//! `absorb-before-delete`, that a schedule deletes only runs that it has taken into account and does not have
//! to keep.

use fhir_export_operator::api::{
    CHAIN_LABEL, ConditionStatus, ConditionType, ExportRequest, FhirExport, FhirExportSchedule,
    FhirExportScheduleStatus, Reason,
};
use fhir_export_operator::cluster::stores::owner_of;
use fhir_export_operator::core::condition::{find, is_true};
use fhir_export_operator::core::export::is_terminal;
use jiff::Timestamp;
use kube::ResourceExt;

use super::Record;
use super::schedules::{Book, is_blank, status_of};
use crate::laws::Law;
use crate::plan::EventKind;
use crate::state::State;
use crate::time::SECOND;

/// How old the limits and objects may be that a decision was made on, in microseconds.
const STALE: i64 = 300 * SECOND;

fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The instant up to which the data of a run is complete, if nothing about the run is in doubt.
pub(super) fn good(record: &Record) -> Option<Timestamp> {
    let conditions = &record.status.conditions;
    let complete = find(conditions, ConditionType::Complete)?;
    let doubted =
        find(conditions, ConditionType::Verified).is_some_and(|c| c.status == ConditionStatus::False);
    let sound = complete.is_true() && complete.because(Reason::Exported) && !doubted;
    record.status.transaction_time.as_deref().filter(|_| sound).and_then(instant)
}

/// The request of a run without the instant that it begins at.
fn whole(export: &FhirExport) -> ExportRequest {
    ExportRequest { since: None, ..export.spec.request.clone() }
}

/// The chain that a run belongs to.
fn chain_of(export: &FhirExport) -> Option<&String> {
    export.labels().get(CHAIN_LABEL)
}

impl State {
    /// Checks that a run that continues the chain begins where the last complete one ended, or earlier by an
    /// overlap that the spec had.
    pub(super) fn check_since(&mut self, uid: &str, status: &FhirExportScheduleStatus, export: &FhirExport) {
        let Some(chain) = &status.chain else { return };
        let Some(since) = &export.spec.request.since else { return };
        let continues = chain.id.is_some() && chain_of(export) == chain.id.as_ref();
        let covered = chain.covered_until.as_deref().and_then(instant).filter(|_| continues);
        let overlaps =
            self.laws.books.schedules.get(uid).map(|book| book.overlaps.clone()).unwrap_or_default();
        let right = instant(since).zip(covered).is_some_and(|(since, covered)| {
            overlaps
                .iter()
                .any(|seconds| since.as_microsecond() == covered.as_microsecond() - seconds * SECOND)
        });
        if !right {
            let text = format!("{} since {since}, covered {:?}", export.name_any(), chain.covered_until);
            self.broken(
                Law::ChainMovesWithPending,
                "each run begins where the last complete one ended",
                text,
            );
        }
    }

    /// Checks that everything up to `coveredUntil` is covered: by a full run, and by runs that each begin
    /// where others ended.
    pub(super) fn check_covered(
        &mut self,
        before: &FhirExportSchedule,
        old: &FhirExportScheduleStatus,
        status: &FhirExportScheduleStatus,
    ) {
        let place = |status: &FhirExportScheduleStatus| {
            status.chain.as_ref().and_then(|chain| Some((chain.id.clone()?, chain.covered_until.clone()?)))
        };
        let Some((id, covered)) = place(status) else { return };
        if place(old).as_ref() == Some(&(id.clone(), covered.clone())) {
            return;
        }
        let Some(book) = self.laws.books.schedules.get(&before.uid().unwrap_or_default()) else { return };
        let name = before.name_any();
        let Some(until) = instant(&covered) else { return };
        if self.reach(book, &id, until).is_none_or(|reach| reach < until) {
            let text = format!("{name}: {covered} of chain {id}");
            self.broken(Law::ChainMovesWithPending, "a chain has no gap", text);
            return;
        }
        if is_blank(old) {
            return;
        }
        let back = place(old).is_some_and(|(before, was)| before == id && instant(&was) > Some(until));
        let awaited = old.chain.as_ref().and_then(|chain| chain.pending.as_ref()).and_then(|pending| {
            let named = |(uid, run): &(&String, &std::sync::Arc<FhirExport>)| {
                pending.uid.as_ref().map_or(run.name_any() == pending.name, |wanted| *uid == wanted)
                    && run.spec.request.since == pending.since
            };
            book.runs.iter().find(named).map(|(uid, _)| uid)
        });
        let moved_by = awaited.and_then(|uid| self.laws.records.get(uid)).and_then(good);
        if back || moved_by != Some(until) {
            let text = format!("{name}: {covered}, and the run that it waits for is of {moved_by:?}");
            self.broken(Law::ChainMovesWithPending, "only the pending run moves the chain", text);
        }
    }

    /// How far the sound runs of a chain reach without a gap, counting runs with the same request as the one
    /// of this instant.
    fn reach(&self, book: &Book, id: &str, until: Timestamp) -> Option<Timestamp> {
        let runs = book.runs.iter().filter(|(_, run)| chain_of(run).is_some_and(|chain| chain == id));
        let mut sound: Vec<(Timestamp, &FhirExport)> =
            runs.filter_map(|(uid, run)| Some((good(self.laws.records.get(uid)?)?, run.as_ref()))).collect();
        sound.sort_by_key(|(time, _)| *time);
        let (_, last) = sound.iter().find(|(time, _)| *time == until)?;
        let wanted = whole(last);
        let mut reach = None;
        for (time, run) in sound.iter().filter(|(_, run)| whole(run) == wanted) {
            let joins = match run.spec.request.since.as_deref() {
                None => true,
                Some(since) => instant(since).is_some_and(|since| reach >= Some(since)),
            };
            if joins {
                reach = reach.max(Some(*time));
            }
        }
        reach
    }

    /// Checks a deletion before the operator sends it. A schedule may delete its own run if the run is being
    /// replaced, or if its result is in the status and it does not have to be kept.
    pub fn check_run_deletion(&mut self, export: &FhirExport) {
        let acting = self.laws.acting.clone();
        let Some(book) = self.laws.books.schedules.get(&acting.uid) else { return };
        let (name, uid) = (export.name_any(), export.uid().unwrap_or_default());
        let replaces = book.replaces;
        self.tell(95, || format!("a schedule deletes {name}"));
        if owner_of(export).is_none_or(|owner| owner.uid != acting.uid) {
            self.broken(Law::AbsorbBeforeDelete, "a schedule deletes only its own runs", name);
            return;
        }
        if !export.status.as_ref().is_some_and(is_terminal) {
            if !replaces {
                let rule = "a run that goes on is deleted only if a newer one replaces it";
                self.broken(Law::AbsorbBeforeDelete, rule, name);
            }
            return;
        }
        let schedule = self.schedule(&acting.uid).filter(|_| !self.is_late(acting.process));
        let Some(schedule) = schedule else { return };
        let status = status_of(&schedule);
        let awaited = status.active.iter().any(|run| run.name == name);
        let moved = self.laws.records.get(&uid).and_then(good).is_none_or(|time| {
            let chain = status.chain.as_ref().filter(|chain| chain.id.as_ref() == chain_of(export));
            let covered = chain.and_then(|chain| instant(chain.covered_until.as_deref()?));
            covered.is_none_or(|covered| covered >= time) || self.is_elsewhere()
        });
        if awaited || is_blank(&status) || !moved {
            let rule = "a run is deleted when its result is in the status";
            self.broken(Law::AbsorbBeforeDelete, rule, format!("{name}: active {awaited}, chain {moved}"));
        }
        if !self.is_surplus(&schedule, export) && !self.is_outlived(&schedule, export) {
            self.broken(Law::AbsorbBeforeDelete, "a run that is kept is not deleted", name);
        }
    }

    /// Whether a server may have been replaced by another one, so that a run does not count for it.
    fn is_elsewhere(&self) -> bool {
        self.plan.events.iter().any(|event| matches!(event.kind, EventKind::DeleteServer(_)))
    }

    /// Whether the spec allows the run to go: enough newer runs with the same outcome exist, or existed
    /// shortly before.
    fn is_surplus(&self, schedule: &FhirExportSchedule, export: &FhirExport) -> bool {
        let Some(book) = self.laws.books.schedules.get(&schedule.uid().unwrap_or_default()) else {
            return true;
        };
        let now = self.time.now;
        let ended = |record: &Record| record.status.completion_time.zip(Some(record.name.clone()));
        let succeeded = |record: &Record| is_true(&record.status.conditions, ConditionType::Complete);
        let Some(own) = self.laws.records.get(&export.uid().unwrap_or_default()) else { return true };
        let newer = book.runs.keys().filter_map(|uid| self.laws.records.get(uid)).filter(|other| {
            let there = !other.gone || other.gone_at > now - STALE;
            there && succeeded(other) == succeeded(own) && ended(other) > ended(own)
        });
        let of = |limits: (i32, i32)| if succeeded(own) { limits.0 } else { limits.1 };
        // Both the current limits and those of shortly before count.
        let last = book.limits.last().map(|(_, limits)| of(*limits));
        let stale = book.limits.iter().rev().find(|(time, _)| *time <= now - STALE);
        let recent = book.limits.iter().filter(|(time, _)| *time > now - STALE);
        let least = recent.chain(stale).map(|(_, limits)| of(*limits)).chain(last).min();
        i32::try_from(newer.count()).unwrap_or(i32::MAX) >= least.unwrap_or(0)
    }

    /// Whether the run's time to live is over, by clocks that may be wrong by as much as they ever jump.
    fn is_outlived(&self, schedule: &FhirExportSchedule, export: &FhirExport) -> bool {
        let jumps = self.plan.events.iter().any(|event| matches!(event.kind, EventKind::ClockJumps(_)));
        let wrong = if jumps { 5000 } else { 5 };
        let ended = export.status.as_ref().and_then(|status| status.completion_time);
        let lives = schedule.spec.template.spec.ttl_seconds_after_finished;
        let now = self.time.shifted(self.skew).as_second();
        ended.zip(lives).is_some_and(|(ended, lives)| ended.as_second() + lives <= now + wrong)
    }
}
