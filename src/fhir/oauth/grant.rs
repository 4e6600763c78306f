//! Reads the answer of a token endpoint: a token, or why there is none.

use azure_core::credentials::AccessToken;
use azure_core::time::{Duration, OffsetDateTime};
use serde_json::Value;

use super::refusal;
use super::token_request::TokenRequest;
use crate::api::Reason;
use crate::core::wire::Answer;
use crate::core::words;
use crate::credentials::CredentialProblem;

/// The lifetime of a token in seconds, if the answer names none.
const ASSUMED_SECONDS: f64 = 60.0;
/// The longest lifetime of a token, in seconds.
const MOST_SECONDS: f64 = 86_400.0;

/// Why the token endpoint gave no token.
#[derive(Debug)]
pub struct NotGranted {
    pub problem: CredentialProblem,
    /// The error code of RFC 6749, section 5.2.
    code: Option<String>,
}

impl NotGranted {
    /// Whether the server did not recognize the client, so that another way to authenticate may help. A
    /// server that reads credentials only from the form reports that parameters are missing.
    pub fn is_of_client(&self) -> bool {
        matches!(self.code.as_deref(), Some("invalid_client" | "invalid_request"))
    }
}

impl From<CredentialProblem> for NotGranted {
    fn from(problem: CredentialProblem) -> Self {
        Self { problem, code: None }
    }
}

/// Reads the answer to a request that was sent at `begun`, from when the lifetime of the token counts.
pub fn read(
    answer: &Answer,
    asked: &TokenRequest<'_>,
    begun: OffsetDateTime,
) -> Result<AccessToken, NotGranted> {
    let (host, status) = (asked.host, answer.status);
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |member: &str| body.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let code = text("error");
    let passing = |message| Err(CredentialProblem::passing(Reason::TokenUnavailable, message).into());
    let lasting = |message| Err(CredentialProblem::lasting(Reason::TokenRefused, message).into());
    match (status, text("access_token"), code) {
        (429 | 500.., _, _) | (_, _, Some("temporarily_unavailable" | "server_error")) => {
            passing(format!("{host} gives no token now (HTTP {status}); it is asked again"))
        }
        (200..=299, Some(token), None) => match text("token_type") {
            Some(kind) if !kind.eq_ignore_ascii_case("bearer") => lasting(format!(
                "{host} gives a token of type {}, which cannot be used; have it give bearer tokens",
                words::cut(&words::clean(kind), 32)
            )),
            _ => Ok(AccessToken::new(token.to_owned(), begun + life(body.get("expires_in")))),
        },
        (300..=399, _, _) => passing(format!(
            "{host} answers a token request with a redirect (HTTP {status}), which is not followed; name the URL that \
             it leads to in tokenURL"
        )),
        (_, _, Some(code)) => {
            let problem = refusal::problem(code, text("error_description"), asked);
            Err(NotGranted { problem, code: Some(code.to_owned()) })
        }
        (400..=499, _, None) if !is_page(answer) => lasting(format!(
            "{host} refuses to give a token (HTTP {status}); check tokenURL, clientID and the Secret"
        )),
        _ => passing(format!(
            "{host} answered a token request with something else than a token (HTTP {status}); check tokenURL, and \
             proxies on the way"
        )),
    }
}

/// Whether the answer is an HTML page, which comes from a proxy or another server, not from a token endpoint.
fn is_page(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().starts_with(b"<")
        || answer.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html"))
}

/// The lifetime of a token from `expires_in`, which is a number or a string that holds one.
fn life(value: Option<&Value>) -> Duration {
    let seconds = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds: f64 = seconds.filter(|seconds| *seconds > 0.0).unwrap_or(ASSUMED_SECONDS);
    Duration::seconds_f64(seconds.min(MOST_SECONDS))
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
