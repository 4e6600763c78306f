//! The port to FHIR servers.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use secrecy::SecretString;

use crate::api::{FhirServer, KeyRef};
use crate::core::wire::{Answer, Failure, FileHead, FileRequest, Reply, Request};

/// The decoded body as a stream of pieces. An error means that the body broke off.
pub type Pieces = BoxStream<'static, Result<Bytes, BrokenOff>>;

/// Why a body ended prematurely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenOff {
    /// The connection ended, or the body is shorter or longer than its head says.
    Transfer,
    /// The body is not encoded as its `Content-Encoding` says. Without compression it may be readable.
    Decoding,
}

/// A server's answer to the request for a file.
pub enum FileAnswer {
    /// 200 or 206: the file, or the rest of it.
    Opened(FileHead, Pieces),
    /// Any other answer.
    Refused(Answer),
    /// 200 or 206, with a body that cannot be used.
    Unusable(UnusableBody),
    /// The URL, or one that it redirects to, has an origin that files may not come from. Holds one sentence.
    Elsewhere(String),
}

/// Why the body of a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnusableBody {
    /// The body has this `Content-Encoding`, cleaned for people, which the operator does not decode.
    Coding(String),
    /// The body is another range of the file than the one that was requested.
    OtherRange,
}

/// Requests to FHIR servers, with the credentials of a `FhirServer`.
pub trait Wire: Send + Sync {
    /// Makes sure that a request could be sent: the credentials exist, and a token was obtained.
    fn authorize(&self, server: &Arc<FhirServer>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Sends a request, once.
    fn send(&self, server: &Arc<FhirServer>, request: &Request) -> impl Future<Output = Reply> + Send;
    /// Opens a file for reading. Requests, redirects included, go only to origins that files may come from,
    /// and the token goes only to those that may receive it. Waits until the bounds on concurrent downloads
    /// admit another one; dropping the body lets the next one start.
    fn open(
        &self,
        server: &Arc<FhirServer>,
        file: &FileRequest,
    ) -> impl Future<Output = Result<FileAnswer, Failure>> + Send;
    /// Reads a key of a Secret with the credential label.
    fn secret(
        &self,
        namespace: &str,
        key: &KeyRef,
    ) -> impl Future<Output = Result<SecretString, Failure>> + Send;
    /// How many origins are currently throttling at least one identity, for metrics.
    fn throttled_origins(&self) -> usize {
        0
    }
    /// Whether a server has asked this client of it to wait, for metrics.
    fn throttles(&self, _server: &FhirServer) -> bool {
        false
    }
    /// Drops what is cached for a `FhirServer` that was deleted, by its uid.
    fn forget(&self, _uid: &str) {}
}
