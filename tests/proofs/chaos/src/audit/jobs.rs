//! The audit of jobs: each was finished, cancelled or reported, and none was started beside another.

use super::Findings;
use crate::record::{Act, End, Export, Job, Records};

/// The reasons of events that say that a job may run unnoticed, or is abandoned.
const SAYS_UNSEEN: [&str; 6] =
    ["KickOffUncertain", "NoJobFound", "NoStatusURL", "CancelUnconfirmed", "Abandoned", "AnswerLost"];
/// The most unsettled jobs that a status names. Newer ones displace the oldest.
const MOST_UNSETTLED: usize = 8;
/// The most earlier jobs that a status names.
const MOST_PREVIOUS: usize = 5;

pub(super) fn look(records: &Records, findings: &mut Findings) {
    for job in records.jobs.iter().filter(|job| job.export.is_none()) {
        findings.broken.push(format!("job {} carries the number of no export", job.id));
    }
    for export in &records.exports {
        let mut jobs: Vec<&Job> =
            records.jobs.iter().filter(|job| job.export == Some(export.number)).collect();
        jobs.sort_by_key(|job| job.made);
        let owned = Owned { export, jobs };
        owned.lost(findings);
        owned.leaked(findings);
        owned.doubled(findings);
        owned.cancelled(findings);
    }
}

/// An export with its jobs, the oldest first.
struct Owned<'a> {
    export: &'a Export,
    jobs: Vec<&'a Job>,
}

impl Owned<'_> {
    /// Whether the status, an event or the log says that a job may run unnoticed.
    fn told(&self, job: &Job) -> bool {
        let export = self.export;
        if export.left_behind(&job.id) {
            return true;
        }
        if export.knows(&job.id) {
            // The export follows this job, so only messages that name it count.
            return export
                .told
                .iter()
                .any(|told| SAYS_UNSEEN.contains(&told.reason.as_str()) && told.note.contains(&job.id));
        }
        // The answer to the kick-off was lost, so the status cannot name the job, but it counts such jobs.
        let nameless = self.jobs.iter().filter(|job| !export.knows(&job.id));
        let place = nameless.clone().position(|other| other.id == job.id).unwrap_or(usize::MAX);
        let unsettled = &export.status.unsettled_jobs;
        let counted = unsettled.iter().filter(|job| job.status_url.is_none()).count();
        // The operator may still search for one more.
        let waited = export.status.job.as_ref().is_some_and(|job| job.status_url.is_none());
        let told = export.told.iter().any(|told| SAYS_UNSEEN.contains(&told.reason.as_str()));
        place < counted + usize::from(waited && told)
            || unsettled.len() >= MOST_UNSETTLED
            // Of a deleted object only the events are left.
            || (!export.there && told)
    }

    fn lost(&self, findings: &mut Findings) {
        let name = &self.export.name;
        if !self.export.there {
            return;
        }
        if self.export.end().is_none() {
            let state = self.export.status.state_word().unwrap_or("New");
            findings.lost.push(format!("{name} has not ended: it is {state}"));
        }
        let full = self.export.status.previous_jobs.len() >= MOST_PREVIOUS;
        for job in &self.jobs {
            let gave_way = full && job.end != End::Running;
            if !(self.export.knows(&job.id) || self.told(job) || gave_way) {
                findings.lost.push(format!("{name} knows nothing of its job {}", job.id));
            }
        }
        if let Some(("Failed", "JobLost")) = self.export.end() {
            let id = self.export.status.job.as_ref().and_then(|job| job.id.as_deref());
            let job = self.jobs.iter().find(|job| Some(job.id.as_str()) == id);
            if job.is_some_and(|job| matches!(job.end, End::Running | End::Completed)) {
                findings.lost.push(format!("{name} says that its job is lost, but its server still has it"));
            }
        }
    }

    fn leaked(&self, findings: &mut Findings) {
        for job in self.jobs.iter().filter(|job| job.end == End::Running) {
            if self.export.act != Act::Abandon && !self.told(job) {
                let (id, name) = (&job.id, &self.export.name);
                findings.leaked.push(format!("job {id} of {name} runs, and nobody was told"));
            }
        }
    }

    /// Finds jobs that were started although the previous one had not ended and was not reported as given up.
    fn doubled(&self, findings: &mut Findings) {
        for pair in self.jobs.windows(2) {
            let [before, after] = pair else { continue };
            let given_up =
                self.export.status.previous_jobs.iter().any(|job| job.id.as_deref() == Some(&before.id));
            let ended = matches!(before.end, End::Failed | End::Gone);
            if !ended && !given_up && !self.told(before) {
                let name = &self.export.name;
                findings.doubled.push(format!(
                    "{name} started job {} beside job {}, which had not ended, and told nobody",
                    after.id, before.id
                ));
            }
        }
    }

    /// Finds cancels that nobody requested, and statuses that state something wrong about a cancel.
    fn cancelled(&self, findings: &mut Findings) {
        let Export { name, act, deadline, lands, there, .. } = self.export;
        for job in self.jobs.iter().filter(|job| job.cancel_requests > 0) {
            let wished = *act != Act::Wait || *deadline;
            // With dialect BulkData the operator also sends a DELETE for a job that has ended.
            if !wished && !lands {
                findings
                    .broken
                    .push(format!("job {} of {name} was cancelled, and nobody wished that", job.id));
            }
        }
        let Some(cancellation) = &self.export.status.cancellation else { return };
        let confirmed =
            cancellation.outcome.map(|outcome| format!("{outcome:?}")).as_deref() == Some("Confirmed");
        let id = self.export.status.job.as_ref().and_then(|job| job.id.as_deref());
        let job = self.jobs.iter().find(|job| Some(job.id.as_str()) == id);
        if confirmed && job.is_some_and(|job| job.end == End::Running && !job.cancelled) {
            findings.broken.push(format!("{name} says that its cancel was confirmed, but its job runs"));
        }
        // The operator counts a cancel before it sends it. The last status of a deleted object may be unknown.
        let sent = job.map_or(0, |job| job.cancel_requests);
        if *there && !lands && i64::from(sent) > i64::from(cancellation.tries) {
            findings
                .broken
                .push(format!("{name} counts {} cancels, but its server saw {sent}", cancellation.tries));
        }
    }
}
