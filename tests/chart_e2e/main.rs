//! The whole product as Helm installs it. The operator's process runs with the arguments of the rendered Deployment and
//! as the chart's `ServiceAccount`. Exports complete, RBAC refuses the operator nothing, and uninstalling strands
//! nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod everywhere;
mod granted;
mod listed;
mod lost;
mod platform;
mod release;
mod rights;
mod tenancy;
