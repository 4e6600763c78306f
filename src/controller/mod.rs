//! The reconciles: resolve, step, perform, step, publish.

pub mod export;
pub mod run;
pub mod server;
pub mod world;
