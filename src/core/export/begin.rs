//! From a new object to the kick-off: everything that can hold it back, in the order in which a user would
//! want to hear of it.

use jiff::Timestamp;

use super::{Step, Turn, finish, plan};
use crate::api::{ConditionType, Dialect, Job, Level, Reason, ServerIdentity};
use crate::core::allow;
use crate::core::condition;
use crate::core::effect::Effect;
use crate::core::wire::Request;

use super::server_view::ServerView;
use super::turn::after;

/// For so long a token in hand is taken for granted, between the check and the kick-off.
const AUTHORIZED_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// No job yet: go on towards one.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let window = start_window(&turn);
    if window.is_some_and(|end| end <= turn.now) {
        let message = "the export could not start before kickOffBefore; create a new FhirExport if the data is still wanted";
        return finish::fail(turn, Reason::StartWindowMissed, message);
    }
    if let Some((reason, message)) = held(&turn) {
        leave_queue(&mut turn);
        turn.set_true(ConditionType::Suspended, reason, &message);
        turn.set_false(ConditionType::Reconciling, reason, &message);
        turn.state("Suspended");
        return turn.wait_until(&[window]);
    }
    resume(&mut turn);
    // In the queue the clock stands still, also for one that lost its place while it was held.
    let deadline = turn.deadline().filter(|_| super::queued_since(&turn.status).is_none());
    if deadline.is_some_and(|end| end <= turn.now) {
        let message = match condition::find(&turn.status.conditions, ConditionType::ServerReachable) {
            Some(c) if !c.is_true() => format!("the export did not start before its deadline; the last try said: {}", c.message),
            _ => "the export did not start before its deadline; raise activeDeadlineSeconds in a new FhirExport".to_owned(),
        };
        return finish::fail(turn, Reason::DeadlineExceeded, &message);
    }
    let server = match usable_server(&mut turn) {
        Ok(server) => server,
        Err(wake) => return turn.wait_until(&[window, deadline, wake]),
    };
    let request = match accept(&mut turn, &server) {
        Ok(request) => request,
        Err(Verdict::Never(reason, message)) => return finish::fail(turn, reason, &message),
        Err(Verdict::NotNow) => return turn.wait_until(&[window, deadline]),
    };
    if !turn.facts.place {
        queue(&mut turn, &server);
        // Whoever leaves a place wakes the next; this is for what nobody thought of.
        let look = turn.later(turn.tuning.poll_ceiling);
        return turn.wait_until(&[window, Some(look)]);
    }
    let due = turn.status.next_attempt_time.max(turn.memory.retry_at).filter(|due| *due > turn.now);
    if due.is_some() {
        leave_queue(&mut turn);
        if !turn.is_true(ConditionType::Reconciling) || super::queued_since(&turn.status).is_some() {
            let message = "the last try failed and the next is due later";
            turn.set_true(ConditionType::Reconciling, Reason::WaitingToRetry, message);
            turn.state("Waiting");
        }
        let deadline = turn.deadline();
        return turn.wait_until(&[due, window, deadline]);
    }
    start(turn, &server, request)
}

/// `kickOffBefore` counts until the server accepted a first job: what comes later is a new attempt.
fn start_window(turn: &Turn<'_>) -> Option<Timestamp> {
    turn.spec().kick_off_before.filter(|_| turn.status.accepted_time.is_none())
}

/// Whether somebody holds the run, before or after its start.
pub(super) fn held(turn: &Turn<'_>) -> Option<(Reason, String)> {
    if turn.spec().suspend == Some(true) {
        return Some((Reason::Suspended, "held by spec.suspend; set it to false to go on".to_owned()));
    }
    let server = turn.server().filter(|s| s.spec().suspend == Some(true))?;
    let message = format!("held by spec.suspend of FhirServer {}; ask its owner", server.name());
    Some((Reason::ServerSuspended, message))
}

/// The clock stood still while the run was held: its start moves on by that time.
fn resume(turn: &mut Turn<'_>) {
    let Some(held_since) = condition::find(&turn.status.conditions, ConditionType::Suspended)
        .filter(|c| c.is_true())
        .map(|c| c.last_transition_time)
    else {
        return;
    };
    stood_still(turn, held_since);
    turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
}

/// So did it while the run waited for a place.
fn leave_queue(turn: &mut Turn<'_>) {
    if let Some(queued_since) = super::queued_since(&turn.status) {
        stood_still(turn, queued_since);
    }
}

fn stood_still(turn: &mut Turn<'_>, since: Timestamp) {
    if let Some(start) = turn.status.start_time {
        let wait = std::time::Duration::try_from(turn.now.duration_since(since)).unwrap_or_default();
        turn.status.start_time = Some(after(start, wait).min(turn.now));
    }
}

