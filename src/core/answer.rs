//! What an answer means. The status code alone does not tell: Azure stores a failed job's code and answers it on
//! the status URL for ever, so that a 403, 404 or 429 may be the job's failure (docs/azure-behaviour.md,
//! "Failed jobs").

use std::time::Duration;

use super::outcome::Outcome;
use super::wire::Answer;
use super::words;
use crate::api::Reason;

/// What the words of a failed job begin with on Azure.
const JOB_FAILED: &str = "export operation failed for reason:";

/// Why the server would not, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One word.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

/// What the answer to a kick-off means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickOffAnswer {
    /// 202: the job exists. Its status URL, verbatim, if the server said it.
    Accepted(Option<String>),
    /// Certain, and for good.
    Rejected(Refusal),
    /// Certain, and the cause may pass: counts against `backoffLimit`.
    Failed(Refusal),
    /// Certain, and a matter of access or patience: tried again slowly, without counting.
    NotNow(Refusal),
    /// The server may have started the job.
    Uncertain(String),
}

/// What the answer to a status request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusAnswer {
    /// 202.
    Running,
    /// 200: the body should be a manifest.
    Done,
    /// The job failed, for good.
    JobFailed(JobFailure),
    /// The server does not know the job (any more).
    Gone(String),
    /// A matter of access or patience.
    NotNow(Refusal),
    /// Something on the way, or the server itself, is ill for the moment.
    Transient(Refusal),
    /// Any other answer: for good, if it repeats.
    Refused(Refusal),
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// One word.
    pub reason: Reason,
    /// The server's words, cleaned.
    pub words: String,
    /// Whether a new attempt may do better.
    pub transient: bool,
}

/// What the answer to a cancel means (docs/azure-behaviour.md, "Cancelling").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The server agreed, or no longer knows the job.
    Settled,
    /// The server says that the job had ended before (409).
    AlreadyFinished,
    /// 500: some builds answer so for finished jobs; one look at the status tells.
    Look,
    /// Not yet: try again.
    Again(Refusal),
}

fn refusal(reason: Reason, message: String, answer: &Answer) -> Refusal {
    Refusal { reason, message, retry_after: answer.retry_after }
}

/// What the server said, for people; begins with the status code.
pub(super) fn said(answer: &Answer, outcome: Option<&Outcome>) -> String {
    let words = outcome.map(Outcome::words).filter(|w| !w.is_empty());
    match words {
        Some(words) => format!("{}: {words}", answer.status),
        None => format!("{} without a FHIR OperationOutcome", answer.status),
    }
}

/// 401, 403 and 429 as they are when they are not a job's failure.
pub(super) fn access(answer: &Answer, outcome: Option<&Outcome>) -> Option<Refusal> {
    let said = said(answer, outcome);
    match answer.status {
        401 => Some(refusal(
            Reason::Unauthorized,
            format!(
                "the server does not accept the credentials ({said}); check auth of the FhirServer: the identity, its tenant and the audience"
            ),
            answer,
        )),
        403 => Some(refusal(
            Reason::Forbidden,
            format!(
                "the identity may not export ({said}); give it the role FHIR Data Exporter on the FHIR service"
            ),
            answer,
        )),
        429 => Some(refusal(
            Reason::Throttled,
            format!("the server asks for patience ({said}); it is asked again later"),
            answer,
        )),
        _ => None,
    }
}

/// What the answer to a kick-off means.
pub fn kick_off(answer: &Answer) -> KickOffAnswer {
    let outcome = Outcome::parse(&answer.body);
    let outcome = outcome.as_ref();
    if let Some(refusal) = access(answer, outcome) {
        return KickOffAnswer::NotNow(refusal);
    }
    let said = said(answer, outcome);
    match (answer.status, outcome) {
        (202, _) => KickOffAnswer::Accepted(answer.content_location.clone().filter(|l| !l.trim().is_empty())),
        (200..=299 | 408, _) => {
            KickOffAnswer::Uncertain(format!("the server answered {said}, which is no answer to a kick-off"))
        }
        (500.., Some(_)) => KickOffAnswer::Failed(refusal(
            Reason::KickOffFailed,
            format!("the server failed at the kick-off ({said})"),
            answer,
        )),
        (500.., None) => KickOffAnswer::Uncertain(format!(
            "the kick-off was answered {said}, perhaps by a gateway on the way"
        )),
        (400..=499, Some(_)) => KickOffAnswer::Rejected(refusal(
            Reason::KickOffRejected,
            format!("the server refuses the export ({said})"),
            answer,
        )),
        _ => KickOffAnswer::NotNow(unexpected(answer)),
    }
}

