//! A job runs: ask for its status, show how far it is, and tell its end.

use std::sync::Arc;
use std::time::Duration;

use super::begin::held;
use super::{Step, Turn, cancel, finish, kickoff, orphan, plan, progress};
use crate::api::{CancelReason, Cancellation, ConditionType, Reason};
use crate::core::answer::{self, JobFailure, Refusal, StatusAnswer};
use crate::core::bulk;
use crate::core::bulk::manifest::Pages;
use crate::core::condition::whole_seconds;
use crate::core::effect::Effect;
use crate::core::manifest::Manifest;
use crate::core::planted::{Fault, planted};
use crate::core::poll::delay;
use crate::core::wire::{Answer, FailureKind, Reply};
use crate::core::words;

/// Failures in a row before the user is told: one lost answer is no news.
const TELL_AFTER: u32 = 3;
/// Refusals or nonsense in a row before the run is given up.
const GIVE_UP_AFTER: u32 = 8;
/// After a restart polls are spread over at most this.
const SPREAD: Duration = Duration::from_secs(30);

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
    if planted(Fault::ForgetToResume) && turn.memory.next_poll.is_none() {
        return turn.rest();
    }
    let next = turn.memory.next_poll.unwrap_or_else(|| {
        let spread = turn.bounds().min.max(turn.bounds().max.min(SPREAD));
        turn.later(spread.mul_f64(turn.jitter))
    });
    turn.memory.next_poll = Some(next);
    if next <= turn.now {
        let request = if turn.lands() { plan::poll_bulk(&url) } else { plan::poll(&url) };
        return turn.perform(Effect::Poll(request));
    }
    if let Some(effect) = progress::look(&turn) {
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
            progress::told(turn, answer.progress.as_deref());
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
        StatusAnswer::Gone(_) if planted(Fault::GoneIsSuccess) => {
            reachable(turn);
            let empty = br#"{"transactionTime":"2026-01-01T00:00:00Z","output":[]}"#;
            turn.memory.manifest = Manifest::parse(empty).ok().map(Arc::new);
        }
        StatusAnswer::Gone(words) => {
            reachable(turn);
            let said = if words.is_empty() { String::new() } else { format!(" ({words})") };
            let unproven = orphan::unproven(turn);
            let message = format!(
                "the server no longer knows the job{said}: somebody cancelled it, or it expired{unproven}; create a new FhirExport"
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
    kickoff::answers(turn);
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
        return Err("an answer that broke off, or that is longer than 16 MiB");
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
                let message = if turn.lands() {
                    format!("{message}, and tell the server's owner")
                } else {
                    format!("{message}, and look into the container: the files may be there")
                };
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
    let unproven = orphan::unproven(turn);
    let message = format!(
        "{} (the server says: {}){unproven}",
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