/// The server, if the run may use it; else when to look again.
fn usable_server<'a>(turn: &mut Turn<'a>) -> Result<ServerView<'a>, Option<Timestamp>> {
    let (namespace, name) = turn.server_name();
    let Some(server) = turn.server() else {
        let message =
            format!("no FhirServer \"{name}\" in namespace {namespace}; the export starts when it exists");
        wait_for(turn, Reason::ServerNotFound, &message);
        return Err(Some(turn.later(turn.tuning.poll_ceiling)));
    };
    if server.deleting() {
        let message =
            format!("FhirServer {namespace}/{name} is being deleted; the export starts when it exists anew");
        wait_for(turn, Reason::ServerDeleting, &message);
        return Err(None);
    }
    if !turn.facts.namespace_admitted {
        let own = turn.export().metadata.namespace.as_deref().unwrap_or_default();
        let message = format!(
            "FhirServer {namespace}/{name} does not admit exports of namespace {own}; ask its owner to add it to spec.consumers"
        );
        refuse(turn, Reason::NamespaceNotAllowed, &message);
        // Labels of namespaces are not watched.
        return Err(Some(turn.later(turn.tuning.missing_retry)));
    }
    if server.spec().dialect == Dialect::BulkData && !server.probed() {
        // How the server wants to be asked is found out by the probe, which comes within moments.
        let message = format!("waits for the first look at FhirServer {namespace}/{name}");
        wait_for(turn, Reason::Probing, &message);
        return Err(Some(turn.later(turn.tuning.missing_retry)));
    }
    if let Some((reason, message)) = server.known_problem(&turn.spec().request) {
        let message = format!("FhirServer {namespace}/{name} is not ready: {message}");
        wait_for(turn, reason, &message);
        return Err(Some(turn.later(turn.tuning.poll_ceiling)));
    }
    Ok(server)
}

/// Why a request does not go out.
enum Verdict {
    /// It never will.
    Never(Reason, String),
    /// It may when something changes; the conditions say what.
    NotNow,
}

/// Whether the request may be sent as it is.
fn accept(turn: &mut Turn<'_>, server: &ServerView<'_>) -> Result<Request, Verdict> {
    let request = &turn.spec().request;
    if !turn.is_true(ConditionType::Accepted)
        && let Err(errors) = turn.export().validate_cel()
    {
        // Objects can be older than a rule of the schema.
        let first =
            errors.iter().next().map(|e| format!("{}: {}", e.field_path, e.message)).unwrap_or_default();
        return Err(Verdict::Never(Reason::InvalidSpec, format!("{first}; correct it in a new FhirExport")));
    }
    let planned = plan::kick_off(server.object(), request, &turn.namespace())
        .map_err(|m| Verdict::Never(Reason::UnsupportedByServer, m))?;
    if let Err(why) = allow::admits_request(server.spec(), request) {
        refuse(
            turn,
            Reason::NotAllowed,
            &format!("FhirServer {} does not allow this export: {why}", server.name()),
        );
        return Err(Verdict::NotNow);
    }
    let fhir = turn.facts.server.as_ref().and_then(|s| s.status.as_ref()?.fhir_version.as_deref());
    let version = fhir.map(|v| format!(" (FHIR {v})")).unwrap_or_default();
    let message = format!("FhirServer {} allows this export{version}{}", server.name(), caveats(turn));
    turn.set_true(ConditionType::Accepted, Reason::Allowed, &message);
    turn.remove(ConditionType::Stalled);
    Ok(planned)
}

/// What a user should know of the data before relying on it.
fn caveats(turn: &Turn<'_>) -> String {
    let request = &turn.spec().request;
    if request.level == Level::System {
        return String::new();
    }
    let mut text = format!("; a {} export may hold a resource more than once", request.level.as_str());
    if request.level == Level::Group {
        text.push_str(" and does not hold the Group itself");
    }
    if request.since.is_some() {
        text.push_str("; with since, new resources of patients that did not change may be missing: level System with types has them");
    }
    text
}

/// The run waits for something in the cluster that somebody will put right.
fn wait_for(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    leave_queue(turn);
    turn.set_true(ConditionType::Reconciling, reason, message);
    turn.remove(ConditionType::Stalled);
    turn.state("Waiting");
}

/// The server's owner does not want this export.
fn refuse(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    leave_queue(turn);
    turn.set_false(ConditionType::Accepted, reason, message);
    turn.set_true(ConditionType::Stalled, reason, message);
    turn.set_false(ConditionType::Reconciling, reason, message);
    turn.state("Waiting");
}

fn queue(turn: &mut Turn<'_>, server: &ServerView<'_>) {
    // No position: it would have to be written anew for everybody whenever one run ends.
    let message = format!(
        "waits for one of the {} places of FhirServer {}{}, {}first come first served",
        server.max_concurrent(),
        server.name(),
        if turn.spec().request.level == Level::Group {
            format!(" ({} for each group)", server.max_concurrent_per_group())
        } else {
            String::new()
        },
        if server.spec().consumers.is_some() { "namespaces in turn and each " } else { "" }
    );
    turn.set_true(ConditionType::Reconciling, Reason::Queued, &message);
    turn.state("Queued");
}

/// Out of the queue: credentials, finalizer, intent, kick-off, each on its own.
fn start(mut turn: Turn<'_>, server: &ServerView<'_>, request: Request) -> Step {
    let now = condition::whole_seconds(turn.now);
    leave_queue(&mut turn);
    turn.status.start_time.get_or_insert(now);
    turn.set_true(ConditionType::Reconciling, Reason::Starting, "the kick-off is about to be sent");
    let authorized = turn.memory.authorized_at.is_some_and(|at| after(at, AUTHORIZED_FOR) > turn.now);
    if !authorized {
        return turn.perform(Effect::Authorize(request.patients));
    }
    if !turn.has_finalizer() {
        return turn.perform(Effect::AddFinalizer);
    }
    turn.memory.retry_at = None;
    turn.status.next_attempt_time = None;
    turn.status.server = Some(ServerIdentity { uid: server.uid(), url: server.spec().url.clone() });
    turn.status.job = Some(Job {
        id: None,
        status_url: None,
        intent_time: now,
        kick_off_time: None,
        progress: None,
        separate_status: None,
    });
    turn.state("Starting");
    turn.perform(Effect::KickOff(request))
}
