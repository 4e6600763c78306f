//! The storage edge against Azurite: credentials, lists, counts, checks, broken connections.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod blocks;
mod credentials;
mod deletion;
mod entra;
mod faults;
mod folders;
mod lake;
mod memory;
mod relay;
mod store;
mod verify;
