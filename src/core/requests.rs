//! The parts of a request that all dialects share: encoding, the path of the operation, and the requests for
//! a job whose status URL is known.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::manifest::MAX_MANIFEST;
use super::wire::{Method, Request};
use crate::api::{ExportRequest, FhirServerSpec, Level};

/// Everything but RFC 3986's unreserved characters: a raw `+` would be read as a space.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The media type of FHIR resources. Azure's FHIR service accepts exactly this as `Accept`.
pub const FHIR_JSON: &str = "application/fhir+json";

/// The longest body, in bytes, that is read of an answer that should be an OperationOutcome.
pub(in crate::core) const MAX_OUTCOME: usize = 256 * 1024;

/// The container that an export asks for: its own, else the server's default.
pub fn container(server: &FhirServerSpec, request: &ExportRequest) -> Option<String> {
    request.container.clone().or_else(|| server.default_container.clone())
}

/// The request for the status of a job on an Azure server.
pub fn status(status_url: &str) -> Request {
    Request {
        method: Method::Get,
        url: status_url.to_owned(),
        accept: FHIR_JSON,
        prefer: None,
        no_cache: false,
        max_body: MAX_MANIFEST,
        with_token: true,
        body: None,
        patients: None,
    }
}

/// The request for the status of a job on a Bulk Data server, whose manifest is plain JSON.
pub fn bulk_status(url: &str) -> Request {
    Request { accept: "application/json", ..status(url) }
}

/// The `DELETE` of a status URL: it cancels a running job, and tells the server to forget a finished one.
pub fn delete(status_url: &str) -> Request {
    Request { method: Method::Delete, max_body: MAX_OUTCOME, ..status(status_url) }
}

/// The path of the `$export` operation, below the server's base URL. The error is one sentence for the user.
pub(in crate::core) fn operation(request: &ExportRequest) -> Result<String, String> {
    match (request.level, request.group_id.as_deref()) {
        (Level::System, _) => Ok("$export".to_owned()),
        (Level::Patient, _) => Ok("Patient/$export".to_owned()),
        (Level::Group, Some(id)) => Ok(format!("Group/{}/$export", encode(id))),
        (Level::Group, None) => Err("groupID is required when level is Group".to_owned()),
    }
}

/// Percent-encodes a path segment, or a name or value of a query.
pub(in crate::core) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}
