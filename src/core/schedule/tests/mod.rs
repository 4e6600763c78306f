//! Tests of schedules with a made-up clock, runs and cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adopting;
mod chains;
mod law;
mod members;
mod members_held_up;
mod members_kept;
mod members_law;
mod policies;
mod refusing;
mod retaining;
mod retaining_deletions;
mod retaining_law;
mod times;
mod world;
