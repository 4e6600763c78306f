//! Exports of FHIR Bulk Data servers that the operator lands itself: as a process, on a real Kubernetes API server,
//! from the Bulk Data test server into Azurite.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod at_rest;
mod dialects;
mod kills;
#[allow(dead_code)] // what other programs use of it
#[path = "../storage/lake.rs"]
mod lake;
mod leaks;
mod lifetimes;
mod patients;
mod place;
mod resume;
mod runs;
#[allow(dead_code)] // likewise
#[path = "../e2e/site.rs"]
mod site;
mod smart;
mod verdicts;
mod wire;
