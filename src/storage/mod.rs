//! The storage edge: the stores that implement the port [`ObjectStore`](crate::ports::ObjectStore). Each has a folder
//! of its own and decides by itself where it keeps checkpoints and marks.
//!
//! Uses: api, core, credentials, ports.

mod at_rest;
pub mod azure;
mod by_type;
mod check;
pub mod folder;
mod key;

pub use azure::{BlobStorage, CallerCredential, EndpointFrom, StorageHosts, http_client};
pub use by_type::{StorageByType, UploadByType};
pub use folder::FolderStorage;
