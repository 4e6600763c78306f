//! When a schedule runs.

pub mod slots;
