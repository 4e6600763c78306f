//! Requests to FHIR servers and their answers, as values. The edge sends requests and reports answers, and
//! decides nothing.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::api::{KeyRef, Reason};

/// The HTTP methods that the operator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// For kick-offs, status requests, metadata and files.
    Get,
    /// For kick-offs with parameters in the body.
    Post,
    /// For cancelling a job, and for telling the server to forget a finished one.
    Delete,
}

/// A request to a FHIR server. The edge adds the token, the headers of the `FhirServer` and the time-out. It
/// follows no redirects and repeats nothing, with one exception: after a 401 with a cached token, it sends
/// the request once more with a fresh token, since the server did not act on the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The complete URL, percent-encoded as it is sent.
    pub url: String,
    /// The value of `Accept`.
    pub accept: &'static str,
    /// The value of `Prefer`, if the header is sent.
    pub prefer: Option<&'static str>,
    /// Whether `Cache-Control: no-cache` asks the server for a job of its own (HAPI: docs/servers.md, "Shared jobs").
    pub no_cache: bool,
    /// The longest answer body, in bytes. Longer ones are cut off and marked as truncated.
    pub max_body: usize,
    /// Whether the request carries the token. Metadata need none.
    pub with_token: bool,
    /// The request body, a FHIR resource.
    pub body: Option<Value>,
    /// The list of patients to add to the body's parameters. Only the edge reads its content.
    pub patients: Option<Patients>,
}

/// Where a list of patients is stored, with one reference per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patients {
    /// In a key of a Secret with the credential label.
    Secret {
        /// The namespace of the export.
        namespace: String,
        /// Name and key of the Secret.
        key: KeyRef,
    },
    /// In a blob of the server's storage account.
    Blob {
        /// The container of the blob.
        container: String,
        /// The name of the blob.
        path: String,
        /// The SHA-256 that the content must have, in hexadecimal.
        sha256: String,
    },
}

/// A request for a file of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRequest {
    /// The URL of the file.
    pub url: String,
    /// Whether the request carries the token, if the URL's origin may receive it.
    pub with_token: bool,
    /// Where to resume, with identity encoding; `None` reads from the start.
    pub resume: Option<Resume>,
    /// Whether the server may compress the file in transit.
    pub compressed: bool,
}

/// Where to resume reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The offset in bytes.
    pub offset: u64,
    /// The ETag that the file must still have (`If-Range`), if it is known.
    pub etag: Option<String>,
}

/// The metadata of a file, known when its body begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// The offset of the body in the file, in bytes: 0, or the one that was requested.
    pub offset: u64,
    /// The strong ETag of the file, if the server sends one.
    pub etag: Option<String>,
    /// Whether reading can resume at any byte: the server supports ranges, the ETag is strong, and the body
    /// is not compressed.
    pub resumable: bool,
    /// Whether reading could resume at any byte if the body were not compressed.
    pub resumable_as_it_is: bool,
    /// Whether the end of the body is marked, so that its absence shows that the body broke off: by
    /// `Content-Length`, chunks, HTTP/2, or a `Content-Range` that ends with the file.
    pub framed: bool,
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
    /// Whether `Preference-Applied` contains `separate-export-status`.
    pub separate_status: bool,
    /// `Content-Type`, verbatim.
    pub content_type: Option<String>,
    /// The body, up to `max_body`.
    pub body: Bytes,
    /// Whether the body was longer than `max_body`, or the connection broke in the middle of it.
    pub truncated: bool,
}

/// Whether a request that got no answer may have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The request provably never left: a host name, connection, TLS session or token could not be obtained.
    No,
    /// The server may have acted on the request.
    Maybe,
}

/// The failure of a request that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether the server may have acted on the request.
    pub sent: Sent,
    /// The reason: one of those for `ServerReachable` or for missing credentials.
    pub reason: Reason,
    /// A message for people, as one sentence: the cause and the next step, without secrets and URL queries.
    pub message: String,
    /// How a run treats the failure.
    pub kind: FailureKind,
}

/// How a run treats a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something in the cluster is missing or wrong (a Secret, a label, a ServiceAccount). The user repairs
    /// it, and the run continues within seconds.
    Missing,
    /// The server or the identity provider could not be reached, or rejected the credential.
    Unreachable,
    /// The server is throttling, so nothing was sent.
    HeldBack {
        /// When requests may go out again.
        until: Timestamp,
    },
}

/// The result of a request.
pub type Reply = Result<Answer, Failure>;

/// Whether a connection to the server could be made for a request without an effect. Any answer shows that it
/// could, and so does a failure after the request had left.
///
/// # Errors
///
/// The failure of a request that provably never left.
pub fn reached(reply: Reply) -> Result<(), Failure> {
    match reply {
        Err(failure) if failure.sent == Sent::No => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}
