//! Exports of FHIR Bulk Data servers, whose files the operator lands itself: from the Bulk Data test server into
//! Azurite.

mod at_rest;
mod dialects;
mod jobs;
mod kills;
mod leaks;
mod lifetimes;
mod patients;
mod resume;
mod runs;
mod s3;
mod shared;
mod smart;
mod verdicts;
mod volume;
mod wire;
