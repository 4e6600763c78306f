//! The operator as a process, on a real Kubernetes API server, with Azurite and the Azure-dialect test server.
//! All tests share one control plane and one Azurite; each has a namespace, a FHIR server and an operator of
//! its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod auth;
mod cancels;
mod exports;
mod identities;
mod job_failures;
mod kick_offs;
mod leaks;
mod left_behind;
mod lifetimes;
mod logs;
mod mistakes;
mod planted;
mod reading;
mod refused;
mod repairs;
mod restarts;
mod rotations;
mod schedules;
mod servers;
mod site;
mod storage_auth;
mod tenant;
mod tokens;
