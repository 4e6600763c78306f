//! The port to FHIR servers.

use std::sync::Arc;

use secrecy::SecretString;

use crate::api::{FhirServer, KeyRef};
use crate::core::wire::{Failure, FileAnswer, FileRequest, Reply, Request};

/// Requests to FHIR servers, with the credentials of a `FhirServer`.
pub trait Wire: Send + Sync {
    /// Makes sure that a request could be sent: credentials there, token in hand.
    fn authorize(&self, server: &Arc<FhirServer>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Sends one request.
    fn send(&self, server: &Arc<FhirServer>, request: &Request) -> impl Future<Output = Reply> + Send;
    /// Opens a file for reading: from the origins that files may come from only, redirects included, and with a
    /// token only where that may go. Waits for one of the places for downloads, which the body gives back.
    fn open(
        &self,
        server: &Arc<FhirServer>,
        file: &FileRequest,
    ) -> impl Future<Output = Result<FileAnswer, Failure>> + Send;
    /// A key of a Secret with the credential label.
    fn secret(
        &self,
        namespace: &str,
        key: &KeyRef,
    ) -> impl Future<Output = Result<SecretString, Failure>> + Send;
    /// How many origins ask for patience now: for metrics.
    fn throttled_origins(&self) -> usize {
        0
    }
}
