//! Requests to FHIR servers: which credentials go where, and what a missing answer means.

mod answer;
mod authorization;
mod clients;
mod download;
mod failure;
pub mod held_back;
mod oauth;
pub mod origin;
mod pieces;
mod wire;

pub use held_back::is_failed_job;
pub use wire::{FhirWire, WireSettings};
