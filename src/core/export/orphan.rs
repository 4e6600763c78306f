//! A kick-off whose answer was lost: the job may run. It is looked for in the container, told to the user, and
//! never assumed (ARCHITECTURE.md, url-next).

use std::time::Duration;

use super::turn::after;
use super::{Step, Turn, begin, finish, kickoff, plan, poll};
use crate::api::{ConditionType, OnUncertainKickOff, Reason};
use crate::core::effect::{Effect, NoteType};
use crate::core::ledger::{JobFolder, StorageFailure, StorageFailureKind};
use crate::core::manifest::Manifest;

/// How far the server's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// A job made by this kick-off began at most so long after it.
const BEGINS_WITHIN: Duration = Duration::from_secs(600);

/// No definite answer came to the kick-off.
pub(super) fn lost(turn: &mut Turn<'_>, why: &str) {
    uncertain(turn, Reason::AnswerLost, why);
}

/// The server accepted the kick-off and did not say where the job is.
pub(super) fn no_status_url(turn: &mut Turn<'_>, why: &str) {
    uncertain(turn, Reason::NoStatusURL, why);
}

fn uncertain(turn: &mut Turn<'_>, reason: Reason, why: &str) {
    let next = if turn.lands() {
        "onUncertainKickOff says what comes next"
    } else {
        "the container is searched for it"
    };
    let message = format!("{why}; a job may run unseen, and {next}");
    turn.note(NoteType::Warning, Reason::KickOffUncertain, "KickOff", &message);
    turn.set_true(ConditionType::KickOffUncertain, reason, &message);
    turn.set_true(ConditionType::Reconciling, reason, &message);
    turn.state("Uncertain");
    turn.memory.retry_at = None;
}

/// Wait until the server has begun to write, then search.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let Some(intent) = turn.status.job.as_ref().map(|job| job.intent_time) else { return turn.rest() };
    if !turn.is_true(ConditionType::KickOffUncertain)
        || turn.because(ConditionType::KickOffUncertain, Reason::NoJobFound)
        || turn.because(ConditionType::KickOffUncertain, Reason::JobAdopted)
    {
        lost(&mut turn, "the operator was stopped before the answer to the kick-off was written down");
    }
    let deadline = turn.deadline();
    if deadline.is_some_and(|end| end <= turn.now) {
        turn.leave_job("the answer to its kick-off was lost");
        let message =
            "the deadline passed while it was not known whether a job runs; look for it on the server";
        return finish::fail(turn, Reason::DeadlineExceeded, message);
    }
    if let Some((reason, message)) = poll::server_lost(&turn) {
        turn.set_false(ConditionType::ServerReachable, reason, &message);
        return turn.wait_until(&[deadline]);
    }
    let Some(server) = turn.server() else { return turn.wait_until(&[deadline]) };
    if turn.lands() {
        // Nothing lies anywhere before the operator lands it.
        give_up(&mut turn, "a FHIR Bulk Data server cannot be asked for its jobs");
        return if super::is_terminal(&turn.status) { finish::after_end(turn) } else { begin::go_on(turn) };
    }
    if server.blob_endpoint().is_none() {
        give_up(&mut turn, "the FhirServer has no storage to search for it");
        return if super::is_terminal(&turn.status) { finish::after_end(turn) } else { begin::go_on(turn) };
    }
    let search_from = after(intent, turn.tuning.orphan_wait);
    let due = turn.memory.retry_at.max(Some(search_from)).filter(|due| *due > turn.now);
    if due.is_some() {
        return turn.wait_until(&[due, deadline]);
    }
    let container = plan::container(server.spec(), &turn.spec().request);
    let began = intent.checked_sub(jiff::SignedDuration::try_from(CLOCK_SKEW).unwrap_or_default());
    turn.perform(Effect::FindJobs { container, after: began.unwrap_or(intent) })
}

/// What the search found.
pub(super) fn searched(turn: &mut Turn<'_>, result: Result<Vec<JobFolder>, StorageFailure>) {
    let Some(intent) = turn.status.job.as_ref().filter(|j| j.status_url.is_none()).map(|j| j.intent_time)
    else {
        return;
    };
    let wait = turn.tuning.orphan_wait;
    // Without the container there is no job in it.
    let result = match result {
        Err(failure) if failure.kind == StorageFailureKind::NotFound => Ok(Vec::new()),
        result => result,
    };
    match result {
        Ok(found) => {
            let latest = after(intent, BEGINS_WITHIN);
            let earlier: Vec<&str> =
                turn.status.previous_jobs.iter().filter_map(|j| j.id.as_deref()).collect();
            let mut candidates = found.into_iter().filter(|job| {
                job.began <= latest
                    && !turn.facts.claimed.contains(&job.job_id)
                    && !earlier.contains(&job.job_id.as_str())
            });
            match (candidates.next(), candidates.next()) {
                (Some(job), None) => adopt(turn, &job),
                (Some(_), Some(_)) => give_up(turn, "several jobs in the container could be it"),
                // The server may not have begun to write.
                (None, _) if turn.now < after(intent, wait * 2) => {
                    turn.memory.retry_at = Some(after(turn.now, wait / 4));
                }
                (None, _) => give_up(turn, "no job was found in the container"),
            }
        }
        Err(failure) => {
            let passing =
                matches!(failure.kind, StorageFailureKind::Transient { .. } | StorageFailureKind::Missing);
            if passing && turn.now < after(intent, wait * 3) {
                turn.memory.retry_at = Some(after(turn.now, wait / 4));
            } else {
                give_up(turn, &format!("the container could not be searched ({})", failure.message));
            }
        }
    }
}

