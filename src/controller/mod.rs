//! The reconciles: resolve, step, perform, step, publish.

mod complaints;
pub mod export;
mod facts;
pub mod guard;
mod landing;
mod listings;
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
mod told;
pub mod wake;
pub mod world;
