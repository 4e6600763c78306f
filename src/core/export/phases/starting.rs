//! The intent is written and the kick-off is being sent: its answer leads to a job, a refusal, another try, or doubt.

use std::time::Duration;

use super::super::attempt;
use super::super::end;
use super::super::flow::{Flow, Next};
use super::super::memory::{Doubt, JobOwner, Starting, Uncertain, Waiting};
use super::super::phase::Phase;
use super::super::server_view;
use super::super::turn::Turn;
use crate::api::{ConditionType, Dialect, Reason};
use crate::core::answer::{self, KickOffAnswer, Refusal};
use crate::core::bulk;
use crate::core::condition::next_whole_second;
use crate::core::effect::{Effect, NoteType, Observation};
use crate::core::retry::Retry;
use crate::core::wire::{FailureKind, Reply, Sent};

pub(super) fn observe(turn: &mut Turn<'_>, memory: Starting, seen: Observation) -> Phase {
    match seen {
        Observation::KickOff(reply) => answered(turn, memory.retry, reply),
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::Poll(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Files(_)
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::ManifestStored(_)
        | Observation::CleanedUp(_) => Phase::Starting(memory),
    }
}

pub(super) fn decide(memory: Starting) -> Flow {
    match memory.kick_off {
        Some(request) => {
            let memory = Starting { kick_off: None, ..memory };
            Flow::Do(Phase::Starting(memory), Next::perform(Effect::KickOff(request)))
        }
        // The kick-off was handed out, and no answer to it was observed.
        None => Flow::Became(Phase::Uncertain(Uncertain { doubt: Doubt::Untold, search: Retry::default() })),
    }
}

/// Takes in the answer to the kick-off, or its absence.
fn answered(turn: &mut Turn<'_>, retry: Retry, reply: Reply) -> Phase {
    let answer = match reply {
        Ok(answer) => answer,
        Err(failure) if failure.sent == Sent::No => {
            turn.status.job = None;
            let unreached = matches!(failure.kind, FailureKind::Unreachable);
            return Phase::Waiting(Waiting { unreached, ..attempt::not_sent(turn, retry, &failure) });
        }
        Err(failure) => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &failure.message);
            return Phase::Uncertain(attempt::uncertain(turn, Doubt::AnswerLost, &failure.message));
        }
    };
    let meaning = if turn.lands() { bulk::answer::kick_off(&answer) } else { answer::kick_off(&answer) };
    match meaning {
        KickOffAnswer::Accepted(location) => {
            turn.server_answered();
            if let Some(job) = turn.status.job.as_mut().filter(|_| answer.separate_status) {
                job.separate_status = Some(true);
            }
            accepted(turn, location.as_deref(), answer.retry_after)
        }
        KickOffAnswer::Uncertain(why) => {
            let failed = answer.status >= 500;
            let reason = if failed { Reason::ServerError } else { Reason::UnexpectedAnswer };
            turn.set_false(ConditionType::ServerReachable, reason, &why);
            Phase::Uncertain(attempt::uncertain(turn, Doubt::AnswerLost, &why))
        }
        KickOffAnswer::Rejected(refusal) => {
            turn.server_answered();
            turn.status.job = None;
            let message = format!("{}; correct the request in a new FhirExport", refusal.message);
            end::fail(turn, refusal.reason, &message)
        }
        KickOffAnswer::Failed(refusal) => {
            turn.server_answered();
            turn.status.job = None;
            turn.count_attempt();
            attempt::try_again(turn, refusal.reason, &refusal.message)
        }
        KickOffAnswer::NotNow(refusal) => {
            turn.status.job = None;
            Phase::Waiting(not_now(turn, retry, &refusal))
        }
    }
}

/// The server accepted the kick-off, and asks to wait for `asked` before the first poll.
fn accepted(turn: &mut Turn<'_>, location: Option<&str>, asked: Option<Duration>) -> Phase {
    let Some(location) = location else {
        let why = "the server accepted the export without a Content-Location header";
        return Phase::Uncertain(attempt::uncertain(turn, Doubt::NoStatusUrl, why));
    };
    // The kick-off was sent to the URL in the status, even if the FhirServer has changed since.
    let sent_to = turn.status.server.as_ref().map(|server| server.url.clone()).unwrap_or_default();
    let status_url = match turn.server().filter(|server| server.spec().url == sent_to) {
        Some(server) => server.status_url(location),
        None => server_view::status_url(&sent_to, Dialect::Azure, &[], location),
    };
    let Some((url, id)) = status_url else {
        let why = "the server accepted the export, but its Content-Location names no job on this server or its \
            trustedOrigins";
        return Phase::Uncertain(attempt::uncertain(turn, Doubt::NoStatusUrl, why));
    };
    let message = match &id {
        Some(id) => format!("the server accepted the export as job {id}"),
        None => "the server accepted the export".to_owned(),
    };
    turn.note(NoteType::Normal, Reason::KickedOff, "KickOff", &message);
    turn.count_attempt();
    let running = attempt::started(turn, url, id, JobOwner::Own, asked, &message);
    turn.remove(ConditionType::KickOffUncertain);
    running
}

/// The server denies access or asks for patience: the kick-off is tried again until the deadline,
/// without counting an attempt.
fn not_now(turn: &mut Turn<'_>, mut retry: Retry, refusal: &Refusal) -> Waiting {
    attempt::unreachable_for_now(turn, refusal.reason, &refusal.message);
    let wait = turn.back_off(&mut retry, refusal.retry_after);
    turn.status.next_attempt_time = Some(next_whole_second(turn.later(wait)));
    Waiting { retry, ..Waiting::default() }
}
