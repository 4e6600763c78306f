//! What must hold whatever a FHIR server or a user's manifest says. Each function takes any bytes and panics if something
//! does not hold; the targets of `fuzz/` and the test of this crate call nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod content_location;
mod manifest;
mod outcome;
mod retry_after;
mod type_filter;

use fhir_export_operator::api::FhirServer;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

pub use content_location::content_location;
pub use manifest::manifest;
pub use outcome::outcome;
pub use retry_after::retry_after;
pub use type_filter::type_filter;

/// What is given any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 5] = [
    ("content_location", content_location),
    ("manifest", manifest),
    ("outcome", outcome),
    ("retry_after", retry_after),
    ("type_filter", type_filter),
];

/// A `FhirServer` of this dialect, with one trusted origin and one for files.
fn server(dialect: &str, bulk_data: Value) -> FhirServer {
    let mut object = json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": {"name": "clinic", "namespace": "fhir", "uid": "uid-clinic", "generation": 1},
        "spec": {
            "url": "https://clinic.example/fhir", "dialect": dialect, "auth": {"type": "None"},
            "trustedOrigins": ["https://bulk.example:8443"], "fileOrigins": ["https://files.example"],
            "storage": {"type": "AzureBlob", "azureBlob": {"endpoint": "https://acct.blob.example",
                "auth": {"type": "AccountKey", "secretRef": {"name": "storage", "key": "key"}}}},
        },
    });
    if !bulk_data.is_null() {
        object["spec"]["bulkData"] = bulk_data;
    }
    serde_json::from_value(object).unwrap()
}

/// Decoded as often as it can be.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let once = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if once.len() >= text.len() {
            return once;
        }
        text = once;
    }
}

/// What people read: short, one line, without the query of a URL or an id of a patient.
fn fit_to_be_shown(text: &str, most: usize) {
    assert!(text.chars().count() <= most, "{} characters: {text}", text.chars().count());
    assert!(!text.contains(char::is_control), "{text:?}");
    for word in text.split_whitespace() {
        let plain = decoded(word);
        for (at, mark) in plain.match_indices("Patient/") {
            let next = plain[at + mark.len()..].chars().next();
            assert!(!next.is_some_and(|c| c.is_ascii_alphanumeric()), "a patient in {word:?}");
        }
        if let Some((_, query)) = plain.split_once('?') {
            // A sentence may go on with a mark of its own.
            assert!(!query.contains(char::is_alphanumeric), "a query in {word:?}");
        }
    }
}
