//! Counts the exports that the watch knows, anew at each scrape, and finds what a new status ended or began.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{
    Condition, ConditionStatus, ConditionType, FhirExport, FhirExportStatus, FhirServer, Reason, RunState,
};
use crate::core::condition;
use crate::core::export::{blocked_by, deadline, is_terminal};
use crate::core::tuning::Tuning;

/// The state of an export that the operator has not looked at, or whose `status.state` it does not know.
const NEW: &str = "New";

/// The labels of exports that have not ended: `New`, and the words of `status.state` before the end.
pub(super) fn open() -> impl Iterator<Item = &'static str> {
    let words = RunState::ALL.into_iter().filter(|state| !state.is_end()).map(RunState::as_str);
    std::iter::once(NEW).chain(words)
}

/// The labels of exports that have ended.
pub(super) fn ended() -> impl Iterator<Item = &'static str> {
    RunState::ALL.into_iter().filter(|state| state.is_end()).map(RunState::as_str)
}

/// How much of its deadline an export may use before it counts as near it.
const NEAR: f64 = 0.9;

/// A count of all exports.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Census {
    /// The number of exports, by state.
    pub states: BTreeMap<&'static str, i64>,
    /// The longest time without a sign of progress, in seconds, by state.
    pub oldest: BTreeMap<&'static str, i64>,
    /// The number of exports that cannot continue, by reason.
    pub blocked: BTreeMap<&'static str, i64>,
    /// The number of exports that have used most of their deadline.
    pub near_deadline: i64,
    /// The number of jobs that may run unseen.
    pub unsettled: i64,
}

impl Census {
    /// Counts one export. `server` is its server, if that exists.
    pub fn count(
        &mut self,
        export: &FhirExport,
        server: Option<&FhirServer>,
        tuning: &Tuning,
        now: Timestamp,
    ) {
        let state = state_of(export);
        *self.states.entry(state).or_default() += 1;
        let empty = FhirExportStatus::default();
        let status = export.status.as_ref().unwrap_or(&empty);
        self.unsettled += i64::try_from(status.unsettled_jobs.len()).unwrap_or(i64::MAX);
        if is_terminal(status) {
            return;
        }
        let idle = now.duration_since(last_moved(export, status).unwrap_or(now)).as_secs().max(0);
        let oldest = self.oldest.entry(state).or_default();
        *oldest = idle.max(*oldest);
        if let Some(reason) = blocked_by(status).and_then(known) {
            *self.blocked.entry(reason).or_default() += 1;
        }
        if is_near_deadline(export, status, server, tuning, now) {
            self.near_deadline += 1;
        }
    }
}

fn state_of(export: &FhirExport) -> &'static str {
    match export.status.as_ref().and_then(|status| status.state) {
        None | Some(RunState::Unknown) => NEW,
        Some(state) => state.as_str(),
    }
}

fn last_moved(export: &FhirExport, status: &FhirExportStatus) -> Option<Timestamp> {
    let created = export.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let kicked_off = status.job.as_ref().and_then(|job| job.kick_off_time);
    let changed = status.conditions.iter().map(|c| c.last_transition_time);
    [created, status.start_time, kicked_off, status.last_failure_time]
        .into_iter()
        .flatten()
        .chain(changed)
        .max()
}

/// The reason of a condition, if it is one that the operator knows.
fn known(condition: &Condition) -> Option<&'static str> {
    Reason::ALL.iter().find(|reason| condition.because(**reason)).map(|reason| reason.as_str())
}

fn is_near_deadline(
    export: &FhirExport,
    status: &FhirExportStatus,
    server: Option<&FhirServer>,
    tuning: &Tuning,
    now: Timestamp,
) -> bool {
    let Some(start) = status.start_time else { return false };
    let limit = deadline(&export.spec, server, tuning);
    now.duration_since(start).as_secs_f64() >= limit.as_secs_f64() * NEAR
}