/// Exactly one job could be it: it is followed, and its manifest must prove it.
fn adopt(turn: &mut Turn<'_>, job: &JobFolder) {
    let Some(url) = turn.server().and_then(|server| server.job_url(&job.job_id)) else {
        return give_up(turn, "the job that was found has no usable id");
    };
    let message = format!(
        "job {} was found in the container and is followed; its manifest will prove whose it is",
        job.job_id
    );
    turn.note(NoteType::Normal, Reason::JobAdopted, "KickOff", &message);
    turn.status.attempts = Some(turn.status.attempts.unwrap_or(0) + 1);
    kickoff::started(turn, url, Some(job.job_id.clone()), &message);
    turn.set_true(ConditionType::KickOffUncertain, Reason::JobAdopted, &message);
}

/// The manifest of an adopted job shows whose it is.
pub(super) fn prove(turn: &mut Turn<'_>, manifest: &Manifest) -> Result<(), &'static str> {
    let ours =
        turn.server().and_then(|s| plan::kick_off(s.object(), &turn.spec().request, &turn.namespace()).ok());
    if ours.is_some_and(|ours| plan::same_request(&ours.url, &manifest.request)) {
        let message = "the manifest proves that the job is this export's";
        turn.set_false(ConditionType::KickOffUncertain, Reason::JobConfirmed, message);
        return Ok(());
    }
    // The job is left to its owner; ours was never found, and may still run.
    turn.status.output = None;
    turn.leave_unseen_job();
    turn.status.job = None;
    Err(
        "the job that was found in the container is another export's, as its manifest shows; create a new FhirExport",
    )
}

/// The manifest of an adopted job names no file: it is as good as not found.
pub(super) fn proves_nothing(mut turn: Turn<'_>) -> Step {
    turn.memory.manifest = None;
    turn.status.output = None;
    if let Some(job) = turn.status.job.as_mut() {
        (job.id, job.status_url, job.kick_off_time) = (None, None, None);
    }
    // The attempt was counted when it was found.
    turn.status.attempts = turn.status.attempts.map(|attempts| attempts.saturating_sub(1));
    give_up(
        &mut turn,
        "the job that was found in the container has no files, so that it may be one that was cancelled",
    );
    if super::is_terminal(&turn.status) { finish::after_end(turn) } else { begin::go_on(turn) }
}

/// An adopted job came to its end without a manifest, so that nothing proves whose it was: ours may still run. What is
/// to be said of that, if it is so.
pub(super) fn unproven(turn: &mut Turn<'_>) -> &'static str {
    if !turn.because(ConditionType::KickOffUncertain, Reason::JobAdopted) {
        return "";
    }
    turn.leave_unseen_job();
    "; nothing proves that this job was the export's own, so another one may run on the server unseen"
}

/// No job could be found: it stays on record, and the spec says whether to start again.
fn give_up(turn: &mut Turn<'_>, why: &str) {
    let no_url = turn.because(ConditionType::KickOffUncertain, Reason::NoStatusURL);
    turn.leave_job(if no_url {
        "accepted without a status URL"
    } else {
        "the answer to its kick-off was lost"
    });
    turn.status.job = None;
    let message = format!("{why}; one may still run on the server unseen");
    turn.set_true(ConditionType::KickOffUncertain, Reason::NoJobFound, &message);
    turn.status.attempts = Some(turn.status.attempts.unwrap_or(0) + 1);
    if no_url {
        let text = format!(
            "the server accepted the export without saying where its status is, and {message}; check proxies that remove Content-Location"
        );
        finish::failed(turn, Reason::NoStatusURL, &text);
    } else if turn.spec().on_uncertain_kick_off == Some(OnUncertainKickOff::Fail) {
        let text = format!(
            "the answer to the kick-off was lost, and {message}; look for it there, then create a new FhirExport"
        );
        finish::failed(turn, Reason::KickOffUncertain, &text);
    } else {
        turn.note(NoteType::Warning, Reason::NoJobFound, "KickOff", &message);
        let text = format!("the answer to the kick-off was lost, and {message}");
        kickoff::try_again(turn, Reason::KickOffUncertain, &text);
    }
}
