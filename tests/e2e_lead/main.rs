//! Leader election: operators as processes, with the rights that the chart grants, on a real API server. They lose the
//! API server in every way that the tests know, while exports are created all the time. The FHIR server's records must
//! show one kick-off of each.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod gate;
mod handover;
mod hindered;
mod paused;
mod place;
mod replica;
mod second;
mod stream;
mod takeover;
