//! Counts the requests to FHIR servers.

use std::sync::Arc;
use std::time::Instant;

use super::{Metrics, Operation};
use secrecy::SecretString;

use crate::api::{FhirServer, KeyRef};
use crate::core::wire::{Failure, FailureKind, FileRequest, Method, Reply, Request};
use crate::ports::FileAnswer;
use crate::ports::Wire;

/// A [`Wire`] that counts the requests of another one.
pub struct Metered<W> {
    wire: W,
    metrics: Arc<Metrics>,
}

impl<W> Metered<W> {
    /// Counts the requests that go through `wire`.
    pub fn new(wire: W, metrics: Arc<Metrics>) -> Self {
        Self { wire, metrics }
    }
}

impl<W: Wire> Wire for Metered<W> {
    async fn authorize(&self, server: &Arc<FhirServer>) -> Result<(), Failure> {
        self.wire.authorize(server).await
    }

    async fn send(&self, server: &Arc<FhirServer>, request: &Request) -> Reply {
        let started = Instant::now();
        let reply = self.wire.send(server, request).await;
        let status = match &reply {
            Ok(answer) => Some(answer.status),
            // Nothing was sent to the server.
            Err(Failure { kind: FailureKind::Missing, .. }) => return reply,
            Err(Failure { kind: FailureKind::HeldBack { .. }, .. }) => {
                self.metrics.held_back(operation(request));
                return reply;
            }
            Err(_) => None,
        };
        self.metrics.requested(operation(request), status, started.elapsed());
        reply
    }

    async fn open(&self, server: &Arc<FhirServer>, file: &FileRequest) -> Result<FileAnswer, Failure> {
        let started = Instant::now();
        let answer = self.wire.open(server, file).await;
        let status = match &answer {
            Ok(FileAnswer::Opened(head, _)) => Some(if head.offset > 0 { 206 } else { 200 }),
            Ok(FileAnswer::Refused(answer)) => Some(answer.status),
            Ok(FileAnswer::Unusable(_)) => Some(if file.resume.is_some() { 206 } else { 200 }),
            Ok(FileAnswer::Elsewhere(_)) | Err(Failure { kind: FailureKind::Missing, .. }) => return answer,
            Err(Failure { kind: FailureKind::HeldBack { .. }, .. }) => {
                self.metrics.held_back(Operation::File);
                return answer;
            }
            Err(_) => None,
        };
        self.metrics.requested(Operation::File, status, started.elapsed());
        answer
    }

    async fn secret(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, Failure> {
        self.wire.secret(namespace, key).await
    }

    fn throttled_origins(&self) -> usize {
        self.wire.throttled_origins()
    }

    fn throttles(&self, server: &FhirServer) -> bool {
        self.wire.throttles(server)
    }

    fn forget(&self, uid: &str) {
        self.wire.forget(uid);
    }
}

fn operation(request: &Request) -> Operation {
    match request {
        Request { method: Method::Delete, .. } => Operation::Cancel,
        Request { url, .. } if url.ends_with("?_summary=count") => Operation::Count,
        Request { prefer: Some(_), .. } => Operation::KickOff,
        Request { with_token: false, .. } => Operation::Metadata,
        // The probes of core::server: a job that cannot exist, or the metadata with a token.
        Request { url, .. } if url.ends_with("/_operations/export/0") || url.ends_with("/metadata") => {
            Operation::Access
        }
        _ => Operation::Poll,
    }
}
