//! Tests of the operator as a process, on a real Kubernetes API server, with Azurite and the test servers. All tests
//! share one control plane and one Azurite; each has a namespace, a FHIR server and an operator of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::cast_precision_loss,
    clippy::string_slice
)]

mod alerts;
mod azure;
mod kubelet;
mod landing;
mod place;
mod plugin;
mod schedules;
mod site;
mod tracing;
mod upgrades;
