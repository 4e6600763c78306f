//! The reconciles: resolve, step, perform, step, publish.
//!
//! Uses: api, cluster, core, metrics, ports.

mod complaints;
pub mod export;
mod facts;
pub mod guard;
mod landing;
mod members;
mod patients;
mod perform;
pub mod runs;
pub mod schedule;
pub mod server;
mod told;
pub mod wake;
pub mod world;
