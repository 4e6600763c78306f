//! Exports of FHIR Bulk Data servers that the operator lands itself: as a process, on a real Kubernetes API server,
//! from the Bulk Data test server into Azurite.

mod at_rest;
mod dialects;
mod kills;
mod leaks;
mod lifetimes;
mod patients;
mod resume;
mod runs;
mod shared;
mod smart;
mod verdicts;
mod wire;
