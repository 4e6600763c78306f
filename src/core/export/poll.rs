//! A job runs: ask for its status, show how far it is, and tell its end.

use std::sync::Arc;
use std::time::Duration;

use super::begin::held;
use super::turn::after;
use super::{Step, Turn, cancel, finish, kickoff, plan};
use crate::api::{CancelReason, Cancellation, ConditionType, Output, Progress, Reason};
use crate::core::answer::{self, JobFailure, Refusal, StatusAnswer};
use crate::core::bulk;
use crate::core::bulk::manifest::Pages;
use crate::core::condition::whole_seconds;
use crate::core::effect::Effect;
use crate::core::ledger::{Seen, StorageFailure};
use crate::core::manifest::Manifest;
use crate::core::poll::delay;
use crate::core::wire::{Answer, FailureKind, Reply};
use crate::core::words;

/// Failures in a row before the user is told: one lost answer is no news.
const TELL_AFTER: u32 = 3;
/// Refusals or nonsense in a row before the run is given up.
const GIVE_UP_AFTER: u32 = 8;
/// After a restart polls are spread over at most this.
const SPREAD: Duration = Duration::from_secs(30);
/// A server's own words about progress are cut to this, in characters.
const MAX_PROGRESS: usize = 32;

/// Poll when it is due.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let deadline = turn.deadline();
    if deadline.is_some_and(|end| end <= turn.now) {
        turn.status.cancellation = Some(Cancellation {
            request_time: whole_seconds(turn.now),
            reason: CancelReason::Deadline,
            tries: 0,
            outcome: None,
        });
        return cancel::go_on(turn);
    }
    if let Some((reason, message)) = held(&turn) {
        let message = format!("{message}; the server's job goes on meanwhile");
        turn.set_true(ConditionType::Suspended, reason, &message);
        turn.state("Suspended");
        return turn.wait_until(&[deadline]);
    }
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
        turn.state("Running");
        turn.memory.next_poll = Some(turn.now);
    }
    if let Some(lost) = server_lost(&turn) {
        let (reason, message) = lost;
        turn.set_false(ConditionType::ServerReachable, reason, &message);
        return turn.wait_until(&[deadline]);
    }
    let page = turn.memory.pages.as_ref().and_then(|pages| pages.next.clone());
    let Some(url) = page.or_else(|| turn.status.job.as_ref()?.status_url.clone()) else {
        return turn.rest();
    };
    let next = turn.memory.next_poll.unwrap_or_else(|| {
        let spread = turn.bounds().min.max(turn.bounds().max.min(SPREAD));
        turn.later(spread.mul_f64(turn.jitter))
    });
    turn.memory.next_poll = Some(next);
    if next <= turn.now {
        let request = if turn.lands() { plan::poll_bulk(&url) } else { plan::poll(&url) };
        return turn.perform(Effect::Poll(request));
    }
    if let Some(effect) = look_for_progress(&turn) {
        return turn.perform(effect);
    }
    turn.wait_until(&[Some(next), deadline])
}

/// The server that the job runs on is gone from the cluster, or is another one now.
pub(super) fn server_lost(turn: &Turn<'_>) -> Option<(Reason, String)> {
    let (namespace, name) = turn.server_name();
    match (turn.server(), &turn.status.server) {
        (None, _) => Some((
            Reason::ServerNotFound,
            format!(
                "FhirServer {namespace}/{name} is gone while its job runs; restore it, and the export goes on"
            ),
        )),
        (Some(server), Some(ours)) if server.spec().url != ours.url => Some((
            Reason::ServerChanged,
            format!(
                "FhirServer {namespace}/{name} has another url than the one that the job runs on; restore it"
            ),
        )),
        _ => None,
    }
}

