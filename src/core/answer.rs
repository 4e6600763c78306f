//! What an answer from Azure's FHIR service means. The status code alone is not enough: Azure stores the code
//! of a failed job and returns it on the status URL for ever, so a 403, 404 or 429 may be the job's own
//! failure (docs/azure-behaviour.md, "Failed jobs").

use std::time::Duration;

use super::outcome::OperationOutcome;
use super::wire::Answer;
use super::words;
use crate::api::Reason;

/// The text that starts the diagnostics of a failed job on Azure.
const JOB_FAILED: &str = "export operation failed for reason:";

/// Why the server did not do what it was asked, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason for the condition.
    pub reason: Reason,
    /// A message for people, as one sentence.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

/// What the answer to a kick-off means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickOffAnswer {
    /// 202: the job exists. Holds its status URL, verbatim, if the server sent one.
    Accepted(Option<String>),
    /// No job was started, and trying again would not help.
    Rejected(Refusal),
    /// No job was started, but the cause may pass. Counts against `backoffLimit`.
    Failed(Refusal),
    /// No job was started, for lack of access or because of throttling. Tried again slowly, without counting
    /// against `backoffLimit`.
    NotNow(Refusal),
    /// The server may have started a job. Holds the reason as a clause.
    Uncertain(String),
}

/// What the answer to a status request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusAnswer {
    /// 202: the job is running.
    Running,
    /// 200: the job is done, and the body should be a manifest.
    Done,
    /// The job failed.
    JobFailed(JobFailure),
    /// The server does not know the job (any more). Holds the server's message.
    Gone(String),
    /// 404 or 410 without an OperationOutcome, as an ingress answers while the server behind it is being
    /// deployed. It says nothing about the job.
    Absent(Refusal),
    /// The server did not answer the question, for lack of access or because of throttling.
    NotNow(Refusal),
    /// The server, or something in between, is failing at the moment.
    Transient(Refusal),
    /// Any other answer. If it repeats, it is final.
    Refused(Refusal),
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// The reason for the condition.
    pub reason: Reason,
    /// The server's message, cleaned by [`words::clean`].
    pub words: String,
    /// Whether a new attempt may succeed.
    pub transient: bool,
}

/// What the answer to a cancel means (docs/azure-behaviour.md, "Cancelling").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The server accepted the cancel, or no longer knows the job.
    Settled,
    /// 409: the job had already ended.
    AlreadyFinished,
    /// 500: some builds of Azure's service answer this for finished jobs. A status request shows which case it is.
    Look,
    /// The cancel had no effect yet and must be tried again.
    Again(Refusal),
}

fn refusal(reason: Reason, message: String, answer: &Answer) -> Refusal {
    Refusal { reason, message, retry_after: answer.retry_after }
}

/// The server's answer for people: the status code, then the text of its OperationOutcome.
pub(super) fn said(answer: &Answer, outcome: Option<&OperationOutcome>) -> String {
    let words = outcome.map(OperationOutcome::words).filter(|w| !w.is_empty());
    match words {
        Some(words) => format!("{}: {words}", answer.status),
        None => format!("{} without a FHIR OperationOutcome", answer.status),
    }
}

/// The refusal behind a 401, 403 or 429 that is not a job's failure.
pub(super) fn access(answer: &Answer, outcome: Option<&OperationOutcome>) -> Option<Refusal> {
    let said = said(answer, outcome);
    match answer.status {
        401 => Some(refusal(
            Reason::Unauthorized,
            format!(
                "the server rejects the credentials ({said}); check auth of the FhirServer: the identity, its \
                 tenant and the audience"
            ),
            answer,
        )),
        403 => Some(refusal(
            Reason::Forbidden,
            format!(
                "the identity may not export ({said}); give it the role FHIR Data Exporter on the FHIR \
                 service"
            ),
            answer,
        )),
        429 => Some(refusal(
            Reason::Throttled,
            format!("the server is throttling requests ({said}); the operator retries later"),
            answer,
        )),
        _ => None,
    }
}

/// Interprets the answer to a kick-off.
pub fn kick_off(answer: &Answer) -> KickOffAnswer {
    let outcome = OperationOutcome::parse(&answer.body);
    let outcome = outcome.as_ref();
    if let Some(refusal) = access(answer, outcome) {
        return KickOffAnswer::NotNow(refusal);
    }
    let said = said(answer, outcome);
    match (answer.status, outcome) {
        (202, _) => KickOffAnswer::Accepted(answer.content_location.clone().filter(|l| !l.trim().is_empty())),
        (200..=299 | 408, _) => KickOffAnswer::Uncertain(format!(
            "the server answered {said}, which is not an answer to a kick-off"
        )),
        (500.., Some(_)) => KickOffAnswer::Failed(refusal(
            Reason::KickOffFailed,
            format!("the server failed at the kick-off ({said})"),
            answer,
        )),
        (500.., None) => KickOffAnswer::Uncertain(format!(
            "the kick-off was answered with {said}, perhaps by a gateway in between"
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
            "the server answers with a redirect ({}), which the operator does not follow; create a FhirServer with \
             the url of the FHIR server itself",
            answer.status
        );
        return refusal(Reason::UnexpectedAnswer, message, answer);
    }
    refusal(
        Reason::UnexpectedAnswer,
        format!(
            "the server answered {} with {}, which is not FHIR; check url of the FhirServer, and any proxies in \
             between",
            answer.status,
            answer.content_type.as_deref().map_or_else(|| "no content type".to_owned(), words::clean),
        ),
        answer,
    )
}

/// Interprets the answer to a status request.
pub fn status(answer: &Answer) -> StatusAnswer {
    let outcome = OperationOutcome::parse(&answer.body);
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
        410 if outcome.is_some() => {
            StatusAnswer::Gone(outcome.map(OperationOutcome::words).unwrap_or_default())
        }
        404 | 410 if outcome.is_none() => StatusAnswer::Absent(unexpected(answer)),
        408 | 500.. => StatusAnswer::Transient(refusal(
            Reason::ServerError,
            format!(
                "the server answers {} when asked for the job's status; the operator retries",
                said(answer, outcome)
            ),
            answer,
        )),
        400..=499 if outcome.is_some() => StatusAnswer::Refused(refusal(
            Reason::StatusRefused,
            format!("the server refuses to report the job's status ({})", said(answer, outcome)),
            answer,
        )),
        _ => StatusAnswer::Refused(unexpected(answer)),
    }
}

/// Derives why a job failed from its stored code and the text behind the prefix (docs/azure-behaviour.md,
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

/// Whether the body is a web page, as gateways and default backends answer.
fn is_page(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().first() == Some(&b'<')
}

/// Interprets the answer to a cancel.
pub fn cancel(answer: &Answer) -> CancelAnswer {
    let outcome = OperationOutcome::parse(&answer.body);
    let outcome = outcome.as_ref();
    match answer.status {
        // A gateway's page says nothing about the job, which may still be running.
        200 | 404 | 410 if is_page(answer) => CancelAnswer::Again(unexpected(answer)),
        200 | 202 | 204 | 404 | 410 => CancelAnswer::Settled,
        409 => CancelAnswer::AlreadyFinished,
        500 => CancelAnswer::Look,
        403 => CancelAnswer::Again(refusal(
            Reason::Forbidden,
            format!(
                "the identity may not cancel the job ({}); ask the server's owner for the right to",
                said(answer, outcome)
            ),
            answer,
        )),
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
#[path = "answer_tests.rs"]
mod tests;
