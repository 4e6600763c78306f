//! What goes to a FHIR server and what comes back, as values. The edge sends and reports; it decides nothing.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Reason;

/// The methods that the operator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Kick-off, status, metadata.
    Get,
    /// Cancel.
    Delete,
}

/// One request to a FHIR server. The edge adds the token, the headers of the `FhirServer` and the time-out,
/// follows no redirect and repeats nothing, but for one case: a 401 with a cached token is tried once more
/// with a fresh one (the server did not act on the first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL, percent-encoded as it goes out.
    pub url: String,
    /// The value of `Accept`.
    pub accept: &'static str,
    /// The value of `Prefer`, if any.
    pub prefer: Option<&'static str>,
    /// Larger bodies are cut off and marked so, in bytes.
    pub max_body: usize,
    /// Whether the token goes along. The metadata need none.
    pub with_token: bool,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Location`, verbatim.
    pub content_location: Option<String>,
    /// `Retry-After` (either form) or `x-ms-retry-after-ms`, as a duration from the answer's arrival.
    pub retry_after: Option<Duration>,
    /// `X-Progress`, verbatim.
    pub progress: Option<String>,
    /// `Content-Type`, verbatim.
    pub content_type: Option<String>,
    /// The body, up to `max_body`.
    pub body: Vec<u8>,
    /// The body was longer than `max_body`, or the connection broke in the middle of it.
    pub truncated: bool,
}

/// Whether a request that got no answer may have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It provably never left: no name, no connection, no TLS, no token.
    No,
    /// It may have been acted on.
    Maybe,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether the server may have acted on it.
    pub sent: Sent,
    /// Why: of the reasons for `ServerReachable` and for missing credentials.
    pub reason: Reason,
    /// One sentence for people: the cause and the next step; no secret, no URL query.
    pub message: String,
    /// What kind of failure this is to a run.
    pub kind: FailureKind,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something in the cluster is missing or wrong (a Secret, a label, a ServiceAccount): the user repairs it,
    /// and the run goes on within seconds.
    Missing,
    /// The server or the identity provider could not be reached, or refuses the credential.
    Unreachable,
    /// The server asked all of this origin's clients to wait until then; nothing was sent.
    HeldBack {
        /// When requests may go out again.
        until: Timestamp,
    },
}

/// The result of one request.
pub type Reply = Result<Answer, Failure>;
