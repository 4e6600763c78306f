//! The reconciles: resolve, step, perform, step, publish.

pub mod export;
mod facts;
mod perform;
pub mod run;
pub mod runs;
pub mod server;
pub mod world;
