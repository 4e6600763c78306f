//! The server works on the job: ask for its status, show how far it is, and take in how it ended.

use std::sync::Arc;
use std::time::Duration;

use super::super::ask;
use super::super::attempt;
use super::super::clean_up::{self, JobEnd};
use super::super::end;
use super::super::flow::{Flow, Next};
use super::super::memory::{Absence, Cancelling, Checking, CleanUp, Landing, Running};
use super::super::phase::Phase;
use super::super::progress;
use super::super::stop;
use super::super::turn::Turn;
use crate::api::{ConditionType, Reason};
use crate::core::answer::{Refusal, StatusAnswer};
use crate::core::bulk::manifest::Pages;
use crate::core::condition::whole_seconds;
use crate::core::effect::{Effect, Observation};
use crate::core::landing::lists_a_file_twice;
use crate::core::manifest::Manifest;
use crate::core::planted::{Fault, planted};
use crate::core::requests;
use crate::core::retry::after;
use crate::core::wire::{Answer, Failure, FailureKind, Reply};

/// Failures in a row before the user is told: one lost answer is no news.
const TELL_AFTER: u32 = 3;
/// Refusals or nonsense in a row before the run is given up.
const GIVE_UP_AFTER: u32 = 8;
/// A status URL that the FHIR server itself does not know counts as lost after so many times `maxPollSeconds`: a replica
/// that is being deployed, or restored, may not know its jobs for a while.
const GONE_AFTER: u32 = 2;
/// A status URL that is answered with 404 or 410 by whomever counts as lost after so many times `maxPollSeconds`: an
/// ingress answers so while what lies behind it is being deployed, or moved.
const ABSENT_AFTER: u32 = 12;
/// After a restart polls are spread over at most this.
const SPREAD: Duration = Duration::from_secs(30);

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Running, seen: Observation) -> Phase {
    match seen {
        Observation::Poll(reply) => return polled(turn, memory, reply),
        Observation::Files(result) => progress::counted(turn, &mut memory, result),
        Observation::CleanedUp(reply) => {
            if let Some((_, clean_up)) = &mut memory.failed {
                clean_up::observe(turn, clean_up, reply);
            }
        }
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_) => {}
    }
    Phase::Running(memory)
}

/// Polls when it is due.
pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Running) -> Flow {
    if let Some(reason) = stop::asked_for(turn) {
        let cancelling = Cancelling { owner: memory.owner, ..Cancelling::default() };
        return Flow::Became(stop::stop(turn, reason, cancelling));
    }
    if let Some((failure, clean_up)) = &memory.failed {
        if let Some(next) = clean_up::due(turn, clean_up, JobEnd::Finished) {
            return Flow::Do(Phase::Running(memory), next);
        }
        let phase = attempt::job_failed(turn, memory.owner, failure);
        return Flow::Became(clean_up::carried(phase, *clean_up));
    }
    let deadline = turn.deadline();
    let held = ask::held(turn);
    memory.held = held.is_some();
    if let Some((reason, message)) = held {
        let message = format!("{message}; the server's job goes on meanwhile");
        turn.set_true(ConditionType::Suspended, reason, &message);
        return Flow::Do(Phase::Running(memory), Next::wait_until(&[deadline]));
    }
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
        memory.poll.next_try = Some(turn.now);
    }
    if let Some((reason, message)) = ask::server_lost(turn) {
        turn.set_false(ConditionType::ServerReachable, reason, &message);
        return Flow::Do(Phase::Running(memory), Next::wait_until(&[deadline]));
    }
    let page = memory.pages.as_ref().and_then(|pages| pages.next.clone());
    let Some(url) = page.or_else(|| turn.status.job.as_ref()?.status_url.clone()) else {
        return Flow::Do(Phase::Running(memory), Next::Rest);
    };
    if planted(Fault::ForgetToResume) && memory.poll.next_try.is_none() {
        return Flow::Do(Phase::Running(memory), Next::Rest);
    }
    let next = memory.poll.next_try.unwrap_or_else(|| {
        let spread = turn.bounds().min.max(turn.bounds().max.min(SPREAD));
        turn.later(spread.mul_f64(turn.jitter))
    });
    memory.poll.next_try = Some(next);
    if next <= turn.now {
        let request = if turn.lands() { requests::bulk_status(&url) } else { requests::status(&url) };
        return Flow::Do(Phase::Running(memory), Next::perform(Effect::Poll(request)));
    }
    if let Some(effect) = progress::look(turn, &memory) {
        return Flow::Do(Phase::Running(memory), Next::perform(effect));
    }
    Flow::Do(Phase::Running(memory), Next::wait_until(&[Some(next), deadline]))
}

