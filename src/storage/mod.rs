//! The storage edge: the stores that implement the port [`ObjectStore`](crate::ports::ObjectStore). Each has a folder
//! of its own and decides by itself where it keeps checkpoints and marks.
//!
//! Uses: api, core, credentials, ports.

mod at_rest;
pub mod azure;
mod by_type;
mod check;
pub mod folder;
mod hosts;
mod key;
mod marks;
pub mod s3;

pub use azure::{BlobStorage, CallerCredential, http_client};
pub use by_type::{StorageByType, UploadByType};
pub use folder::FolderStorage;
pub use hosts::{EndpointFrom, StorageHosts};
pub use s3::{AccessKey, S3Storage, s3_client};
