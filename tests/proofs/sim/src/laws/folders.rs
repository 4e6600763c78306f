//! The law `folder-in-ledger`: retention deletes only folders of the schedule's own runs, and none that must be kept.

use std::sync::Arc;

use fhir_export_operator::api::FhirExport;
use fhir_export_operator::core::export::is_terminal;
use fhir_export_operator::core::ledger::FolderPlan;

use super::chains::good;
use super::schedules::Book;
use crate::laws::Law;
use crate::state::State;

impl State {
    /// Checks the deletion of a folder's files before it is sent.
    pub fn check_folder_deletion(&mut self, plan: &FolderPlan) {
        let acting = self.laws.acting.clone();
        let (container, folder) = (&plan.container, &plan.folder);
        self.tell(96, || format!("deletes {container}/{folder}"));
        let Some(book) = self.laws.books.schedules.get(&acting.uid) else {
            self.broken(Law::FolderInLedger, "only schedules delete folders", folder.clone());
            return;
        };
        let Some((uid, run)) = self.run_of_folder(book, plan) else {
            let text = format!("{container}/{folder} is of none of its runs");
            self.broken(Law::FolderInLedger, "a schedule deletes only folders of its own runs", text);
            return;
        };
        let record = self.laws.records.get(uid);
        let over = record.is_none_or(|record| record.gone || is_terminal(&record.status));
        let keep = self
            .schedule(&acting.uid)
            .and_then(|schedule| Some(schedule.spec.retention.as_ref()?.full_chains));
        let sound = |uid: &String| self.laws.records.get(uid).and_then(good).is_some();
        // Concurrent runs may end in another order than they began.
        let ended =
            |uid: &String| self.laws.records.get(uid).and_then(|record| record.status.completion_time);
        let full = |(newer, made): &(&String, &Arc<FhirExport>)| {
            let later = *newer > uid || ended(newer) > ended(uid);
            later && made.spec.request.since.is_none() && sound(newer)
        };
        let newer = i32::try_from(book.runs.iter().filter(full).count()).unwrap_or(i32::MAX);
        let name = run.metadata.name.clone().unwrap_or_default();
        if !over {
            let text = format!("{folder} of {name}");
            self.broken(Law::FolderInLedger, "no folder of a run that goes on is deleted", text);
        } else if keep.is_some_and(|keep| newer < keep) {
            let text = format!("{folder} of {name}: {newer} newer chains, {keep:?} to keep");
            self.broken(Law::FolderInLedger, "the folders of the newest chains stay", text);
        } else {
            self.tally.folders += 1;
        }
    }

    /// The run of this schedule that wrote a folder, if there is one.
    fn run_of_folder<'b>(
        &self,
        book: &'b Book,
        plan: &FolderPlan,
    ) -> Option<(&'b String, &'b Arc<FhirExport>)> {
        let wrote = |uid: &String| {
            let landed =
                self.laws.records.get(uid).is_some_and(|record| record.places.contains_key(&plan.folder));
            let here = (plan.container.clone(), Some(plan.folder.clone()));
            landed || self.fhir.jobs.iter().any(|job| job.owner.as_ref() == Some(uid) && job.place() == here)
        };
        book.runs.iter().find(|(uid, _)| wrote(uid))
    }
}
