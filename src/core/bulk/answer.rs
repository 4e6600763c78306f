//! What an answer of a FHIR Bulk Data server about a job means (specification: "Bulk Data Status Request").
//!
//! Without `separate-export-status`, an error of the job is the error of the answer: a 4xx or 5xx with an
//! OperationOutcome means that the job has failed. With it, `X-Export-Status` holds the job's status, and the
//! answer's own status describes only the status request.

use crate::api::Reason;
use crate::core::answer::{self, JobFailure, KickOffAnswer, Refusal, StatusAnswer, access, said, unexpected};
use crate::core::outcome::OperationOutcome;
use crate::core::wire::Answer;

/// Codes of issues that may pass by themselves: `transient` and the codes below it in the value set
/// (specification: "Error Status").
const PASSING: [&str; 7] =
    ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];

/// Interprets the answer to a status request. `separate` says whether the server agreed to report the job's
/// status separately.
pub fn status(answer: &Answer, separate: bool) -> StatusAnswer {
    if let Some(own) = answer.export_status
        && (200..=299).contains(&answer.status)
    {
        return of_the_job(&Answer { status: own, ..answer.clone() });
    }
    if separate && answer.status >= 400 && !matches!(answer.status, 401 | 403 | 404 | 410 | 429) {
        // The status request failed; the job may still be running.
        let outcome = OperationOutcome::parse(&answer.body);
        return StatusAnswer::Transient(passing(answer, outcome.as_ref()));
    }
    of_the_job(answer)
}

/// Interprets the answer to a kick-off, as on Azure except for the missing right to export.
pub fn kick_off(answer: &Answer) -> KickOffAnswer {
    match answer::kick_off(answer) {
        KickOffAnswer::NotNow(refusal) if refusal.reason == Reason::Forbidden => {
            KickOffAnswer::NotNow(forbidden(answer, OperationOutcome::parse(&answer.body).as_ref()))
        }
        other => other,
    }
}

/// The refusal behind a 403 that is not a job's failure.
pub(in crate::core) fn forbidden(answer: &Answer, outcome: Option<&OperationOutcome>) -> Refusal {
    Refusal {
        reason: Reason::Forbidden,
        message: format!(
            "the identity may not export ({}); ask the server's owner for the right to export, and check the scopes",
            said(answer, outcome)
        ),
        retry_after: answer.retry_after,
    }
}

fn of_the_job(answer: &Answer) -> StatusAnswer {
    let outcome = OperationOutcome::parse(&answer.body);
    let outcome = outcome.as_ref();
    if answer.status >= 400 && outcome.is_some_and(|o| PASSING.iter().any(|code| o.has_code(code))) {
        return StatusAnswer::Transient(passing(answer, outcome));
    }
    match answer.status {
        404 | 410 => match outcome {
            Some(outcome) => StatusAnswer::Gone(outcome.words()),
            None => StatusAnswer::Absent(unexpected(answer)),
        },
        401 | 429 => StatusAnswer::NotNow(access(answer, outcome).unwrap_or_else(|| unexpected(answer))),
        403 if outcome.is_none_or(|o| !o.has_code("processing")) => {
            StatusAnswer::NotNow(forbidden(answer, outcome))
        }
        202 => StatusAnswer::Running,
        200 => StatusAnswer::Done,
        400.. => match outcome {
            Some(outcome) => StatusAnswer::JobFailed(JobFailure {
                reason: Reason::ExportFailed,
                words: outcome.words(),
                transient: answer.status >= 500,
            }),
            None if answer.status >= 500 || answer.status == 408 => {
                StatusAnswer::Transient(passing(answer, None))
            }
            None => StatusAnswer::Refused(unexpected(answer)),
        },
        _ => StatusAnswer::Refused(unexpected(answer)),
    }
}

fn passing(answer: &Answer, outcome: Option<&OperationOutcome>) -> Refusal {
    Refusal {
        reason: if answer.status == 429 { Reason::Throttled } else { Reason::ServerError },
        message: format!(
            "the server answers {} when asked for the job's status; the operator retries",
            said(answer, outcome)
        ),
        retry_after: answer.retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, code: &str) -> Answer {
        let body = serde_json::json!({"resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": "words"}]});
        Answer { status, body: body.to_string().into(), ..Answer::default() }
    }

    fn plain(status: u16) -> Answer {
        Answer { status, body: "<html>".into(), ..Answer::default() }
    }

    #[test]
    fn classic() {
        assert_eq!(status(&plain(202), false), StatusAnswer::Running);
        assert_eq!(status(&plain(200), false), StatusAnswer::Done);
        for code in PASSING {
            for http in [400, 429, 500, 503] {
                assert!(
                    matches!(status(&outcome(http, code), false), StatusAnswer::Transient(_)),
                    "{code} {http}"
                );
            }
        }
        assert!(matches!(
            status(&outcome(500, "processing"), false),
            StatusAnswer::JobFailed(f) if f.transient
        ));
        assert!(
            matches!(status(&outcome(400, "invalid"), false), StatusAnswer::JobFailed(f) if !f.transient)
        );
        assert!(matches!(status(&outcome(403, "forbidden"), false), StatusAnswer::NotNow(_)));
        assert!(matches!(
            status(&outcome(429, "processing"), false),
            StatusAnswer::NotNow(r) if r.reason == Reason::Throttled
        ));
        assert!(matches!(status(&outcome(404, "not-found"), false), StatusAnswer::Gone(w) if w == "words"));
        for code in [404, 410] {
            assert!(
                matches!(status(&plain(code), false), StatusAnswer::Absent(_)),
                "perhaps an ingress: {code}"
            );
        }
        assert!(matches!(status(&plain(503), false), StatusAnswer::Transient(_)));
        assert!(matches!(status(&plain(302), false), StatusAnswer::Refused(_)));
    }

    #[test]
    fn a_missing_right_is_the_server_owners() {
        let refused = kick_off(&outcome(403, "forbidden"));
        assert!(matches!(refused, KickOffAnswer::NotNow(r) if !r.message.contains("FHIR Data Exporter")));
        assert!(matches!(kick_off(&plain(202)), KickOffAnswer::Accepted(None)));
        assert!(matches!(kick_off(&outcome(400, "invalid")), KickOffAnswer::Rejected(_)));
    }

    #[test]
    fn separate() {
        let with = |export_status| Answer { export_status: Some(export_status), ..plain(200) };
        assert_eq!(status(&with(202), true), StatusAnswer::Running);
        assert_eq!(status(&with(200), true), StatusAnswer::Done);
        let failed = Answer { export_status: Some(500), ..outcome(200, "processing") };
        assert!(matches!(status(&failed, true), StatusAnswer::JobFailed(_)));
        assert!(matches!(status(&outcome(500, "processing"), true), StatusAnswer::Transient(_)));
        assert!(matches!(status(&outcome(404, "not-found"), true), StatusAnswer::Gone(_)));
        assert_eq!(status(&plain(202), true), StatusAnswer::Running);
    }

    #[test]
    fn every_code_and_body_is_survived() {
        for code in 100..=599 {
            for separate in [true, false] {
                for export_status in [None, Some(202), Some(999)] {
                    let _ = status(&Answer { export_status, ..plain(code) }, separate);
                    let _ = status(&Answer { export_status, ..outcome(code, "processing") }, separate);
                }
            }
        }
    }
}