/// The answer to a poll, or its absence.
pub(super) fn answered(turn: &mut Turn<'_>, reply: Reply) {
    if turn.status.job.as_ref().is_none_or(|job| job.status_url.is_none()) {
        return;
    }
    if turn.status.cancellation.is_some() {
        return cancel::looked(turn, reply);
    }
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            let wait = match failure.kind {
                FailureKind::HeldBack { until } => {
                    turn.memory.next_poll = Some(until.max(turn.now));
                    return;
                }
                FailureKind::Missing => turn.tuning.missing_retry,
                FailureKind::Unreachable => turn.back_off(None),
            };
            if failure.kind == FailureKind::Missing || turn.memory.failures >= TELL_AFTER {
                turn.set_false(ConditionType::ServerReachable, failure.reason, &failure.message);
            }
            turn.memory.next_poll = Some(turn.later(wait));
            return;
        }
    };
    match meaning(turn, &answer) {
        StatusAnswer::Running => {
            reachable(turn);
            turn.memory.nonsense = 0;
            told_progress(turn, answer.progress.as_deref());
            let wait = delay(&turn.bounds(), turn.memory.polls, answer.retry_after, turn.jitter);
            turn.memory.polls = turn.memory.polls.saturating_add(1);
            turn.memory.next_poll = Some(turn.later(wait));
        }
        StatusAnswer::Done => done(turn, &answer),
        StatusAnswer::JobFailed(failure) => {
            reachable(turn);
            job_failed(turn, &failure);
        }
        StatusAnswer::Gone(_) if turn.memory.pages.is_some() && turn.memory.nonsense < GIVE_UP_AFTER => {
            // The link to the next page, not the job: it begins anew with the first.
            turn.memory.nonsense += 1;
            turn.memory.pages = None;
            let wait = turn.back_off(answer.retry_after);
            turn.memory.next_poll = Some(turn.later(wait));
        }
        StatusAnswer::Gone(words) => {
            reachable(turn);
            let said = if words.is_empty() { String::new() } else { format!(" ({words})") };
            let message = format!(
                "the server no longer knows the job{said}: somebody cancelled it, or it expired; create a new FhirExport"
            );
            finish::failed(turn, Reason::JobLost, &message);
        }
        StatusAnswer::NotNow(refusal) => {
            let at_once = refusal.reason != Reason::Throttled;
            refused(turn, &refusal, at_once);
        }
        StatusAnswer::Transient(refusal) => refused(turn, &refusal, false),
        StatusAnswer::Refused(refusal) => {
            turn.memory.nonsense += 1;
            if turn.memory.nonsense >= GIVE_UP_AFTER {
                turn.leave_job("the server refuses to tell its status");
                return finish::failed(turn, Reason::StatusRefused, &refusal.message);
            }
            refused(turn, &refusal, false);
        }
    }
}

/// What the answer to a status request means, in the dialect of the server.
pub(super) fn meaning(turn: &Turn<'_>, answer: &Answer) -> StatusAnswer {
    if turn.lands() {
        let separate = turn.status.job.as_ref().is_some_and(|job| job.separate_status == Some(true));
        bulk::answer::status(answer, separate)
    } else {
        answer::status(answer)
    }
}

fn reachable(turn: &mut Turn<'_>) {
    turn.memory.failures = 0;
    turn.set_true(ConditionType::ServerReachable, Reason::Reachable, "the server answers");
}

fn refused(turn: &mut Turn<'_>, refusal: &Refusal, at_once: bool) {
    let wait = turn.back_off(refusal.retry_after);
    if at_once || turn.memory.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, refusal.reason, &refusal.message);
    }
    turn.memory.next_poll = Some(turn.later(wait));
}

