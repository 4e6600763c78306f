//! The laws for the end of a simulation: everything has ended, and nothing was lost.

use fhir_export_operator::api::{ConditionType, FhirExport};
use fhir_export_operator::core::condition::{find, is_true};
use fhir_export_operator::core::export::is_terminal;
use kube::ResourceExt;

use crate::laws::Law;
use crate::state::State;

impl State {
    /// Whether all exports have ended without a finalizer, and no deletion is pending.
    pub fn all_ended(&self) -> bool {
        let ended = |export: &FhirExport| {
            export.status.as_ref().is_some_and(is_terminal)
                && export.finalizers().is_empty()
                && export.metadata.deletion_timestamp.is_none()
        };
        self.api.exports.objects.values().all(|export| ended(export))
            && self.api.terminating.is_empty()
            && self.schedules_ended()
    }

    /// Reports what has not ended.
    pub fn check_ended(&mut self) {
        let open: Vec<String> = self
            .api
            .exports
            .objects
            .values()
            .filter(|export| {
                !export.status.as_ref().is_some_and(is_terminal)
                    || !export.finalizers().is_empty()
                    || export.metadata.deletion_timestamp.is_some()
            })
            .map(|export| {
                let status = export.status.clone().unwrap_or_default();
                let why = find(&status.conditions, ConditionType::Reconciling).map(|c| c.message.clone());
                format!("{} is {:?}: {why:?}", export.name_any(), status.state)
            })
            .collect();
        for text in open {
            self.broken(Law::Liveness, "every export ends, every deletion is done", text);
        }
        if !self.api.terminating.is_empty() {
            self.broken(Law::Liveness, "every deletion is done", "a namespace is still being deleted");
        }
        self.check_schedules_ended();
    }

    /// `one-job`: checks that every job was finished, cancelled or reported.
    pub fn check_jobs(&mut self) {
        let now = self.time.now;
        let mut found = Vec::new();
        for job in &self.fhir.jobs {
            let Some(record) = job.owner.as_ref().and_then(|uid| self.laws.records.get(uid)) else {
                continue;
            };
            let settled =
                job.observed || job.agreed || !job.works(now) && record.tells_end(&self.fhir.status_url(job));
            let listed = record.lists(job, &self.fhir.status_url(job));
            // A deleted object has no status, so unless the status was final, an event must have reported the job.
            let told = record.told_by_event(job) || listed && (!record.gone || is_terminal(&record.status));
            if !settled && !told {
                found.push((job.works(now), job.id(), record.name.clone()));
            }
        }
        for (works, id, export) in found {
            if works {
                self.tally.leaked += 1;
                self.broken(
                    Law::OneJob,
                    "no job is leaked",
                    format!("job {id} of {export} runs, and nobody knows"),
                );
            } else {
                self.tally.lost += 1;
                self.broken(
                    Law::OneJob,
                    "no job is lost",
                    format!("job {id} of {export} ended, and nobody was told"),
                );
            }
        }
    }

    /// Counts how the exports ended, for the table.
    pub fn count_ends(&mut self) {
        let ends: Vec<&'static str> = self
            .laws
            .records
            .values()
            .map(|record| {
                let conditions = &record.status.conditions;
                let reason = find(conditions, ConditionType::Failed).map(|c| c.reason.as_str());
                match reason {
                    _ if is_true(conditions, ConditionType::Complete) => "Complete",
                    Some("Cancelled") => "Cancelled",
                    Some("DeadlineExceeded") => "DeadlineExceeded",
                    Some("JobLost") => "JobLost",
                    Some("VerificationFailed") => "VerificationFailed",
                    Some("KickOffUncertain" | "NoStatusURL") => "KickOffUncertain",
                    Some("CancelUnconfirmed") => "CancelUnconfirmed",
                    Some(_) => "failed for another reason",
                    None => "deleted before its end",
                }
            })
            .collect();
        for end in ends {
            self.tally.end(end);
        }
    }
}
