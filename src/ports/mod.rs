//! The ports: traits for what the reconciles need from outside. The edges implement them for a cluster, and
//! the simulation implements them as models.
//!
//! Uses: api, core.

mod clock;
mod cluster;
mod pods;
mod storage;
mod stores;
mod task;
pub mod tenure;
mod wire;

pub use clock::{Clock, Randomness, SystemClock, SystemRandomness};
pub use cluster::{Cluster, ClusterFailure, Creation};
pub use pods::{LandingPods, PodsFailure, PodsStand};
pub use storage::{Committed, ObjectStore, Target, Upload};
pub use stores::{JobKey, Stores};
pub use task::{EndTask, ExportTask, Panicked, guarded};
pub use tenure::Tenure;
pub use wire::{BrokenOff, FileAnswer, Pieces, UnusableBody, Wire};