/// Takes in the answer to a poll, or its absence.
fn polled(turn: &mut Turn<'_>, mut memory: Running, reply: Reply) -> Phase {
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) => {
            not_polled(turn, &mut memory, &failure);
            return Phase::Running(memory);
        }
    };
    let status = ask::status_answer(turn, &answer);
    if !matches!(status, StatusAnswer::Gone(_) | StatusAnswer::Absent(_)) {
        memory.absence = None;
    }
    match status {
        StatusAnswer::Running => {
            reachable(turn, &mut memory);
            memory.nonsense = 0;
            progress::reported(turn, &mut memory, answer.progress.as_deref());
            memory.polls = memory.polls.saturating_add(1);
            let wait = turn.poll_wait(memory.polls, memory.since_kick_off, answer.retry_after);
            memory.poll.next_try = Some(turn.later(wait));
        }
        StatusAnswer::Done => return done(turn, memory, &answer),
        StatusAnswer::JobFailed(failure) => {
            reachable(turn, &mut memory);
            let untold = CleanUp::default();
            // Some servers run one export at a time until they hear that the last one is done with: they are told before
            // the next attempt.
            if failure.transient && clean_up::due(turn, &untold, JobEnd::Finished).is_some() {
                memory.failed = Some((failure, untold));
            } else {
                return attempt::job_failed(turn, memory.owner, &failure);
            }
        }
        StatusAnswer::Gone(_) | StatusAnswer::Absent(_)
            if memory.pages.is_some() && memory.nonsense < GIVE_UP_AFTER =>
        {
            // The link to the next page, not the job: it begins anew with the first.
            memory.nonsense += 1;
            memory.pages = None;
            let wait = turn.back_off(&mut memory.poll, answer.retry_after);
            memory.poll.next_try = Some(turn.later(wait));
        }
        StatusAnswer::Gone(_) if planted(Fault::GoneIsSuccess) => {
            let empty = Answer {
                body: br#"{"transactionTime":"2026-01-01T00:00:00Z","output":[]}"#.to_vec(),
                ..Answer::default()
            };
            return done(turn, memory, &empty);
        }
        StatusAnswer::Gone(words) => return gone(turn, memory, &answer, Some(&words)),
        StatusAnswer::Absent(_) => return gone(turn, memory, &answer, None),
        StatusAnswer::NotNow(refusal) => {
            let at_once = refusal.reason != Reason::Throttled;
            refused(turn, &mut memory, &refusal, at_once);
        }
        StatusAnswer::Transient(refusal) => refused(turn, &mut memory, &refusal, false),
        StatusAnswer::Refused(refusal) => {
            memory.nonsense += 1;
            if memory.nonsense >= GIVE_UP_AFTER {
                turn.leave_job("the server refuses to tell its status");
                return end::fail(turn, Reason::StatusRefused, &refusal.message);
            }
            refused(turn, &mut memory, &refusal, false);
        }
    }
    Phase::Running(memory)
}

/// No answer came to a poll.
fn not_polled(turn: &mut Turn<'_>, memory: &mut Running, failure: &Failure) {
    let wait = match failure.kind {
        FailureKind::HeldBack { until } => {
            memory.poll.next_try = Some(until.max(turn.now));
            return;
        }
        FailureKind::Missing => turn.tuning.missing_retry,
        FailureKind::Unreachable => turn.back_off(&mut memory.poll, None),
    };
    if failure.kind == FailureKind::Missing || memory.poll.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, failure.reason, &failure.message);
    }
    memory.poll.next_try = Some(turn.later(wait));
}

fn reachable(turn: &mut Turn<'_>, memory: &mut Running) {
    memory.poll.failures = 0;
    turn.server_answered();
}

fn refused(turn: &mut Turn<'_>, memory: &mut Running, refusal: &Refusal, at_once: bool) {
    let wait = turn.back_off(&mut memory.poll, refusal.retry_after);
    if at_once || memory.poll.failures >= TELL_AFTER {
        turn.set_false(ConditionType::ServerReachable, refusal.reason, &refusal.message);
    }
    memory.poll.next_try = Some(turn.later(wait));
}

