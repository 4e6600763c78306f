//! A test server that speaks the export dialect of Azure's FHIR service: the checks and texts of its kick-off, its
//! jobs, its manifests and its files, and everything about them that can go wrong.
//!
//! ```no_run
//! # async fn example() -> Result<(), azure_fhir::Error> {
//! use azure_fhir::{Failure, Options, Script, Server};
//!
//! let server = Server::start(Options::default()).await?;
//! server.script(Script::polls(3).container("lake"));
//! server.script(Script::fails(Failure::StorageAccessDenied).group("cohort-42"));
//! // ... the code under test talks to server.url() ...
//! assert_eq!(server.requests().iter().filter(|r| r.is_kick_off()).count(), 1);
//! assert!(server.leaked_tokens().is_empty());
//! # Ok(())
//! # }
//! ```

mod cancel;
mod container;
mod entra;
mod export;
mod failure;
mod fault;
mod job;
mod kickoff;
pub mod listen;
mod manifest;
mod metadata;
pub mod outcome;
mod parameters;
mod patients;
mod record;
mod routes;
mod script;
mod server;
mod status;
mod strike;
pub mod test_routes;
mod tls;
mod token;
mod type_filter;
mod world;

pub use container::Storage;
pub use entra::{Entra, EntraFault, EntraOptions, Secret};
pub use failure::Failure;
pub use fault::{Fault, On, RequestFault, Step};
pub use job::{File, JobView, State};
pub use manifest::ManifestQuirk;
pub use parameters::{Level, parse_moment};
pub use patients::{LOADED, Latest, Patients, owner};
pub use record::{Listener, Request};
pub use script::{
    CancelProfile, Ending, KickOffAnswer, Layout, Life, Matching, Progress, RetryAfter, Script,
};
pub use server::{Options, Server};
pub use strike::strike;
pub use tls::TestCa;
pub use token::{Access, KnownToken, Role, unsigned_jwt};
pub use type_filter::TypeFilter;
pub use world::guid;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken, or a file cannot be read.
    #[error("input or output: {0}")]
    Io(#[from] std::io::Error),
    /// No certificate could be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// No HTTP client for the storage account could be made.
    #[error("client: {0}")]
    Client(#[from] reqwest::Error),
    /// The key of the storage account is not base64.
    #[error("the key of the storage account is not base64")]
    StorageKey,
    /// A resource is not one.
    #[error("patients: {0}")]
    Patients(String),
}
