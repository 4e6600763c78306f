//! What one tenant can do to another, to the owner of a server, and to the operator: each an attack, with the roles that
//! the chart gives, on a real API server.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod broken;
mod credentials;
mod ear;
mod forged;
#[allow(dead_code)] // it is of tests/chart_e2e, which needs more of it
#[path = "../chart_e2e/release.rs"]
mod release;
mod rights;
mod turns;
mod world;
