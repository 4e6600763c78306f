//! Logs each transition of a condition in one line: which object, its new condition, and why. Transitions
//! that have an event are logged with the event instead.

use kube::ResourceExt;
use tracing::{debug, info, warn};

use crate::api::{
    Condition, ConditionStatus, ConditionType, FhirExport, FhirExportStatus, FhirServer, Reason,
};
use crate::core::condition::find;
use crate::core::export::PhaseName;
use crate::metrics::Kind;

/// The conditions that are bad news with this status, the most significant first.
const BAD: [(ConditionType, ConditionStatus); 8] = [
    (ConditionType::Failed, ConditionStatus::True),
    (ConditionType::KickOffUncertain, ConditionStatus::True),
    (ConditionType::Accepted, ConditionStatus::False),
    (ConditionType::ServerReachable, ConditionStatus::False),
    (ConditionType::Verified, ConditionStatus::False),
    (ConditionType::Ready, ConditionStatus::False),
    (ConditionType::Authenticated, ConditionStatus::False),
    (ConditionType::StorageAccessible, ConditionStatus::False),
];

/// The other conditions worth a log line, the most significant first.
const OTHERS: [ConditionType; 9] = [
    ConditionType::Complete,
    ConditionType::Suspended,
    ConditionType::Reconciling,
    ConditionType::ServerReachable,
    ConditionType::Verified,
    ConditionType::Accepted,
    ConditionType::Ready,
    ConditionType::Authenticated,
    ConditionType::StorageAccessible,
];

/// The condition that best describes what changed, and whether it is bad news.
fn most_significant<'a>(before: &[Condition], now: &'a [Condition]) -> Option<(&'a Condition, bool)> {
    let changed = |type_| {
        let new = find(now, type_)?;
        find(before, type_)
            .is_none_or(|old| (old.status, &old.reason) != (new.status, &new.reason))
            .then_some(new)
    };
    let bad = BAD.iter().find_map(|(type_, status)| changed(*type_).filter(|c| c.status == *status));
    let other = || OTHERS.into_iter().find_map(changed).map(|c| (c, c.because(Reason::WaitingToRetry)));
    bad.map(|c| (c, true)).or_else(other)
}

/// Logs what changed in the status of an export that was written.
pub(super) fn log_export(before: Option<&FhirExportStatus>, written: &FhirExport) {
    let Some(now) = &written.status else { return };
    let none = FhirExportStatus::default();
    let before = before.unwrap_or(&none);
    let state = now.state_word().unwrap_or_default();
    if let Some(change) = most_significant(&before.conditions, &now.conditions) {
        log_change(Kind::FhirExport, written, Some(state), change);
    } else if before.state != now.state {
        let (kind, namespace, name, uid) = named(Kind::FhirExport, written);
        info!(kind, namespace, name, uid, state, "the export is now {state}");
    }
}

/// Logs the phases that a run left and came into, at level debug.
pub(super) fn log_phases(export: &FhirExport, changes: &[(PhaseName, PhaseName)]) {
    let (kind, namespace, name, uid) = named(Kind::FhirExport, export);
    for (from, to) in changes {
        let (from, to) = (from.as_str(), to.as_str());
        debug!(kind, namespace, name, uid, from, to, "the run changes its phase");
    }
}

/// Logs what changed in the conditions of a server whose status was written.
pub(super) fn log_server(before: &[Condition], now: &[Condition], server: &FhirServer) {
    if let Some(change) = most_significant(before, now) {
        log_change(Kind::FhirServer, server, None, change);
    }
}

/// Logs a condition at level warn if it is bad news, else at level info. Without a state, the line has no such field.
fn log_change<K: ResourceExt>(kind: Kind, object: &K, state: Option<&str>, (c, bad): (&Condition, bool)) {
    let (kind, namespace, name, uid) = named(kind, object);
    let (condition, reason) = (type_and_status(c), c.reason.as_str());
    if bad {
        warn!(kind, namespace, name, uid, state, condition, reason, "{}", c.message);
    } else {
        info!(kind, namespace, name, uid, state, condition, reason, "{}", c.message);
    }
}

fn named<K: ResourceExt>(kind: Kind, object: &K) -> (&'static str, String, String, String) {
    (
        kind.as_str(),
        object.namespace().unwrap_or_default(),
        object.name_any(),
        object.uid().unwrap_or_default(),
    )
}

fn type_and_status(condition: &Condition) -> String {
    format!("{}={:?}", condition.type_, condition.status)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::condition::set;

    fn conditions(all: &[(ConditionType, ConditionStatus, Reason)]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (type_, status, reason) in all {
            set(&mut conditions, *type_, *status, *reason, "words", 1, jiff::Timestamp::UNIX_EPOCH);
        }
        conditions
    }

    #[test]
    fn bad_news_come_first_and_nothing_new_is_not_told() {
        use ConditionStatus::{False, True};
        use ConditionType::{Accepted, Failed, Ready, Reconciling, ServerReachable, Stalled};
        let starting =
            conditions(&[(Accepted, True, Reason::Allowed), (Reconciling, True, Reason::Starting)]);
        let waits = conditions(&[
            (Accepted, True, Reason::Allowed),
            (Reconciling, True, Reason::WaitingToRetry),
            (ServerReachable, False, Reason::TimedOut),
        ]);
        let throttled = conditions(&[
            (Reconciling, True, Reason::WaitingToRetry),
            (ServerReachable, False, Reason::Throttled),
        ]);
        let back = conditions(&[
            (Reconciling, True, Reason::WaitingToRetry),
            (ServerReachable, True, Reason::Reachable),
        ]);
        let again =
            conditions(&[(Accepted, True, Reason::Allowed), (Reconciling, True, Reason::WaitingToRetry)]);
        let failed = conditions(&[(Stalled, True, Reason::JobDied), (Failed, True, Reason::JobDied)]);
        for (before, now, told) in [
            (&vec![], &starting, Some(("Reconciling", "Starting", false))),
            (&starting, &waits, Some(("ServerReachable", "TimedOut", true))),
            (&waits, &waits, None),
            (&waits, &throttled, Some(("ServerReachable", "Throttled", true))),
            (&throttled, &back, Some(("ServerReachable", "Reachable", false))),
            (&starting, &again, Some(("Reconciling", "WaitingToRetry", true))),
            (&back, &failed, Some(("Failed", "JobDied", true))),
            (
                &vec![],
                &conditions(&[(Ready, False, Reason::Unauthorized)]),
                Some(("Ready", "Unauthorized", true)),
            ),
        ] {
            let found =
                most_significant(before, now).map(|(c, bad)| (c.type_.as_str(), c.reason.as_str(), bad));
            assert_eq!(found, told);
        }
    }
}
