//! The attempts of a run: how one starts, how its start becomes uncertain, and how another follows a failed one.

use std::time::Duration;

use super::ask;
use super::end;
use super::memory::{Doubt, JobOwner, Running, Uncertain, Waiting};
use super::phase::Phase;
use super::turn::Turn;
use crate::api::{ConditionType, Output, Reason};
use crate::core::answer::JobFailure;
use crate::core::condition::{next_whole_second, whole_seconds};
use crate::core::effect::NoteType;
use crate::core::planted::{Fault, planted};
use crate::core::poll::retry_delay;
use crate::core::retry::{Retry, after};
use crate::core::wire::{Failure, FailureKind};
use crate::core::words;

/// The attempts beyond the first, if the spec sets no `backoffLimit`.
const BACKOFF_LIMIT: i32 = 2;

/// Moves on to a job that runs and whose status URL is known. `asked` is how long the server asks to wait before the
/// first poll. `message` goes into the conditions.
pub(super) fn started(
    turn: &mut Turn<'_>,
    url: String,
    id: Option<String>,
    owner: JobOwner,
    asked: Option<Duration>,
    message: &str,
) -> Phase {
    let now = whole_seconds(turn.now);
    if let Some(job) = turn.status.job.as_mut() {
        job.id = id;
        job.status_url = Some(url);
        job.kick_off_time = Some(now);
    }
    turn.status.accepted_time.get_or_insert(now);
    // The status names the place before the first file lands there.
    if let Some(place) = ask::place(turn) {
        turn.status.output = Some(Output {
            container: Some(place.container),
            folder: Some(place.folder),
            ..Output::default()
        });
    }
    turn.server_answered();
    turn.set_false(ConditionType::Reconciling, Reason::KickedOff, message);
    let next =
        if planted(Fault::StatusUrlLate) { turn.now } else { turn.later(turn.poll_wait(0, true, asked)) };
    let poll = Retry { failures: 0, next_try: Some(next) };
    Phase::Running(Running { owner, poll, since_kick_off: true, ..Running::default() })
}

/// The server may have started a job, but no usable answer says so. `why` is one clause.
pub(super) fn uncertain(turn: &mut Turn<'_>, doubt: Doubt, why: &str) -> Uncertain {
    let reason = match doubt {
        Doubt::Untold | Doubt::AnswerLost => Reason::AnswerLost,
        Doubt::NoStatusUrl => Reason::NoStatusURL,
    };
    let next = if turn.lands() {
        "onUncertainKickOff says what comes next"
    } else {
        "the container is searched for it"
    };
    let message = format!("{why}; a job may run unseen, and {next}");
    turn.note(NoteType::Warning, Reason::KickOffUncertain, "KickOff", &message);
    turn.set_true(ConditionType::KickOffUncertain, reason, &message);
    turn.set_true(ConditionType::Reconciling, reason, &message);
    Uncertain { doubt, search: Retry::default() }
}

/// The request never left, or was refused before it had any effect. It is tried again until the deadline and
/// does not count against `spec.backoffLimit`.
pub(super) fn not_sent(turn: &mut Turn<'_>, mut retry: Retry, failure: &Failure) -> Waiting {
    let due = match failure.kind {
        FailureKind::Missing => {
            turn.set_true(ConditionType::Reconciling, failure.reason, &failure.message);
            turn.later(turn.tuning.missing_retry)
        }
        FailureKind::HeldBack { until } => {
            // If the conditions already name what is missing in the cluster, that tells the user more.
            let starting = turn.because(ConditionType::Reconciling, Reason::Starting);
            if starting || turn.because(ConditionType::Reconciling, Reason::WaitingToRetry) {
                unreachable_for_now(turn, failure.reason, &failure.message);
            }
            until.max(turn.now)
        }
        FailureKind::Unreachable => {
            unreachable_for_now(turn, failure.reason, &failure.message);
            let wait = turn.back_off(&mut retry, None);
            turn.later(wait)
        }
    };
    retry.next_try = Some(due);
    Waiting { retry, ..Waiting::default() }
}

