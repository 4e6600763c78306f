//! What is specific to FHIR Bulk Data servers: how they deviate, what is sent to them, and what their answers
//! mean.

pub mod answer;
pub mod dialect;
pub mod kick_off;
pub mod manifest;

pub use dialect::Deviations;
