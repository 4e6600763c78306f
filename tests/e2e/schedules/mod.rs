//! Schedules: on a real API server, with the operator as a process and FHIR servers whose data change all the time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod ahead;
mod azure;
mod joined;
#[allow(dead_code)] // what other programs use of it
#[path = "../storage/lake.rs"]
mod lake;
#[allow(dead_code)] // likewise
#[path = "../landing/place.rs"]
mod place;
mod replayed;
mod retained;
#[allow(dead_code)] // likewise
#[path = "../e2e/site.rs"]
mod site;
