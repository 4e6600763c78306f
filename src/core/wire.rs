//! What goes to a FHIR server and what comes back, as values. The edge sends and reports; it decides nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;

use crate::api::{KeyRef, Reason};

/// The methods that the operator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Kick-off, status, metadata, files.
    Get,
    /// Kick-off with its parameters in the body.
    Post,
    /// Cancel, or the word that a finished job is done with.
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
    /// The body, a FHIR resource.
    pub body: Option<Value>,
    /// Whom to add to the body's parameters. Only the edge reads who they are.
    pub patients: Option<Patients>,
}

/// Where a list of patients is: one reference a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patients {
    /// A key of a Secret with the credential label.
    Secret {
        /// The namespace of the export.
        namespace: String,
        /// Name and key.
        key: KeyRef,
    },
    /// A blob of the server's storage account.
    Blob {
        /// Its container.
        container: String,
        /// Its name.
        path: String,
        /// What its content must hash to, in hexadecimal.
        sha256: String,
    },
}

/// A file to read from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRequest {
    /// Where it is.
    pub url: String,
    /// Whether a token goes along, where the URL's origin may have one at all.
    pub with_token: bool,
    /// Go on from here, with identity encoding; else from the start.
    pub resume: Option<Resume>,
    /// The server may compress it on the way.
    pub compressed: bool,
}

/// Where a file is to be read on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// In bytes.
    pub offset: u64,
    /// The ETag that it must still have (If-Range), where it is at hand.
    pub etag: Option<String>,
}

/// The pieces of a body, decoded. An error: it broke off.
pub type Pieces = BoxStream<'static, Result<Bytes, BrokenOff>>;

/// A body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff;

/// What a server answered when asked for a file.
pub enum FileAnswer {
    /// 200 or 206: the file, or the rest of it.
    Opened(FileHead, Pieces),
    /// Anything else.
    Refused(Answer),
    /// The URL, or one that it redirects to, is of an origin that files may not come from; one sentence.
    Elsewhere(String),
}

/// What is known of a file when its body begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// Where the body begins, in bytes: 0, or what was asked for.
    pub offset: u64,
    /// A strong ETag, where the server gives one.
    pub etag: Option<String>,
    /// It could be read on from any byte: the server offers ranges, the ETag is strong, the body came as it is.
    pub resumable: bool,
    /// It could be if it had not come compressed.
    pub resumable_as_it_is: bool,
    /// `Content-Type`, verbatim.
    pub content_type: Option<String>,
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
    /// `X-Export-Status`: the job's own status code (Bulk Data STU3).
    pub export_status: Option<u16>,
    /// `Preference-Applied` names `separate-export-status`.
    pub separate_status: bool,
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
