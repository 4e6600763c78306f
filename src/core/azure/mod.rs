//! What is particular to Azure's FHIR service: the kick-off that it takes, and how a manifest proves whose job it is.

pub mod kick_off;
