//! What the operator exposes about itself: metrics, liveness, readiness, and its log.

mod health;
mod listen;
pub mod logs;
pub mod metered;
pub mod metrics;

pub use health::Health;
pub use listen::{Served, listen};
pub use metrics::Metrics;