/// Says that the server cannot be reached, or accepts no requests, for the moment.
pub(super) fn unreachable_for_now(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    turn.set_false(ConditionType::ServerReachable, reason, message);
    turn.set_true(
        ConditionType::Reconciling,
        Reason::WaitingToRetry,
        "the export could not be started and is tried again until its deadline; ServerReachable says why",
    );
}

/// An attempt, counted in `status.attempts`, has failed for a reason that may pass: another attempt
/// follows, or the run fails.
pub(super) fn try_again(turn: &mut Turn<'_>, reason: Reason, message: &str) -> Phase {
    let attempts = turn.status.attempts.unwrap_or(0);
    let limit = turn.spec().backoff_limit.unwrap_or(BACKOFF_LIMIT);
    turn.status.last_failure_time = Some(whole_seconds(turn.now));
    if attempts > limit {
        let times = if attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") };
        let message = format!("{message}; given up after {times} (backoffLimit {limit})");
        return end::fail(turn, reason, &advised(&message, reason));
    }
    let wait = retry_delay(turn.tuning.retry_base, turn.tuning.retry_max, attempts, turn.jitter);
    let due = next_whole_second(after(turn.now, wait));
    turn.status.next_attempt_time = Some(due);
    turn.set_true(
        ConditionType::Reconciling,
        Reason::WaitingToRetry,
        &format!("attempt {attempts} of {} failed: {message}; the next begins at {}", limit + 1, due),
    );
    Phase::Waiting(Waiting::default())
}

/// The attempt of the job in the status has failed for a reason that may pass. After the last attempt, the
/// job and its output stay in the status, where users look for them.
pub(super) fn retire_and_try_again(
    turn: &mut Turn<'_>,
    owner: JobOwner,
    reason: Reason,
    message: &str,
) -> Phase {
    let (job, output) = (turn.status.job.clone(), turn.status.output.clone());
    let previous_jobs = turn.status.previous_jobs.clone();
    turn.retire_job(reason, owner);
    let phase = try_again(turn, reason, message);
    if matches!(phase, Phase::Ended(_)) {
        turn.status.job = job;
        turn.status.output = output;
        turn.status.previous_jobs = previous_jobs;
    }
    phase
}

/// The server says that the job failed: another attempt where that may help, else the end.
pub(super) fn job_failed(turn: &mut Turn<'_>, owner: JobOwner, failure: &JobFailure) -> Phase {
    let unproven = unproven(turn, owner);
    let message = format!(
        "{} (the server says: {}){unproven}",
        words::clause(failure.reason.meaning()),
        failure.words.trim_end_matches('.')
    );
    if failure.transient {
        retire_and_try_again(turn, owner, failure.reason, &message)
    } else {
        end::fail(turn, failure.reason, &advised(&message, failure.reason))
    }
}

/// What to say of an adopted job that ended without a manifest. Nothing proves whose job it was, so our own
/// may still run and is added to `unsettledJobs`. Empty for a job that is known to be ours.
pub(super) fn unproven(turn: &mut Turn<'_>, owner: JobOwner) -> &'static str {
    match owner {
        JobOwner::Own => "",
        JobOwner::Adopted => {
            turn.leave_unseen_job();
            "; nothing proves that this job was the export's own, so another one may run on the server unseen"
        }
    }
}

/// The message, followed by the next step for the user unless that step is to read the message.
fn advised(message: &str, reason: Reason) -> String {
    let advice = words::clause(reason.advice());
    let next = advice.split_once("in the message").map_or(advice.as_str(), |(_, next)| next);
    let next = next.trim_start_matches([';', ' ']);
    if next.is_empty() { message.to_owned() } else { format!("{message}; {next}") }
}
