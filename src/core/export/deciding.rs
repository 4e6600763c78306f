//! Which condition tells the present state of a run, and its reason and sentence in `status.reason` and
//! `status.message`.

use crate::api::{Condition, ConditionStatus, ConditionType, FhirExportStatus, Reason, RunState};
use crate::core::condition::find;

/// The condition that says why a run shows the word in its `status.state`; `None` before the run shows one.
fn deciding_condition(status: &FhirExportStatus) -> Option<&Condition> {
    let of = |type_| find(&status.conditions, type_);
    let unreachable = || of(ConditionType::ServerReachable).filter(|c| c.status == ConditionStatus::False);
    let reconciling = of(ConditionType::Reconciling);
    match status.state? {
        // This reason only says that another try follows. If the server is what failed, that says more.
        RunState::Waiting if reconciling.is_some_and(|c| c.because(Reason::WaitingToRetry)) => {
            unreachable().or(reconciling)
        }
        RunState::Waiting | RunState::Queued | RunState::Starting | RunState::Cancelling => reconciling,
        RunState::Suspended => of(ConditionType::Suspended),
        RunState::Uncertain => of(ConditionType::KickOffUncertain),
        RunState::Running | RunState::Landing | RunState::Verifying => unreachable().or(reconciling),
        RunState::Complete => of(ConditionType::Complete),
        RunState::Failed | RunState::Cancelled => of(ConditionType::Failed),
        RunState::Unknown => None,
    }
}

/// Copies the reason and the message of the deciding condition into the status.
pub(super) fn report(status: &mut FhirExportStatus) {
    let deciding = deciding_condition(status).map(|c| (c.reason.clone(), c.message.clone()));
    (status.reason, status.message) = deciding.unzip();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(state: &str, conditions: &[(&str, &str, &str)]) -> FhirExportStatus {
        let condition = |(type_, status, reason): &(&str, &str, &str)| {
            json!({"type": type_, "status": status, "reason": reason, "message": format!("{type_} because of {reason}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        serde_json::from_value(json!({"state": state, "conditions": conditions})).unwrap()
    }

    #[test]
    fn each_state_is_told_by_one_condition() {
        const ALL: &[(&str, &str, &str)] = &[
            ("Accepted", "True", "Allowed"),
            ("Reconciling", "True", "Queued"),
            ("Suspended", "True", "ServerSuspended"),
            ("ServerReachable", "False", "TimedOut"),
            ("KickOffUncertain", "True", "AnswerLost"),
            ("Complete", "True", "Exported"),
            ("Failed", "True", "JobDied"),
        ];
        for state in RunState::ALL {
            let wanted = match state {
                RunState::Waiting | RunState::Queued | RunState::Starting | RunState::Cancelling => {
                    "Reconciling"
                }
                RunState::Suspended => "Suspended",
                RunState::Uncertain => "KickOffUncertain",
                RunState::Running | RunState::Landing | RunState::Verifying => "ServerReachable",
                RunState::Complete => "Complete",
                RunState::Failed | RunState::Cancelled => "Failed",
                RunState::Unknown => unreachable!("ALL has only what is written"),
            };
            let mut told = status(state.as_str(), ALL);
            assert_eq!(deciding_condition(&told).map(|c| c.type_.as_str()), Some(wanted), "{state}");
            report(&mut told);
            let reason = ALL.iter().find(|(type_, ..)| *type_ == wanted).map(|(.., reason)| *reason);
            assert_eq!(told.reason.as_deref(), reason);
            assert_eq!(told.message, reason.map(|reason| format!("{wanted} because of {reason}")));
        }
    }

    #[test]
    fn a_server_that_answers_or_is_not_the_obstacle_is_not_told_of() {
        let reason = |state, conditions: &[_]| {
            let mut told = status(state, conditions);
            report(&mut told);
            told.reason.unwrap_or_default()
        };
        let (lost, answers) =
            (("ServerReachable", "False", "TimedOut"), ("ServerReachable", "True", "Reachable"));
        let kicked_off = ("Reconciling", "False", "KickedOff");
        assert_eq!(reason("Running", &[kicked_off, answers]), "KickedOff");
        assert_eq!(reason("Running", &[kicked_off, lost]), "TimedOut");
        let retry = ("Reconciling", "True", "WaitingToRetry");
        assert_eq!(reason("Waiting", &[retry, lost]), "TimedOut");
        assert_eq!(reason("Waiting", &[retry, answers]), "WaitingToRetry");
        assert_eq!(reason("Waiting", &[("Reconciling", "True", "SecretNotFound"), lost]), "SecretNotFound");
    }

    #[test]
    fn nothing_is_told_without_a_condition_or_of_a_state_of_a_later_release() {
        for mut told in [FhirExportStatus::default(), status("Running", &[]), status("Dreaming", &[])] {
            (told.reason, told.message) = (Some("Old".into()), Some("old".into()));
            report(&mut told);
            assert_eq!((told.reason, told.message), (None, None));
        }
    }
}
