//! Turns the spec of an export into its kick-off request, in the dialect of the server.

use super::requests::container;
use super::wire::Request;
use super::{azure, bulk};
use crate::api::{Dialect, ExportRequest, FhirServer};

/// The request that starts the job. `namespace` is that of the export, which holds any Secret with a list of
/// patients. The error is one sentence: what the server cannot do, and what to change.
pub fn request(server: &FhirServer, export: &ExportRequest, namespace: &str) -> Result<Request, String> {
    match server.spec.dialect {
        Dialect::BulkData => bulk::kick_off::request(server, export, namespace),
        Dialect::Azure => {
            let container = container(&server.spec, export);
            azure::kick_off::request(&server.spec.url, export, container.as_deref())
        }
    }
}
