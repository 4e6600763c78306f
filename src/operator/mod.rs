//! The operator as a process: the edges put together, the queues, leader election, the start and the end.
//!
//! Uses: api, cluster, config, controller, core, credentials, fhir, metrics, ports, serve, stop, storage.

mod live;
pub mod operate;
pub mod run;
pub mod stand_by;
