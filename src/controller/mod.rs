//! The reconciles: resolve, step, perform, step, publish.

pub mod world;
