//! The laws of writes to the API server.

use fhir_export_operator::api::{
    CANCEL_FINALIZER, ConditionStatus, ConditionType, FhirExport, FhirExportStatus, Reason, UNREAD_ANNOTATION,
};
use fhir_export_operator::core::condition::{find, is_true};
use fhir_export_operator::core::export::{is_terminal, says_the_same};
use kube::ResourceExt;

use super::{Intent, listed};
use crate::fhir::{Job, SENTINEL};
use crate::laws::Law;
use crate::state::State;

/// The largest status, in bytes.
pub(super) const MAX_STATUS: usize = 16 * 1024;

/// Whether this version can read only a part of the export's status.
pub fn is_unread(export: &FhirExport) -> bool {
    export.annotations().contains_key(UNREAD_ANNOTATION)
}

impl State {
    /// `unread-waits`: checks an export before the operator writes or deletes it.
    pub fn check_read(&mut self, before: &FhirExport, what: &str) {
        if is_unread(before) {
            let text = format!("{}: {what}", before.name_any());
            self.broken(Law::UnreadWaits, "what cannot be read is left alone", text);
        }
    }

    /// Checks the status of an export before it is replaced.
    pub fn check_write(&mut self, before: &FhirExport, status: &FhirExportStatus) {
        self.check_read(before, "its status is written");
        let name = before.name_any();
        let old = before.status.clone().unwrap_or_default();
        if is_terminal(&old) && !says_the_same(&old, status) {
            self.broken(
                Law::TerminalAbsorbs,
                "a terminal status never changes",
                format!("{name}: {:?} to {:?}", old.state, status.state),
            );
        }
        self.check_words(&name, status);
        self.follow_intent(before, &old, status);
        self.exchange_alike(before, &old, status);
        if old.job.as_ref().map(|job| job.intent_time) == status.job.as_ref().map(|job| job.intent_time) {
            let url = |status: &FhirExportStatus| status.job.as_ref().and_then(|job| job.status_url.clone());
            if url(&old).is_some() && url(&old) != url(status) && !is_terminal(status) {
                self.broken(
                    Law::UrlNext,
                    "a status URL is never lost",
                    format!("{name}: {:?} to {:?}", url(&old), url(status)),
                );
            }
        }
        self.check_dropped(before, &old, status);
        if is_terminal(status) && !is_terminal(&old) {
            self.check_end(before, status);
        }
    }

    /// After the clock was set back, an intent that then lies in the future gets a new time, and its job is
    /// known by that time.
    fn follow_intent(&mut self, before: &FhirExport, old: &FhirExportStatus, status: &FhirExportStatus) {
        let Some(was) = old.job.as_ref().filter(|job| job.status_url.is_none()).map(|job| job.intent_time)
        else {
            return;
        };
        let left = status.unsettled_jobs.iter().filter(|entry| !old.unsettled_jobs.contains(entry));
        let kept = status.job.iter().map(|job| job.intent_time);
        let known =
            kept.chain(left.filter(|entry| entry.status_url.is_none()).map(|entry| entry.intent_time));
        let Some(is) = known.min().filter(|is| *is < was) else { return };
        let uid = before.metadata.uid.as_deref();
        for job in &mut self.fhir.jobs {
            if job.owner.as_deref() == uid && job.intent == Some(was) {
                job.intent = Some(is);
            }
        }
    }

    /// Handles two exports with the same request. Until a status URL is written, nothing distinguishes their
    /// jobs: an export that adopts the other's job leaves its own to the other.
    fn exchange_alike(&mut self, before: &FhirExport, old: &FhirExportStatus, status: &FhirExportStatus) {
        let confirmed = |status: &FhirExportStatus| {
            find(&status.conditions, ConditionType::KickOffUncertain)
                .is_some_and(|condition| condition.because(Reason::JobConfirmed))
        };
        if confirmed(old) || !confirmed(status) {
            return;
        }
        let Some(taken) = status.job.as_ref().and_then(|job| self.fhir.job_of(job.status_url.as_ref()?))
        else {
            return;
        };
        let (uid, intent) = (before.metadata.uid.clone(), old.job.as_ref().map(|job| job.intent_time));
        let Some(job) = self.fhir.jobs.get_mut(taken) else { return };
        // The owner that received the answer may have ended before the answer was written.
        let written =
            |owner: &String| self.laws.records.get(owner).is_some_and(|r| r.followed.contains(&taken));
        if job.owner == uid || job.owner.as_ref().is_none_or(written) {
            return;
        }
        let (others, began_on) = (job.owner.clone(), job.intent);
        let (server, request) = (job.server, job.request.clone());
        (job.owner, job.intent) = (uid.clone(), intent);
        let own = self.fhir.jobs.iter_mut().enumerate().find(|(number, job)| {
            *number != taken
                && job.owner == uid
                && job.intent == intent
                && job.server == server
                && job.request == request
        });
        if let Some((_, own)) = own {
            (own.owner, own.intent) = (others, began_on);
        }
    }

