//! The operator is replaced by another version of itself while there are exports in every phase.
//!
//! `df878be.json` holds what the version of that commit had stored of them. It was recorded by running that version:
//! `make upgrade FROM=df878be RECORD=1`.

mod live;
mod phases;
mod recording;
mod replay;
mod schema;
