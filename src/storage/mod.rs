//! The storage edge: the stores that implement the port [`ObjectStore`](crate::ports::ObjectStore). Each has a folder
//! of its own and decides by itself where it keeps checkpoints and marks.
//!
//! Uses: api, core, credentials, ports.

mod at_rest;
pub mod azure;
mod check;
pub mod folder;
mod key;

pub use azure::{BlobStorage, StorageHosts, http_client};
pub use folder::FolderStorage;
