//! Before the kick-off: everything that can hold a run back, in the order that matters most to users.

use std::time::Duration;

use jiff::Timestamp;

use super::super::admittance::{self, NotNow, leave_queue};
use super::super::ask;
use super::super::attempt;
use super::super::end;
use super::super::flow::{Flow, Next};
use super::super::memory::{Leaving, Starting, Waiting, WaitsFor};
use super::super::phase::Phase;
use super::super::server_view::ServerView;
use super::super::status::queued_since;
use super::super::turn::Turn;
use crate::api::{ConditionType, Job, Reason, ServerIdentity};
use crate::core::condition;
use crate::core::effect::{Check, Effect, Observation};
use crate::core::retry::after;
use crate::core::server::reach_request;
use crate::core::wire::Request;

/// How long a token counts as available after it was obtained, between the check and the kick-off.
const AUTHORIZED_FOR: Duration = Duration::from_secs(30);

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Waiting, seen: Observation) -> Phase {
    match seen {
        Observation::Authorized(Ok(())) => {
            memory.authorized_at = Some(turn.now);
            memory.unreached = false;
        }
        Observation::Authorized(Err(failure)) => {
            let Waiting { authorized_at, unreached, .. } = memory;
            memory = Waiting { authorized_at, unreached, ..attempt::not_sent(turn, memory.retry, &failure) };
        }
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::KickOff(_)
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
        | Observation::CleanedUp(_) => {}
    }
    Phase::Waiting(memory)
}

pub(super) fn decide(turn: &mut Turn<'_>, memory: Waiting) -> Flow {
    if turn.deleting() {
        return Flow::Became(Phase::Leaving(Leaving::default()));
    }
    if turn.cancel_requested() {
        return Flow::Became(end::fail(turn, Reason::Cancelled, "cancelled before a job was started"));
    }
    let window = start_window(turn);
    if window.is_some_and(|end| end <= turn.now) {
        let message = "the export could not start before kickOffBefore; create a new FhirExport if the data is still \
            wanted";
        return Flow::Became(end::fail(turn, Reason::StartWindowMissed, message));
    }
    if let Some((reason, message)) = ask::held(turn) {
        leave_queue(turn);
        turn.set_true(ConditionType::Suspended, reason, &message);
        turn.set_false(ConditionType::Reconciling, reason, &message);
        return wait(memory, WaitsFor::Resume, &[window]);
    }
    admittance::resume(turn);
    // The clock stands still in the queue, also for a run that lost its place while it was held.
    let deadline = turn.deadline().filter(|_| queued_since(&turn.status).is_none());
    if deadline.is_some_and(|end| end <= turn.now) {
        return Flow::Became(too_late(turn));
    }
    let server = match admittance::usable_server(turn) {
        Ok(server) => server,
        Err(wake) => return wait(memory, WaitsFor::Obstacle, &[window, deadline, wake]),
    };
    let request = match admittance::accept(turn, &server) {
        Ok(request) => request,
        Err(NotNow::Never(reason, message)) => return Flow::Became(end::fail(turn, reason, &message)),
        Err(NotNow::Refused) => return wait(memory, WaitsFor::Obstacle, &[window, deadline]),
    };
    if !turn.facts.place {
        admittance::queue(turn, &server);
        // A run that gives up its place wakes the next one; this look covers a wake-up that was missed.
        let look = turn.later(turn.tuning.poll_ceiling);
        return wait(memory, WaitsFor::Place, &[window, Some(look)]);
    }
    let due = turn.status.next_attempt_time.max(memory.retry.next_try).filter(|due| *due > turn.now);
    if due.is_some() {
        let queued = queued_since(&turn.status).is_some();
        leave_queue(turn);
        if !turn.is_true(ConditionType::Reconciling) || queued {
            let message = "the last try failed and the next is due later";
            turn.set_true(ConditionType::Reconciling, Reason::WaitingToRetry, message);
        }
        let deadline = turn.deadline();
        return wait(memory, WaitsFor::Obstacle, &[due, window, deadline]);
    }
    start(turn, memory, &server, request)
}

fn wait(memory: Waiting, waits_for: WaitsFor, moments: &[Option<Timestamp>]) -> Flow {
    Flow::Do(Phase::Waiting(Waiting { waits_for, ..memory }), Next::wait_until(moments))
}

/// The end of the start window. `kickOffBefore` applies until the server has accepted a first job; later
/// kick-offs are new attempts.
fn start_window(turn: &Turn<'_>) -> Option<Timestamp> {
    turn.spec().kick_off_before.filter(|_| turn.status.accepted_time.is_none())
}

fn too_late(turn: &mut Turn<'_>) -> Phase {
    let message = match condition::find(&turn.status.conditions, ConditionType::ServerReachable) {
        Some(c) if !c.is_true() => {
            format!("the export did not start before its deadline; the last try said: {}", c.message)
        }
        _ => "the export did not start before its deadline; raise activeDeadlineSeconds in a new FhirExport"
            .to_owned(),
    };
    end::fail(turn, Reason::DeadlineExceeded, &message)
}

/// Leaves the queue, then obtains credentials, adds the finalizer and writes the intent, each in a turn of its own.
fn start(turn: &mut Turn<'_>, memory: Waiting, server: &ServerView<'_>, request: Request) -> Flow {
    let now = condition::whole_seconds(turn.now);
    leave_queue(turn);
    turn.status.start_time.get_or_insert(now);
    turn.set_true(ConditionType::Reconciling, Reason::Starting, "the kick-off is about to be sent");
    let memory = Waiting { waits_for: WaitsFor::Obstacle, ..memory };
    if memory.unreached || memory.authorized_at.is_none_or(|at| after(at, AUTHORIZED_FOR) <= turn.now) {
        let reach = memory.unreached.then(|| reach_request(server.spec()));
        let check = Check { patients: request.patients, reach };
        return Flow::Do(Phase::Waiting(memory), Next::perform(Effect::Authorize(check)));
    }
    if !turn.has_finalizer() {
        return Flow::Do(Phase::Waiting(memory), Next::perform(Effect::AddFinalizer));
    }
    turn.status.next_attempt_time = None;
    turn.status.server = Some(ServerIdentity { uid: server.uid(), url: server.spec().url.clone() });
    turn.status.job = Some(Job {
        id: None,
        status_url: None,
        intent_time: now,
        kick_off_time: None,
        progress: None,
        separate_status: None,
        destination: ask::new_destination(turn, now),
    });
    let mut retry = memory.retry;
    retry.next_try = None;
    // After a lost answer, a server that returns a job that already runs returns the right one.
    let no_cache = turn.lands() && !turn.is_true(ConditionType::KickOffUncertain);
    let kick_off = Some(Request { no_cache, ..request });
    Flow::Became(Phase::Starting(Starting { kick_off, retry }))
}
