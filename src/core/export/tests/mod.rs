//! Drives the core like the controller does, against a server and a container made of plain values.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod any;
mod cancelling;
mod clock;
mod ending;
mod every;
mod failing;
mod fake;
mod following;
mod holding;
mod landing;
mod law;
mod logged;
mod look;
mod lost;
mod pinned;
mod refusing;
mod said;
mod script;
mod starting;
mod states;
mod world;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::{ExportRequest, FhirExport, FhirServer};

/// The time at which each test begins.
pub(crate) fn start() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

/// The time this many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

/// A request, from its fields.
pub(crate) fn request(fields: Value) -> ExportRequest {
    serde_json::from_value(fields).unwrap()
}

/// An open Azure server without storage.
pub(crate) fn azure_server() -> FhirServer {
    serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": {"name": "clinic", "namespace": "fhir", "uid": "server-uid", "generation": 1},
        "spec": {"url": "https://clinic.example", "dialect": "Azure", "auth": {"type": "None"}},
    }))
    .unwrap()
}

/// An open Azure server with a storage account.
pub(crate) fn stored_server() -> FhirServer {
    let mut server = azure_server();
    server.spec.storage = serde_json::from_value(json!({"type": "AzureBlob",
        "azureBlob": {"endpoint": "https://acct.blob.example",
            "auth": {"type": "AccountKey", "secretRef": {"name": "a", "key": "b"}}}}))
    .unwrap();
    server
}

/// A Bulk Data server with a storage account, after its first probe.
#[allow(clippy::needless_pass_by_value)] // likewise
pub(crate) fn bulk_server(bulk_data: Value) -> FhirServer {
    let mut server = stored_server();
    server.spec.dialect = crate::api::Dialect::BulkData;
    server.spec.bulk_data = Some(serde_json::from_value(bulk_data).unwrap());
    server.status = Some(serde_json::from_value(json!({"observedGeneration": 1})).unwrap());
    server
}

/// An export of these further fields of `spec`.
#[allow(clippy::needless_pass_by_value)] // it is given a json! each time
pub(crate) fn export(spec: Value) -> FhirExport {
    let mut whole = json!({"serverRef": {"name": "clinic"}, "request": {"level": "System"}});
    for (name, value) in spec.as_object().unwrap() {
        whole[name] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": {"name": "run", "namespace": "fhir", "uid": "0123abcd-run", "generation": 1,
            "creationTimestamp": start().to_string()},
        "spec": whole,
    }))
    .unwrap()
}
