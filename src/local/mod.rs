//! The operator on one machine: the same manifests, reconciles and edges, with a state file instead of an API server.
//!
//! `api` answers the operator's own client within the process, from the objects of the state file. Everything else is
//! what stands around an operator in a cluster: reading manifests (`manifests`, `apply`), credentials
//! (`secrets`), a directory in place of a storage account (`container`).
//!
//! Uses: api, config, offline, operator, ports, serve, show, stop, storage.

mod api;
mod apply;
mod container;
mod delete;
mod follow;
mod interrupt;
mod manifests;
mod objects;
mod refusal;
mod run;
mod secrets;
mod session;
mod state;

pub use delete::{Deletion, delete};
pub use interrupt::OnInterrupt;
pub use run::{Run, get, run};
