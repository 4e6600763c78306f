//! Faults that Bulk Data servers are known for, as values of the common [`Fault`].

use azure_fhir::{Fault, RetryAfter};
use serde_json::json;

fn custom(status: u16, retry_after: Option<&RetryAfter>, content_type: &str, body: String) -> Fault {
    let mut headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
    headers.extend(retry_after.and_then(RetryAfter::header).map(|(name, value)| (name.to_owned(), value)));
    Fault::Custom { status, headers, body }
}

fn issue(code: &str, text: &str) -> String {
    let issue = json!([{ "severity": "error", "code": code, "diagnostics": text }]);
    json!({ "resourceType": "OperationOutcome", "issue": issue }).to_string()
}

/// Any status with an `OperationOutcome`; the code `transient` and its children ask for another poll.
pub fn outcome(status: u16, code: &str) -> Fault {
    custom(status, None, "application/fhir+json", issue(code, "Scripted by the test."))
}

/// 429.
pub fn throttled(retry_after: &RetryAfter) -> Fault {
    let text = "There were too many requests.";
    custom(429, Some(retry_after), "application/fhir+json", issue("throttled", text))
}

/// A plain 503.
pub fn unavailable(retry_after: &RetryAfter) -> Fault {
    custom(503, Some(retry_after), "text/plain", "Service unavailable".into())
}

/// 404 without any JSON, as BCDA answers for files just after a job has ended.
pub fn not_yet() -> Fault {
    custom(404, None, "text/plain", "404 page not found\n".into())
}

/// An error of the token endpoint, such as `invalid_client`, 401, or `invalid_scope`, 400.
pub fn token_error(status: u16, code: &str) -> Fault {
    custom(status, None, "application/json", json!({ "error": code }).to_string())
}
