//! Counts the requests to FHIR servers.

use std::sync::Arc;
use std::time::Instant;

use super::Metrics;
use super::metrics::Operation;
use crate::api::FhirServer;
use crate::controller::world::Wire;
use crate::core::wire::{Failure, FailureKind, Method, Reply, Request};

/// A wire whose requests are counted.
pub struct Metered<W> {
    wire: W,
    metrics: Arc<Metrics>,
}

impl<W> Metered<W> {
    /// Counts the requests of this wire.
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
            // Nothing was asked of the server.
            Err(Failure { kind: FailureKind::Missing | FailureKind::HeldBack { .. }, .. }) => return reply,
            Err(_) => None,
        };
        self.metrics.requested(operation(request), status, started.elapsed());
        reply
    }
}

fn operation(request: &Request) -> Operation {
    match request {
        Request { method: Method::Delete, .. } => Operation::Cancel,
        Request { prefer: Some(_), .. } => Operation::KickOff,
        Request { with_token: false, .. } => Operation::Metadata,
        // The job that cannot exist: see core::server.
        Request { url, .. } if url.ends_with("/_operations/export/0") => Operation::Access,
        _ => Operation::Poll,
    }
}
