//! The answer to a poll: what it says about the job, and how long a job may be absent before it counts as lost.

use super::ask;
use super::attempt;
use super::clean_up::{self, JobEnd};
use super::end;
use super::manifest_answer::done;
use super::memory::{Absence, CleanUp, Running};
use super::phase::Phase;
use super::poll_failure::{GIVE_UP_AFTER, not_polled, reachable, refused};
use super::progress;
use super::turn::Turn;
use crate::api::Reason;
use crate::core::answer::{Refusal, StatusAnswer};
use crate::core::condition::whole_seconds;
use crate::core::planted::{Fault, planted};
use crate::core::retry::after;
use crate::core::wire::{Answer, Reply};

/// A job counts as lost once the FHIR server itself has not known its status URL for this many times
/// `maxPollSeconds`: a replica that is being deployed or restored may not know its jobs for a while.
const GONE_AFTER: u32 = 2;
/// A job counts as lost once its status URL has been answered with 404 or 410 for this many times `maxPollSeconds`,
/// even if the answers need not come from the FHIR server: an ingress answers like this while the server behind it is
/// deployed or moved.
const ABSENT_AFTER: u32 = 12;

/// Takes in the answer to a poll, or its absence.
pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Running, reply: Reply) -> Phase {
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
            // Some servers run one export at a time until they are told that the last one is no longer
            // needed. They are told before the next attempt.
            if failure.transient && clean_up::due(turn, &untold, JobEnd::Finished).is_some() {
                memory.failed = Some((failure, untold));
            } else {
                return attempt::job_failed(turn, memory.owner, &failure);
            }
        }
        StatusAnswer::Gone(_) | StatusAnswer::Absent(_)
            if memory.pages.is_some() && memory.nonsense < GIVE_UP_AFTER =>
        {
            // The link to the next page leads to nothing, not the status URL: fetching restarts with the first page.
            memory.nonsense += 1;
            memory.pages = None;
            let wait = turn.back_off(&mut memory.poll, answer.retry_after);
            memory.poll.next_try = Some(turn.later(wait));
        }
        StatusAnswer::Gone(_) if planted(Fault::GoneIsSuccess) => {
            let empty = Answer {
                body: r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[]}"#.into(),
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

/// The status URL leads to nothing. `words` is what the FHIR server says about that; `None` if the answer may
/// come from an ingress. The job counts as lost only after a while.
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