/// What a new status says and the one before it did not.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Moved {
    /// The outcome and the reason of an end.
    pub ended: Option<(&'static str, &'static str)>,
    /// The time from start to end, in seconds.
    pub took: Option<f64>,
    /// The time from creation to start, in seconds.
    pub waited: Option<f64>,
    /// Whether a try failed and another one follows.
    pub retried: bool,
    /// Whether the answer to a kick-off was lost.
    pub uncertain: bool,
    /// The result of the check.
    pub verified: Option<&'static str>,
}

/// The possible results of a check, as label values.
pub(super) const RESULTS: [&str; 3] = ["passed", "failed", "unknown"];
/// The possible ends of an export, as label values.
pub(super) const OUTCOMES: [&str; 2] = ["complete", "failed"];

/// Compares the status of an export with the one that is written over it.
pub(super) fn moved(export: &FhirExport, now: &FhirExportStatus) -> Moved {
    let empty = FhirExportStatus::default();
    let before = export.status.as_ref().unwrap_or(&empty);
    let uncertain =
        |status: &FhirExportStatus| condition::is_true(&status.conditions, ConditionType::KickOffUncertain);
    let mut moved = Moved {
        retried: now.next_attempt_time > before.next_attempt_time,
        uncertain: uncertain(now) && !uncertain(before),
        ..Moved::default()
    };
    let created = export.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if before.start_time.is_none()
        && let (Some(created), Some(start)) = (created, now.start_time)
    {
        moved.waited = Some(seconds(created, start));
    }
    if let (None, Some(end)) = (before.completion_time, now.completion_time) {
        let (outcome, reason) = ending(now);
        moved.ended = Some((outcome, reason));
        moved.took = now.start_time.map(|start| seconds(start, end));
        let verified = condition::find(&now.conditions, ConditionType::Verified);
        moved.verified = verified.map(|c| match c.status {
            ConditionStatus::True => "passed",
            ConditionStatus::False => "failed",
            ConditionStatus::Unknown => "unknown",
        });
    }
    moved
}

fn ending(status: &FhirExportStatus) -> (&'static str, &'static str) {
    let of = |type_| status.conditions.iter().find(|c| c.is(type_) && c.is_true());
    let (outcome, condition) = match of(ConditionType::Complete) {
        Some(complete) => ("complete", Some(complete)),
        None => ("failed", of(ConditionType::Failed)),
    };
    let known = condition.and_then(|c| Reason::ALL.iter().find(|reason| c.because(**reason)));
    (outcome, known.map_or("Unknown", |reason| reason.as_str()))
}

fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64().max(0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn export(status: Value) -> FhirExport {
        let status = if status.is_null() { status } else { with_reason(status) };
        serde_json::from_value(json!({
            "metadata": { "name": "one", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" },
                "activeDeadlineSeconds": 1000 },
            "status": status,
        }))
        .unwrap()
    }

    /// Adds the fields that a condition must have.
    fn with_reason(mut status: Value) -> Value {
        for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            let given = condition.as_object_mut().unwrap();
            given.entry("message").or_insert("Patient/1".into());
            given.entry("reason").or_insert("Queued".into());
            given.entry("lastTransitionTime").or_insert("2026-01-01T00:01:00Z".into());
        }
        status
    }

    fn census(status: Value, now: &str) -> Census {
        let mut census = Census::default();
        census.count(&export(status), None, &Tuning::default(), now.parse().unwrap());
        census
    }

    #[test]
    fn what_was_never_looked_at_is_new_and_ages() {
        let census = census(Value::Null, "2026-01-01T00:10:00Z");
        assert_eq!((census.states["New"], census.oldest["New"]), (1, 600));
        assert!(census.blocked.is_empty());
    }

    #[test]
    fn the_last_change_is_what_counts_and_what_has_ended_does_not_age() {
        let running = json!({ "state": "Running", "startTime": "2026-01-01T00:00:30Z",
            "conditions": [{ "type": "Reconciling", "status": "False" }] });
        let seen = census(running, "2026-01-01T00:03:00Z");
        assert_eq!((seen.states["Running"], seen.oldest["Running"], seen.near_deadline), (1, 120, 0));
        let over = json!({ "state": "Failed", "startTime": "2026-01-01T00:00:30Z",
            "completionTime": "2026-01-01T00:02:00Z", "unsettledJobs": [
            { "intentTime": "2026-01-01T00:00:30Z", "reason": "NoStatusURL" }] });
        let seen = census(over, "2026-02-01T00:00:00Z");
        assert_eq!((seen.states["Failed"], seen.unsettled, seen.near_deadline), (1, 1, 0));
        assert!(seen.oldest.is_empty());
    }

    #[test]
    fn nine_tenths_of_the_deadline_are_near_it() {
        let running = json!({ "state": "Running", "startTime": "2026-01-01T00:00:00Z" });
        assert_eq!(census(running.clone(), "2026-01-01T00:14:59Z").near_deadline, 0);
        assert_eq!(census(running, "2026-01-01T00:15:00Z").near_deadline, 1);
        assert_eq!(census(json!({ "state": "Queued" }), "2026-02-01T00:00:00Z").near_deadline, 0);
    }

    #[test]
    fn what_blocks_is_told_by_its_reason() {
        let of = |state: &str, conditions: Value| {
            let census = census(json!({ "state": state, "conditions": conditions }), "2026-01-01T00:03:00Z");
            census.blocked.into_keys().collect::<Vec<_>>()
        };
        let waits = |reason: &str| json!({ "type": "Reconciling", "status": "True", "reason": reason });
        let refused =
            |type_: &str, reason: &str| json!({ "type": type_, "status": "False", "reason": reason });
        assert_eq!(of("Waiting", json!([waits("SecretNotFound")])), ["SecretNotFound"]);
        let both = json!([waits("WaitingToRetry"), refused("ServerReachable", "Unauthorized")]);
        assert_eq!(of("Waiting", both), ["Unauthorized"]);
        assert_eq!(of("Running", json!([refused("ServerReachable", "Throttled")])), ["Throttled"]);
        assert_eq!(of("Waiting", json!([refused("Accepted", "NotAllowed")])), ["NotAllowed"]);
        assert!(of("Queued", json!([waits("Queued")])).is_empty());
        assert!(
            of("Waiting", json!([waits("Patient/1 is unknown")])).is_empty(),
            "only known words are labels"
        );
    }

    #[test]
    fn a_transition_is_seen_once() {
        let at = |text: &str| Some(text.parse().unwrap());
        let before = export(json!({ "state": "Queued" }));
        let mut now = before.status.clone().unwrap();
        assert_eq!(moved(&before, &now), Moved::default());
        now.start_time = at("2026-01-01T00:02:00Z");
        assert_eq!(moved(&before, &now).waited, Some(120.0));
        let uncertain = json!({ "startTime": "2026-01-01T00:02:00Z", "conditions": [
            { "type": "KickOffUncertain", "status": "True", "reason": "AnswerLost" }] });
        let lost = export(uncertain);
        let lost_status = lost.status.clone().unwrap();
        assert!(moved(&before, &lost_status).uncertain && !moved(&lost, &lost_status).uncertain);
        let mut again = lost_status.clone();
        again.next_attempt_time = at("2026-01-01T00:05:00Z");
        assert!(moved(&lost, &again).retried && !moved(&lost, &lost_status).retried);
        let mut verified = export(json!({ "conditions": [{ "type": "Verified", "status": "False" },
            { "type": "Failed", "status": "True", "reason": "VerificationFailed" }] }))
        .status
        .unwrap();
        assert_eq!(moved(&lost, &verified).verified, None, "it has not ended");
        (verified.start_time, verified.completion_time) = (now.start_time, at("2026-01-01T00:03:00Z"));
        let end = moved(&lost, &verified);
        assert_eq!((end.ended, end.took), (Some(("failed", "VerificationFailed")), Some(60.0)));
        assert_eq!((end.verified, end.waited), (Some("failed"), None));
    }
}
