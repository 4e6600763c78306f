//! Tests of the storage edge against Azurite, S3 stores and folders of the file system: credentials, lists, counts,
//! checks, broken connections, and the contract of the port.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod blocks;
mod caller;
mod contract;
mod credentials;
mod deletion;
mod entra;
mod faults;
mod folders;
mod lake;
mod memory;
mod placement;
mod s3;
mod store;
mod verify;
mod volumes;
