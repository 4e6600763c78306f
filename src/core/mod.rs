//! Decisions: pure functions of values. Nothing here is async, reads a clock or the environment, or uses a client.
//!
//! Uses: api.

pub mod address;
pub mod admission;
pub mod allow;
pub mod answer;
pub mod azure;
pub mod bucket;
pub mod bulk;
pub mod capability;
pub mod condition;
pub mod definitions;
pub mod effect;
pub mod export;
pub(crate) mod folder;
pub mod kick_off;
pub mod landing;
pub mod lease;
pub mod ledger;
pub mod lines;
pub mod manifest;
pub mod neighbour;
pub mod outcome;
pub mod planted;
pub mod poll;
pub mod reach;
pub mod requests;
pub(crate) mod retry;
pub mod rules;
pub mod schedule;
pub mod seats;
pub mod server;
mod storage_failure;
pub mod store_name;
pub mod stored_manifest;
pub mod trace;
pub mod tuning;
pub mod volume;
pub mod wire;
pub mod words;
