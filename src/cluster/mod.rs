//! The API server: status, finalizers, events, credentials, watches, the Lease.
//!
//! Only this module and the outermost shell use kube's client. The reconciles see it through [`crate::ports`].
//!
//! Uses: api, core, credentials, metrics, ports, stop.

mod call;
mod campaign;
mod client;
pub mod credentials;
pub mod definitions;
mod events;
mod landing_pods;
pub mod lead;
mod lease;
mod lease_lock;
mod merge;
pub mod neighbours;
mod readable;
mod run_now;
pub mod stores;
pub mod watch;
mod write;

pub use call::{CallError, call, root_cause};
pub use client::{Choice, chosen, client, client_and_namespace, client_within, settings};
pub use credentials::KubeCredentials;
pub use landing_pods::KubeLandingPods;
pub use run_now::run_now;
pub use stores::KubeStores;
pub use write::KubeCluster;

/// The operator's name as field manager, as source of events and in its `User-Agent`.
pub const NAME: &str = "fhir-export-operator";
