//! Decisions: pure functions of values. Nothing here is async, asks a clock, reads the environment or knows a
//! client.

pub mod address;
pub mod effect;
pub mod ledger;
pub mod tuning;
pub mod wire;
