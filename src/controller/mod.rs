//! The reconciles: each resolves its inputs, decides a step, performs its effects, decides again, and publishes
//! events.

mod complaints;
pub mod export;
mod facts;
pub mod guard;
mod landing;
pub mod live;
mod members;
pub mod operate;
mod patients;
mod perform;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod server;
pub mod stand_by;
pub mod tenure;
mod transitions;
pub mod wake;
pub mod world;