    /// Records that a status was written.
    pub fn wrote(&mut self, object: &FhirExport) {
        let status = object.status.clone().unwrap_or_default();
        self.tell(10, || {
            let job =
                status.job.as_ref().map(|job| job.status_url.clone().unwrap_or_else(|| "intent".into()));
            let name = object.name_any();
            let cancel = status.cancellation.as_ref().map(|c| (c.tries, c.outcome));
            format!(
                "status of {name}: {}, job {job:?}, attempts {:?}, cancel {cancel:?}, unsettled {}",
                status.state_word().unwrap_or("-"),
                status.attempts,
                status.unsettled_jobs.len()
            )
        });
        self.learn_place(object, &status);
        let acting = self.laws.acting.clone();
        let url = status.job.as_ref().and_then(|job| job.status_url.as_deref());
        let follows = url.and_then(|url| self.fhir.job_of(url));
        let Some(record) = self.laws.records.get_mut(&object.uid().unwrap_or_default()) else { return };
        record.followed.extend(follows);
        let intent = status.job.as_ref().filter(|job| job.status_url.is_none()).map(|job| job.intent_time);
        let before = record.status.job.as_ref().map(|job| job.intent_time);
        if let Some(time) = intent.filter(|intent| Some(*intent) != before) {
            record.intents.push(Intent { time, by: acting, sent: false, left: None, heard: false });
        }
        if status.job.as_ref().is_none_or(|job| job.status_url.is_some()) {
            record.heard_by = None;
        }
        if status.cancellation.is_none() {
            record.deletes = 0;
        }
        if let Some(open) = record.status.job.as_ref().filter(|job| job.status_url.is_none()) {
            let old = &record.status.unsettled_jobs;
            let new = status.unsettled_jobs.iter().filter(|entry| !old.contains(entry));
            let unseen = new.filter(|entry| entry.status_url.is_none());
            record.moved.extend(unseen.map(|entry| (entry.intent_time, open.intent_time)));
        }
        record.status = status;
    }

    /// Checks `token-stays`, that the status holds no secret and no patient, and `status-small`, that it is
    /// under 16 KiB.
    fn check_words(&mut self, name: &str, status: &FhirExportStatus) {
        let mut shown = status.clone();
        // The status URL is kept whole, because the run needs it to continue.
        if let Some(job) = shown.job.as_mut() {
            job.status_url = None;
        }
        shown.unsettled_jobs.iter_mut().for_each(|job| job.status_url = None);
        let text = serde_json::to_string(&shown).unwrap_or_default();
        if text.len() >= MAX_STATUS {
            self.broken(Law::StatusSmall, "a status is small", format!("{name}: {} bytes", text.len()));
        }
        if text.contains(SENTINEL) {
            self.broken(Law::TokenStays, "no secret and no patient is shown", format!("{name}: {text}"));
        }
    }

    /// `one-job`: checks that a running job does not leave the status without a report.
    fn check_dropped(&mut self, before: &FhirExport, old: &FhirExportStatus, status: &FhirExportStatus) {
        let Some(url) = old.job.as_ref().and_then(|job| job.status_url.as_ref()) else { return };
        if status.job.as_ref().is_some_and(|job| job.status_url.is_some()) {
            return;
        }
        let now = self.time.now;
        let Some(job) = self.fhir.job_of(url).and_then(|number| self.fhir.jobs.get(number)) else { return };
        let ours = job.owner.as_deref() == before.metadata.uid.as_deref();
        if ours && job.works(now) && !job.agreed && !listed(status, job, &self.fhir.status_url(job)) {
            let text = format!("{}: job {} runs", before.name_any(), job.id());
            self.broken(Law::OneJob, "a job that runs is never dropped", text);
        }
    }

    /// Checks the status with which a run ends.
    fn check_end(&mut self, object: &FhirExport, status: &FhirExportStatus) {
        let (now, name) = (self.time.now, object.name_any());
        let uid = object.uid().unwrap_or_default();
        let complete = is_true(&status.conditions, ConditionType::Complete);
        let failed = is_true(&status.conditions, ConditionType::Failed);
        if complete == failed {
            self.broken(Law::CompleteMeansChecked, "an end is one of Complete and Failed", name.clone());
        }
        let reason = find(&status.conditions, ConditionType::Failed).map(|c| c.reason.clone());
        self.tell(11, || format!("{name} ends: {}", reason.as_deref().unwrap_or("Complete")));
        let runs: Vec<String> = self
            .fhir
            .jobs
            .iter()
            .filter(|job| job.owner.as_deref() == Some(uid.as_str()) && job.works(now) && !job.agreed)
            .filter(|job| !listed(status, job, &self.fhir.status_url(job)))
            .map(Job::id)
            .collect();
        for id in runs {
            self.broken(
                Law::OneJob,
                "a job that may run on is told at the end",
                format!("{name}: job {id}, {reason:?}"),
            );
        }
        if complete {
            let verified = find(&status.conditions, ConditionType::Verified);
            if verified.is_none_or(|condition| condition.status == ConditionStatus::False) {
                self.broken(Law::CompleteMeansChecked, "Complete is nothing that failed a check", name);
            }
            self.check_complete(object, status);
        }
    }

    /// Checks a finalizer of an export before it is added or removed.
    pub fn check_finalizer(&mut self, read: &FhirExport, on: bool) {
        let name = read.name_any();
        self.tell(12, || format!("finalizer of {name} {}", if on { "on" } else { "off" }));
        if on || !read.finalizers().iter().any(|f| f == CANCEL_FINALIZER) || self.api.current(read).is_err() {
            return;
        }
        let uid = read.uid().unwrap_or_default();
        let now = self.time.now;
        let Some(record) = self.laws.records.get(&uid) else { return };
        if is_terminal(&record.status) {
            return;
        }
        let left: Vec<String> = self
            .fhir
            .jobs
            .iter()
            .filter(|job| job.owner.as_deref() == Some(uid.as_str()) && job.works(now) && !job.agreed)
            .filter(|job| !record.told_by_event(job) && !record.lists(job, &self.fhir.status_url(job)))
            .map(Job::id)
            .collect();
        for id in left {
            self.broken(
                Law::DeletionEnds,
                "the finalizer stays until the job is settled or told",
                format!("{name}: job {id}"),
            );
        }
    }
}
