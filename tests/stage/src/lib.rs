//! The real parts that the tests and the demonstration run against: a
//! Kubernetes control plane, Azurite, kubectl and Helm, and FHIR servers of
//! others with patients by Synthea, as child processes on loopback.
//!
//! Every part keeps its files in a temporary folder of its own, and ends when
//! its value is dropped, or when the process that started it ends in any way,
//! `SIGKILL` included.
//!
//! A static value is shared by the tests of one program, each with a runtime
//! of its own: nothing here is bound to the runtime that started it.

mod audit;
mod authority;
mod azurite;
mod error;
mod folder;
mod hapi;
mod kubeconfig;
mod kubernetes;
mod parts;
mod port;
mod process;
mod relay;
mod sekmet;
mod synthea;
mod tell;
mod tool;
mod wait;

pub use audit::{AuditEntry, AuditLog};
pub use authority::{Authority, Issued};
pub use azurite::{Azurite, AzuriteOptions, WELL_KNOWN_ACCOUNT, WELL_KNOWN_KEY};
pub use error::{Error, Result};
pub use folder::Folder;
pub use hapi::Hapi;
pub use kubernetes::{Kubernetes, KubernetesOptions, service_account_user};
pub use parts::{Parts, faketime, helm, parts, promtool};
pub use port::free_port;
pub use process::{Process, ProcessOptions};
pub use relay::{Manner, Relay};
pub use sekmet::Sekmet;
pub use synthea::synthea;
pub use tell::{complain, say, timed};
pub use tool::{Output, Tool};
pub use wait::{wait_for, wait_until};
