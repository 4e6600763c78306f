//! What becomes of a kick-off: a job, a refusal, another try, or uncertainty.

use super::turn::after;
use super::{Turn, finish, landing, orphan, server_view};
use crate::api::{ConditionType, Dialect, Output, Reason};
use crate::core::answer::{self, KickOffAnswer, Refusal};
use crate::core::bulk;
use crate::core::condition::{next_whole_second, whole_seconds};
use crate::core::effect::NoteType;
use crate::core::planted::{Fault, planted};
use crate::core::poll::retry_delay;
use crate::core::wire::{Failure, FailureKind, Reply, Sent};

/// Attempts beyond the first, where the spec says nothing.
const BACKOFF_LIMIT: i32 = 2;

/// Whether a request could be sent.
pub(super) fn authorized(turn: &mut Turn<'_>, result: Result<(), Failure>) {
    match result {
        Ok(()) => turn.memory.authorized_at = Some(turn.now),
        Err(failure) => not_sent(turn, &failure),
    }
}

/// The answer to the kick-off, or its absence.
pub(super) fn answered(turn: &mut Turn<'_>, reply: Reply) {
    turn.memory.authorized_at = None;
    if turn.status.job.as_ref().is_none_or(|job| job.status_url.is_some()) {
        return;
    }
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) if failure.sent == Sent::No => {
            turn.status.job = None;
            return not_sent(turn, &failure);
        }
        Err(failure) => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &failure.message);
            return orphan::lost(turn, &failure.message);
        }
    };
    let meaning = if turn.lands() { bulk::answer::kick_off(&answer) } else { answer::kick_off(&answer) };
    match meaning {
        KickOffAnswer::Accepted(location) => {
            answers(turn);
            if let Some(job) = turn.status.job.as_mut().filter(|_| answer.separate_status) {
                job.separate_status = Some(true);
            }
            accepted(turn, location.as_deref());
        }
        KickOffAnswer::Uncertain(why) => {
            let failed = answer.status >= 500;
            let reason = if failed { Reason::ServerError } else { Reason::UnexpectedAnswer };
            turn.set_false(ConditionType::ServerReachable, reason, &why);
            orphan::lost(turn, &why);
        }
        KickOffAnswer::Rejected(refusal) => {
            answers(turn);
            turn.status.job = None;
            finish::failed(
                turn,
                refusal.reason,
                &format!("{}; correct the request in a new FhirExport", refusal.message),
            );
        }
        KickOffAnswer::Failed(refusal) => {
            answers(turn);
            turn.status.job = None;
            turn.status.attempts = Some(turn.status.attempts.unwrap_or(0) + 1);
            try_again(turn, refusal.reason, &refusal.message);
        }
        KickOffAnswer::NotNow(refusal) => {
            turn.status.job = None;
            not_now(turn, &refusal);
        }
    }
}

/// Whatever it says, the server is there.
pub(super) fn answers(turn: &mut Turn<'_>) {
    turn.set_true(ConditionType::ServerReachable, Reason::Reachable, "the server answers");
}

fn accepted(turn: &mut Turn<'_>, location: Option<&str>) {
    let Some(location) = location else {
        return orphan::no_status_url(
            turn,
            "the server accepted the export without a Content-Location header",
        );
    };
    // The kick-off went to the URL in the status, whatever became of the FhirServer meanwhile.
    let sent_to = turn.status.server.as_ref().map(|server| server.url.clone()).unwrap_or_default();
    let status_url = match turn.server().filter(|server| server.spec().url == sent_to) {
        Some(server) => server.status_url(location),
        None => server_view::status_url(&sent_to, Dialect::Azure, &[], location),
    };
    let Some((url, id)) = status_url else {
        return orphan::no_status_url(
            turn,
            "the server accepted the export, but its Content-Location names no job on this server or its trustedOrigins",
        );
    };
    let message = match &id {
        Some(id) => format!("the server accepted the export as job {id}"),
        None => "the server accepted the export".to_owned(),
    };
    turn.note(NoteType::Normal, Reason::KickedOff, "KickOff", &message);
    turn.status.attempts = Some(turn.status.attempts.unwrap_or(0) + 1);
    started(turn, url, id, &message);
    turn.remove(ConditionType::KickOffUncertain);
}