/// The manifest, or what is known of it so far.
fn manifest(turn: &mut Turn<'_>, answer: &Answer) -> Result<Option<Manifest>, &'static str> {
    if answer.truncated {
        return Err("an answer that broke off");
    }
    if !turn.lands() {
        return Manifest::parse(&answer.body).map(Some);
    }
    let so_far = turn.memory.pages.take();
    let next = so_far.as_ref().and_then(|pages| pages.next.clone());
    let at = next.or_else(|| turn.status.job.as_ref()?.status_url.clone()).unwrap_or_default();
    let pages = Pages::read(so_far.as_deref(), &answer.body, &at)?;
    if pages.next.is_some() {
        turn.memory.pages = Some(Arc::new(pages));
        return Ok(None);
    }
    Ok(Some(pages.manifest))
}

fn done(turn: &mut Turn<'_>, answer: &Answer) {
    match manifest(turn, answer) {
        Ok(Some(manifest)) => {
            reachable(turn);
            turn.memory.nonsense = 0;
            turn.memory.manifest = Some(Arc::new(manifest));
        }
        Ok(None) => {
            reachable(turn);
            turn.memory.next_poll = Some(turn.now);
        }
        Err(what) => {
            turn.memory.nonsense += 1;
            let message = format!(
                "the server says that the job is done, but answers with {what} where its manifest should be; check proxies on the way"
            );
            if turn.memory.nonsense >= GIVE_UP_AFTER {
                turn.leave_job("its manifest cannot be read");
                let message = format!("{message}, and look into the container: the files may be there");
                return finish::failed(turn, Reason::InvalidManifest, &message);
            }
            let refusal =
                Refusal { reason: Reason::UnexpectedAnswer, message, retry_after: answer.retry_after };
            refused(turn, &refusal, turn.memory.nonsense >= TELL_AFTER);
        }
    }
}

/// The job failed: another attempt where that may help, else the end.
pub(super) fn job_failed(turn: &mut Turn<'_>, failure: &JobFailure) {
    let message = format!(
        "{} (the server says: {})",
        words::clause(failure.reason.meaning()),
        failure.words.trim_end_matches('.')
    );
    if failure.transient {
        let earlier = turn.status.clone();
        turn.retire_job(failure.reason);
        kickoff::try_again(turn, failure.reason, &message);
        if super::is_terminal(&turn.status) {
            // The last attempt is not an earlier one: it stays where users look for it.
            turn.status.job = earlier.job;
            turn.status.output = earlier.output;
            turn.status.previous_jobs = earlier.previous_jobs;
        }
    } else {
        finish::failed(turn, failure.reason, &advised(&message, failure.reason));
    }
}

/// With the next step, unless that is to read what stands there already.
pub(super) fn advised(message: &str, reason: Reason) -> String {
    let advice = words::clause(reason.advice());
    let next = advice.split_once("in the message").map_or(advice.as_str(), |(_, next)| next);
    let next = next.trim_start_matches([';', ' ']);
    if next.is_empty() { message.to_owned() } else { format!("{message}; {next}") }
}

/// The server's own words about progress: written for ten points, and rarely.
fn told_progress(turn: &mut Turn<'_>, told: Option<&str>) {
    let Some(told) = told.map(words::clean).filter(|t| !t.is_empty()) else { return };
    let percent = told.split_once('%').and_then(|(before, _)| {
        let digits = before.rsplit(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
        digits.split('.').next()?.parse::<i32>().ok().filter(|p| (0..=100).contains(p))
    });
    let Some(job) = turn.status.job.as_mut() else { return };
    let old = job.progress.clone();
    let recently =
        turn.memory.progress_at.is_some_and(|at| after(at, turn.tuning.progress_interval) > turn.now);
    let news = match (&old, percent) {
        (None, _) => true,
        (Some(old), Some(new)) => !recently && (new - old.percent.unwrap_or(0)).abs() >= 10,
        (Some(old), None) => !recently && old.summary.as_deref() != Some(told.as_str()),
    };
    if news {
        let summary = percent.map_or_else(|| told.chars().take(MAX_PROGRESS).collect(), |p| format!("{p}%"));
        job.progress = Some(Progress { summary: Some(summary), percent, files: None, bytes: None });
        turn.memory.progress_at = Some(turn.now);
    }
}

/// Where the server says nothing, the container does.
fn look_for_progress(turn: &Turn<'_>) -> Option<Effect> {
    let server = turn.server()?;
    server.blob_endpoint()?;
    let job = turn.status.job.as_ref()?;
    let told = job.progress.as_ref().is_some_and(|p| p.files.is_none());
    if told || turn.lands() || turn.memory.polls == 0 {
        return None;
    }
    // Sooner while there is nothing to show yet.
    let interval = if job.progress.is_none() {
        turn.tuning.progress_interval / 10
    } else {
        turn.tuning.progress_interval
    };
    if turn.memory.progress_at.is_some_and(|at| after(at, interval) > turn.now) {
        return None;
    }
    let began = job.kick_off_time?;
    let id = job.id.clone()?;
    Some(match plan::container(server.spec(), &turn.spec().request) {
        Some(container) => Effect::CountFiles { container, job_id: Some(id), began },
        None => Effect::CountFiles { container: format!("export-{id}"), job_id: None, began },
    })
}

/// Files seen so far: written at first sight, then each time they have doubled.
pub(super) fn counted(turn: &mut Turn<'_>, result: Result<Seen, StorageFailure>) {
    turn.memory.progress_at = Some(turn.now);
    // A container that cannot be listed is told at the end, by Verified.
    let Ok(seen) = result else { return };
    let files = i64::try_from(seen.files).unwrap_or(i64::MAX);
    let container = turn.server().and_then(|s| plan::container(s.spec(), &turn.spec().request));
    let Some(job) = turn.status.job.as_mut() else { return };
    let before = job.progress.as_ref().and_then(|p| p.files).unwrap_or(0);
    if files == 0 || files < before.saturating_mul(2) {
        return;
    }
    job.progress = Some(Progress {
        summary: Some(if files == 1 { "1 file".to_owned() } else { format!("{files} files") }),
        percent: None,
        files: Some(files),
        bytes: Some(i64::try_from(seen.bytes).unwrap_or(i64::MAX)),
    });
    let container = container.or_else(|| job.id.as_ref().map(|id| format!("export-{id}")));
    turn.status.output = Some(Output { container, folder: seen.folder, ..Output::default() });
}
