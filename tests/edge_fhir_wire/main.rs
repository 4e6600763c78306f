//! Tests of the wire to FHIR servers and Entra against servers that misbehave.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod cluster;
mod endpoint;
mod entra;
mod failures;
mod files;
mod oauth;
mod provider;
mod reach;
mod server;
mod smart;
mod tokens;
