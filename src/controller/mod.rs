//! The reconciles: each resolves its inputs, decides a step, performs its effects, decides again, and publishes
//! events.
//!
//! Uses: api, cluster, core, metrics, ports.

mod complaints;
pub mod export;
mod facts;
pub mod guard;
mod land_by_pods;
pub mod landing;
mod listings;
mod lock;
mod members;
mod patients;
mod perform;
pub mod places;
pub mod request;
pub mod runs;
pub mod schedule;
pub mod server;
mod spans;
mod transitions;
pub mod wake;
pub mod world;