/// The status URL leads to nothing. `words` is what the FHIR server says of that; `None` if the answer may be that of an
/// ingress. That the job is lost is believed only after a while.
fn gone(turn: &mut Turn<'_>, mut memory: Running, answer: &Answer, words: Option<&str>) -> Phase {
    let absence = memory.absence.get_or_insert(Absence { since: turn.now, by_server: None });
    absence.by_server = words.map(|_| absence.by_server.unwrap_or(turn.now));
    let longest = turn.bounds().max;
    let patience = [
        Some(after(absence.since, longest * ABSENT_AFTER)),
        absence.by_server.map(|since| after(since, longest * GONE_AFTER)),
    ];
    let lost_at = patience.into_iter().flatten().min().unwrap_or(turn.now);
    let words = words.unwrap_or_default();
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    if lost_at > turn.now {
        let message = format!(
            "the server answers {} when asked for the job's status{said}; if it still does so at {}, the job counts as \
             lost",
            answer.status,
            whole_seconds(lost_at)
        );
        let refusal = Refusal { reason: Reason::JobLost, message, retry_after: None };
        refused(turn, &mut memory, &refusal, false);
        memory.poll.next_try = memory.poll.next_try.map(|due| due.min(lost_at));
        return Phase::Running(memory);
    }
    if absence.by_server.is_none() {
        turn.leave_job("its status URL leads to nothing");
    }
    reachable(turn, &mut memory);
    let unproven = attempt::unproven(turn, memory.owner);
    let message = format!(
        "the server no longer knows the job ({}{said}): somebody cancelled it, or it expired{unproven}; create a new \
         FhirExport",
        answer.status
    );
    end::fail(turn, Reason::JobLost, &message)
}

/// The job is done: its manifest says what it made, if it can be read.
fn done(turn: &mut Turn<'_>, mut memory: Running, answer: &Answer) -> Phase {
    match manifest(turn, &mut memory, answer) {
        Ok(Some(manifest)) => {
            reachable(turn, &mut memory);
            if turn.lands() {
                let tries = memory.refresh.unwrap_or_default();
                Phase::Landing(Box::new(Landing::new(manifest, tries, memory.progress_at)))
            } else {
                Phase::Checking(Box::new(Checking::new(manifest, memory.owner)))
            }
        }
        Ok(None) => {
            reachable(turn, &mut memory);
            memory.poll.next_try = Some(turn.now);
            Phase::Running(memory)
        }
        Err(what) => unreadable(turn, memory, answer, what),
    }
}

fn unreadable(turn: &mut Turn<'_>, mut memory: Running, answer: &Answer, what: &str) -> Phase {
    memory.nonsense += 1;
    let message = format!(
        "the server says that the job is done, but answers with {what} where its manifest should be; check proxies \
         on the way"
    );
    if memory.nonsense >= GIVE_UP_AFTER {
        turn.leave_job("its manifest cannot be read");
        let message = if turn.lands() {
            format!("{message}, and tell the server's owner")
        } else {
            format!("{message}, and look into the container: the files may be there")
        };
        return end::fail(turn, Reason::InvalidManifest, &message);
    }
    let refusal = Refusal { reason: Reason::UnexpectedAnswer, message, retry_after: answer.retry_after };
    let at_once = memory.nonsense >= TELL_AFTER;
    refused(turn, &mut memory, &refusal, at_once);
    Phase::Running(memory)
}

/// The whole manifest; `None` while further pages of it are to come. The error says what came instead.
fn manifest(
    turn: &Turn<'_>,
    memory: &mut Running,
    answer: &Answer,
) -> Result<Option<Manifest>, &'static str> {
    if answer.truncated {
        return Err("an answer that broke off, or that is longer than 16 MiB");
    }
    if !turn.lands() {
        return Manifest::parse(&answer.body).map(Some);
    }
    let so_far = memory.pages.take();
    let next = so_far.as_ref().and_then(|pages| pages.next.clone());
    let at = next.or_else(|| turn.status.job.as_ref()?.status_url.clone()).unwrap_or_default();
    let pages = Pages::read(so_far.as_deref(), &answer.body, &at)?;
    if pages.next.is_some() {
        memory.pages = Some(Arc::new(pages));
        return Ok(None);
    }
    if lists_a_file_twice(&pages.manifest) {
        return Err("a manifest that lists a file twice");
    }
    Ok(Some(pages.manifest))
}