pub(super) fn unexpected(answer: &Answer) -> Refusal {
    if (300..=399).contains(&answer.status) {
        let message = format!(
            "the server answers with a redirect ({}), which is not followed; create a FhirServer with the url of the FHIR server itself",
            answer.status
        );
        return refusal(Reason::UnexpectedAnswer, message, answer);
    }
    refusal(
        Reason::UnexpectedAnswer,
        format!(
            "the server answered {} with {}, which is not FHIR; check url of the FhirServer, and proxies on the way",
            answer.status,
            answer.content_type.as_deref().map_or_else(|| "no content type".to_owned(), words::clean),
        ),
        answer,
    )
}

/// What the answer to a status request means.
pub fn status(answer: &Answer) -> StatusAnswer {
    let outcome = Outcome::parse(&answer.body);
    if let Some(outcome) = &outcome
        && answer.status >= 400
    {
        let text = outcome.raw_text();
        if outcome.has_code("processing") && text.trim_start().starts_with(JOB_FAILED) {
            return StatusAnswer::JobFailed(job_failure(answer.status, &text));
        }
        if answer.status == 404 && outcome.has_code("not-found") {
            return StatusAnswer::Gone(outcome.words());
        }
    }
    let outcome = outcome.as_ref();
    if let Some(refusal) = access(answer, outcome) {
        return StatusAnswer::NotNow(refusal);
    }
    match answer.status {
        202 => StatusAnswer::Running,
        200 => StatusAnswer::Done,
        410 => StatusAnswer::Gone(outcome.map(Outcome::words).unwrap_or_default()),
        408 | 500.. => StatusAnswer::Transient(refusal(
            Reason::ServerError,
            format!(
                "the server answers {} when asked for the job's status; it is asked again",
                said(answer, outcome)
            ),
            answer,
        )),
        400..=499 if outcome.is_some() => StatusAnswer::Refused(refusal(
            Reason::StatusRefused,
            format!("the server refuses to tell the job's status ({})", said(answer, outcome)),
            answer,
        )),
        _ => StatusAnswer::Refused(unexpected(answer)),
    }
}

/// Finds out why a job failed, from the stored code and the words behind the prefix (docs/azure-behaviour.md,
/// "Failed jobs").
fn job_failure(status: u16, text: &str) -> JobFailure {
    let cause = text.trim_start().strip_prefix(JOB_FAILED).unwrap_or(text);
    let lower = cause.to_ascii_lowercase();
    let says = |needle: &str| lower.contains(needle);
    let (reason, transient) = if says("access token for storage") {
        (Reason::StorageIdentityMissing, false)
    } else if says("storage account not found") {
        (Reason::StorageAccountNotFound, false)
    } else if says("storage uri is invalid") || says("connection settings is not in proper format") {
        (Reason::StorageNotConfigured, false)
    } else if says("connection string was updated") {
        (Reason::StorageChanged, false)
    } else if says("authorizationfailure") || says("authorizationpermissionmismatch") || status == 403 {
        (Reason::StorageAccessDenied, false)
    } else if says("anonymization") || says("anonymize") || says("parse configuration file") {
        (Reason::AnonymizationFailed, false)
    } else if says("group ") && says("not found") || says("'group'") && says("not found") {
        (Reason::GroupNotFound, false)
    } else if status == 413 && (says("_maxcount") || says("memory")) {
        (Reason::OutOfMemory, false)
    } else if status == 413 {
        (Reason::JobTooLarge, false)
    } else if status == 429 {
        (Reason::DatabaseThrottled, true)
    } else if says("retried too many times") {
        (Reason::JobRestartedTooOften, true)
    } else if says("had no results") {
        (Reason::JobDied, true)
    } else if status == 404 || status == 409 || says("errorcode:") {
        (Reason::StorageRejected, false)
    } else {
        (Reason::ExportFailed, status >= 500)
    };
    JobFailure { reason, words: words::of_storage(cause), transient }
}

