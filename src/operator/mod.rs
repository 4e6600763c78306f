//! The operator as a process: wires the edges together, runs the queues and the leader election, starts and stops.
//!
//! Uses: api, cluster, config, controller, core, credentials, fhir, metrics, ports, serve, stop, storage, traces.

pub mod live;
pub mod operate;
pub mod run;
pub mod signals;
pub mod stand_by;
mod sweep;
