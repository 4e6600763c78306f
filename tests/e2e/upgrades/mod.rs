//! Upgrades and downgrades of the operator while there are exports in every phase.
//!
//! `df878be.json` holds the objects of such exports as the version of that commit stored them. It was recorded by
//! running that version: `make upgrade FROM=df878be RECORD=1`.

mod live;
mod phases;
mod recording;
mod replay;
mod schema;
