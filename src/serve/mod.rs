//! What the operator exposes about itself: metrics, liveness, readiness, and its log.
//!
//! Uses: metrics, stop.

mod health;
mod listen;
pub mod logs;

pub use health::Health;
pub use listen::{Listeners, listen};
