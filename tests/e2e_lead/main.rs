//! Which replica works: operators as processes with the rights that the chart gives, on a real API server that is
//! lost to them in all the ways that there are, while exports are created all the time. By the FHIR server's records
//! each is kicked off once.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod handover;
mod hindered;
mod paused;
mod place;
mod relay;
mod replica;
mod second;
mod stream;
mod takeover;
