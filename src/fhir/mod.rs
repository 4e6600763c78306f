//! Requests to FHIR servers: which credentials go where, and what a missing answer means.
//!
//! Uses: api, core, credentials, ports.

mod answer;
mod authorization;
mod clients;
mod download;
mod download_limits;
mod failure;
pub mod held_back;
mod hush;
mod oauth;
pub mod origin;
mod pieces;
mod wire;

pub use held_back::is_failed_job;
pub use wire::{FhirWire, WireSettings};
