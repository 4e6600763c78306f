//! Whether a run may start: its server exists, admits it, supports what it asks for, and has a place for it.

use std::time::Duration;

use jiff::Timestamp;

use super::server_view::ServerView;
use super::status::queued_since;
use super::turn::Turn;
use crate::api::{ConditionType, Dialect, Level, Reason};
use crate::core::allow;
use crate::core::condition;
use crate::core::kick_off;
use crate::core::retry::after;
use crate::core::rules;
use crate::core::wire::Request;

/// The longest time between two looks at a refused export.
const LONGEST_REFUSAL: Duration = Duration::from_mins(5);

/// Why a kick-off is not sent.
pub(super) enum NotNow {
    /// The kick-off will never be sent: the reason and one sentence.
    Never(Reason, String),
    /// The server's owner does not allow it. It may be sent when something changes; the conditions say what.
    Refused,
}

/// Takes the run out of suspension, and moves its start time on by the time that it was held.
pub(super) fn resume(turn: &mut Turn<'_>) {
    let Some(held_since) = condition::find(&turn.status.conditions, ConditionType::Suspended)
        .filter(|c| c.is_true())
        .map(|c| c.last_transition_time)
    else {
        return;
    };
    stood_still(turn, held_since);
    turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
}

/// Takes the run out of the queue, and moves its start time on by the time that it waited for a place.
pub(super) fn leave_queue(turn: &mut Turn<'_>) {
    if let Some(queued_since) = queued_since(&turn.status) {
        stood_still(turn, queued_since);
    }
}

fn stood_still(turn: &mut Turn<'_>, since: Timestamp) {
    if let Some(start) = turn.status.start_time {
        let wait = Duration::try_from(turn.now.duration_since(since)).unwrap_or_default();
        turn.status.start_time = Some(after(start, wait).min(turn.now));
    }
}

/// The server, if the run may use it; otherwise the time of the next look, if there is one.
pub(super) fn usable_server<'a>(turn: &mut Turn<'a>) -> Result<ServerView<'a>, Option<Timestamp>> {
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
            "FhirServer {namespace}/{name} does not admit exports of namespace {own}; ask its owner to add it to \
             spec.consumers"
        );
        refuse(turn, Reason::NamespaceNotAllowed, &message);
        return Err(Some(look_again_at_refusal(turn)));
    }
    if server.spec().dialect == Dialect::BulkData && !server.probed() {
        // The first probe finds out which requests the server understands; it follows within moments.
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

/// The kick-off, if it may be sent now. Otherwise the error says why not.
pub(super) fn accept(turn: &mut Turn<'_>, server: &ServerView<'_>) -> Result<Request, NotNow> {
    let request = &turn.spec().request;
    if !turn.is_true(ConditionType::Accepted)
        && let Some(broken) = rules::broken_by(turn.export())
    {
        return Err(NotNow::Never(Reason::InvalidSpec, format!("{broken}; correct it in a new FhirExport")));
    }
    let planned = kick_off::request(server.object(), request, &turn.namespace())
        .map_err(|m| NotNow::Never(Reason::UnsupportedByServer, m))?;
    if let Err(why) = allow::admits_request(server.spec(), request) {
        let message = format!("FhirServer {} does not allow this export: {why}", server.name());
        refuse(turn, Reason::NotAllowed, &message);
        return Err(NotNow::Refused);
    }
    let fhir = turn.facts.server.as_ref().and_then(|s| s.status.as_ref()?.fhir_version.as_deref());
    let version = fhir.map(|v| format!(" (FHIR {v})")).unwrap_or_default();
    let message = format!("FhirServer {} allows this export{version}{}", server.name(), caveats(turn));
    turn.set_true(ConditionType::Accepted, Reason::Allowed, &message);
    turn.remove(ConditionType::Stalled);
    Ok(planned)
}

/// What a user should know about the data before relying on it; empty for an export of level System.
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
        text.push_str(
            "; with since, new resources of patients that did not change may be missing: level System with \
            types has them",
        );
    }
    text
}

/// Says that the run waits for something in the cluster that somebody will put right.
fn wait_for(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    leave_queue(turn);
    turn.set_true(ConditionType::Reconciling, reason, message);
    turn.remove(ConditionType::Stalled);
}

/// Says that the server's owner does not want this export.
fn refuse(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    leave_queue(turn);
    turn.set_false(ConditionType::Accepted, reason, message);
    turn.set_true(ConditionType::Stalled, reason, message);
    turn.set_false(ConditionType::Reconciling, reason, message);
}

/// When to look again whether the server admits the namespace of a refused export by now. The labels of
/// namespaces are not watched. Each wait is as long as the export has been refused so far, so that thousands
/// of refused exports cost little.
fn look_again_at_refusal(turn: &Turn<'_>) -> Timestamp {
    let refused = condition::find(&turn.status.conditions, ConditionType::Accepted);
    let since = refused.map_or(turn.now, |refused| refused.last_transition_time);
    let lasted = Duration::try_from(turn.now.duration_since(since)).unwrap_or_default();
    let longest = LONGEST_REFUSAL.max(turn.tuning.missing_retry);
    let wait = lasted.clamp(turn.tuning.missing_retry, longest);
    turn.later(wait.mul_f64(0.9 + turn.jitter * 0.2))
}

/// Says that the run waits for a place.
pub(super) fn queue(turn: &mut Turn<'_>, server: &ServerView<'_>) {
    // The message gives no position: it would change for every queued run whenever one run ends.
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
}
