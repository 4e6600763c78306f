//! What is specific to Azure's FHIR service: its kick-off, and how a manifest proves whose job it is.

pub mod kick_off;