/// A job runs, and its status URL is known.
pub(super) fn started(turn: &mut Turn<'_>, url: String, id: Option<String>, message: &str) {
    let now = whole_seconds(turn.now);
    if let Some(job) = turn.status.job.as_mut() {
        job.id = id;
        job.status_url = Some(url);
        job.kick_off_time = Some(now);
    }
    turn.status.accepted_time.get_or_insert(now);
    // Where files are to land is known before the first of them does.
    if let Some(place) = landing::place(turn) {
        turn.status.output = Some(Output {
            container: Some(place.container),
            folder: Some(place.folder),
            ..Output::default()
        });
    }
    answers(turn);
    turn.set_false(ConditionType::Reconciling, Reason::KickedOff, message);
    turn.state("Running");
    turn.memory.failures = 0;
    turn.memory.nonsense = 0;
    turn.memory.polls = 0;
    let next = turn.later(turn.bounds().min);
    turn.memory.next_poll = Some(if planted(Fault::StatusUrlLate) { turn.now } else { next });
}

/// The request never left: it is tried again until the deadline, and does not count.
fn not_sent(turn: &mut Turn<'_>, failure: &Failure) {
    turn.state("Waiting");
    let due = match failure.kind {
        FailureKind::Missing => {
            turn.set_true(ConditionType::Reconciling, failure.reason, &failure.message);
            turn.later(turn.tuning.missing_retry)
        }
        FailureKind::HeldBack { until } => {
            // What is missing in the cluster is the better news.
            let starting = turn.because(ConditionType::Reconciling, Reason::Starting);
            if starting || turn.because(ConditionType::Reconciling, Reason::WaitingToRetry) {
                unreachable_for_now(turn, failure.reason, &failure.message);
            }
            until.max(turn.now)
        }
        FailureKind::Unreachable => {
            unreachable_for_now(turn, failure.reason, &failure.message);
            let wait = turn.back_off(None);
            turn.later(wait)
        }
    };
    turn.memory.retry_at = Some(due);
}

fn unreachable_for_now(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    turn.set_false(ConditionType::ServerReachable, reason, message);
    turn.set_true(
        ConditionType::Reconciling,
        Reason::WaitingToRetry,
        "the export could not be started and is tried again until its deadline; ServerReachable says why",
    );
}

/// A matter of access or patience: tried again slowly until the deadline, without counting.
fn not_now(turn: &mut Turn<'_>, refusal: &Refusal) {
    turn.state("Waiting");
    unreachable_for_now(turn, refusal.reason, &refusal.message);
    let wait = turn.back_off(refusal.retry_after);
    turn.status.next_attempt_time = Some(next_whole_second(turn.later(wait)));
}

/// An attempt ended, `status.attempts` counts it, and its cause may pass: another one, or the end.
pub(super) fn try_again(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    let attempts = turn.status.attempts.unwrap_or(0);
    let limit = turn.spec().backoff_limit.unwrap_or(BACKOFF_LIMIT);
    turn.status.last_failure_time = Some(whole_seconds(turn.now));
    if attempts > limit {
        let times = if attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") };
        let message = format!("{message}; given up after {times} (backoffLimit {limit})");
        return finish::failed(turn, reason, &super::poll::advised(&message, reason));
    }
    let wait = retry_delay(turn.tuning.retry_base, turn.tuning.retry_max, attempts, turn.jitter);
    let due = next_whole_second(after(turn.now, wait));
    turn.status.next_attempt_time = Some(due);
    turn.set_true(
        ConditionType::Reconciling,
        Reason::WaitingToRetry,
        &format!("attempt {attempts} of {} failed: {message}; the next begins at {}", limit + 1, due),
    );
    turn.state("Waiting");
    turn.memory = super::Memory::default();
}
