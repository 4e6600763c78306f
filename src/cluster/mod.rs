//! The way to the API server: status, finalizers, events, credentials, watches, the lease.
//!
//! Only this module and the outermost shell name kube's client. What the reconciles see of it are the interfaces
//! of [`crate::ports`].
//!
//! Uses: api, core, credentials, metrics, ports, stop.

mod call;
mod campaign;
mod client;
pub mod credentials;
pub mod definitions;
mod events;
pub mod lead;
mod lease;
mod merge;
mod run_now;
pub mod stores;
pub mod watch;
mod write;

pub use call::root_cause;
pub use client::{client, client_and_namespace, settings};
pub use credentials::KubeCredentials;
pub use run_now::run_now;
pub use stores::KubeStores;
pub use write::KubeCluster;

/// Under which name the operator writes to objects, publishes events and names itself to the API server.
pub const NAME: &str = "fhir-export-operator";