/// Whether the body is a page for people, as gateways and default backends answer.
fn is_page(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().first() == Some(&b'<')
}

/// What the answer to a cancel means.
pub fn cancel(answer: &Answer) -> CancelAnswer {
    let outcome = Outcome::parse(&answer.body);
    let outcome = outcome.as_ref();
    match answer.status {
        // A gateway's page says nothing of the job, which may run on.
        200 | 404 | 410 if is_page(answer) => CancelAnswer::Again(unexpected(answer)),
        200 | 202 | 204 | 404 | 410 => CancelAnswer::Settled,
        409 => CancelAnswer::AlreadyFinished,
        500 => CancelAnswer::Look,
        _ => CancelAnswer::Again(access(answer, outcome).unwrap_or_else(|| {
            refusal(
                Reason::ServerError,
                format!("the server answers {} when asked to cancel", said(answer, outcome)),
                answer,
            )
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, text: &str) -> Answer {
        let body = serde_json::json!({"resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
        Answer { status, body: serde_json::to_vec(&body).unwrap(), ..Answer::default() }
    }

    fn plain(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into(), content_type: Some("text/html".into()), ..Answer::default() }
    }

    /// Every row of the table in docs/azure-behaviour.md, "Failed jobs".
    #[test]
    fn failed_jobs_get_their_own_reason() {
        let rows = [
            (
                403,
                "This request is not authorized to perform this operation using this permission.\nErrorCode: AuthorizationPermissionMismatch",
                Reason::StorageAccessDenied,
                false,
            ),
            (403, "… ErrorCode: AuthorizationFailure <xml/>", Reason::StorageAccessDenied, false),
            (403, "Unable to get access token for storage account.", Reason::StorageIdentityMissing, false),
            (401, "Unable to get access token for storage account.", Reason::StorageIdentityMissing, false),
            (404, "The storage account not found.", Reason::StorageAccountNotFound, false),
            (
                400,
                "The specifed resource name contains invalid characters. ErrorCode: InvalidResourceName",
                Reason::StorageRejected,
                false,
            ),
            (409, "The specified container is being deleted.", Reason::StorageRejected, false),
            (400, "The given storage uri is invalid", Reason::StorageNotConfigured, false),
            (
                400,
                "The given connection settings is not in proper format.",
                Reason::StorageNotConfigured,
                false,
            ),
            (
                400,
                "Storage account connection string was updated during an export job.",
                Reason::StorageChanged,
                false,
            ),
            (400, "Group 4711 was not found.", Reason::GroupNotFound, false),
            (400, "Anonymization configuration 'deid.json' not found.", Reason::AnonymizationFailed, false),
            (400, "Failed to parse configuration file…", Reason::AnonymizationFailed, false),
            (400, "Failed to anonymize resource…", Reason::AnonymizationFailed, false),
            (429, "The request rate is too large.", Reason::DatabaseThrottled, true),
            (413, "Out of memory; set _maxCount below 1000.", Reason::OutOfMemory, false),
            (413, "The job record is too large.", Reason::JobTooLarge, false),
            (500, "Job has been retried too many times.", Reason::JobRestartedTooOften, true),
            (500, "Processing job had no results", Reason::JobDied, true),
            (500, "Unknown Error.", Reason::ExportFailed, true),
            (400, "Resource type 'Patent' is unknown.", Reason::ExportFailed, false),
        ];
        for (code, text, reason, transient) in rows {
            let StatusAnswer::JobFailed(failure) =
                status(&answer(code, "processing", &format!("{JOB_FAILED} {text}")))
            else {
                panic!("{code} {text} is not a failed job");
            };
            assert_eq!((failure.reason, failure.transient), (reason, transient), "{code} {text}");
            assert!(!failure.words.contains(JOB_FAILED));
        }
    }

    #[test]
    fn the_same_code_can_mean_something_else() {
        assert!(
            matches!(status(&answer(403, "forbidden", "Authorization failed.")), StatusAnswer::NotNow(r) if r.reason == Reason::Forbidden)
        );
        assert!(
            matches!(status(&answer(401, "login", "Authentication failed.")), StatusAnswer::NotNow(r) if r.reason == Reason::Unauthorized)
        );
        assert!(
            matches!(status(&answer(429, "throttled", "The maximum number …")), StatusAnswer::NotNow(r) if r.reason == Reason::Throttled)
        );
        assert!(matches!(
            status(&answer(404, "not-found", "The requested job \"7\" was not found.")),
            StatusAnswer::Gone(_)
        ));
        assert!(
            matches!(status(&plain(404, "<html>")), StatusAnswer::Refused(r) if r.reason == Reason::UnexpectedAnswer)
        );
        assert!(
            matches!(status(&answer(400, "invalid", "x")), StatusAnswer::Refused(r) if r.reason == Reason::StatusRefused)
        );
        for code in [408, 500, 502, 503, 504] {
            assert!(matches!(status(&plain(code, "")), StatusAnswer::Transient(_)), "{code}");
            assert!(matches!(status(&answer(code, "exception", "x")), StatusAnswer::Transient(_)), "{code}");
        }
        assert_eq!(status(&plain(202, "")), StatusAnswer::Running);
        assert_eq!(status(&plain(200, "")), StatusAnswer::Done);
        assert!(matches!(status(&plain(302, "")), StatusAnswer::Refused(_)));
    }

    #[test]
    fn kick_offs() {
        let located =
            Answer { status: 202, content_location: Some("https://x/1".into()), ..Answer::default() };
        assert_eq!(kick_off(&located), KickOffAnswer::Accepted(Some("https://x/1".into())));
        assert_eq!(kick_off(&plain(202, "")), KickOffAnswer::Accepted(None));
        assert!(
            matches!(kick_off(&answer(400, "invalid", "x")), KickOffAnswer::Rejected(r) if r.reason == Reason::KickOffRejected)
        );
        for code in [500, 503] {
            assert!(matches!(kick_off(&answer(code, "exception", "x")), KickOffAnswer::Failed(_)), "{code}");
        }
        for code in [200, 204, 408, 500, 502, 503, 504] {
            assert!(matches!(kick_off(&plain(code, "<html>")), KickOffAnswer::Uncertain(_)), "{code}");
        }
        for code in [301, 307, 400, 401, 403, 404, 405, 429] {
            assert!(matches!(kick_off(&plain(code, "<html>")), KickOffAnswer::NotNow(_)), "{code}");
        }
    }

    #[test]
    fn cancels() {
        for code in [200, 202, 204, 404, 410] {
            assert_eq!(cancel(&plain(code, "")), CancelAnswer::Settled, "{code}");
        }
        for code in [200, 404, 410] {
            let page = cancel(&plain(code, " <html>default backend</html>"));
            assert!(matches!(page, CancelAnswer::Again(r) if r.reason == Reason::UnexpectedAnswer), "{code}");
            let words = cancel(&answer(code, "not-found", "no such job"));
            assert_eq!(words, CancelAnswer::Settled, "{code}");
        }
        assert_eq!(cancel(&answer(409, "conflict", "x")), CancelAnswer::AlreadyFinished);
        assert_eq!(cancel(&answer(500, "exception", "x")), CancelAnswer::Look);
        for (code, reason) in [
            (401, Reason::Unauthorized),
            (403, Reason::Forbidden),
            (429, Reason::Throttled),
            (503, Reason::ServerError),
        ] {
            assert!(
                matches!(cancel(&plain(code, "")), CancelAnswer::Again(r) if r.reason == reason),
                "{code}"
            );
        }
    }

    #[test]
    fn every_code_and_body_is_survived() {
        for code in 100..=599 {
            for a in [plain(code, ""), plain(code, "{"), answer(code, "processing", JOB_FAILED)] {
                let _ = (kick_off(&a), status(&a), cancel(&a));
            }
        }
    }
}
