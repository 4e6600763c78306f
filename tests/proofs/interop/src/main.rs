//! Exports of third-party FHIR servers, HAPI FHIR and sekmet-fhir, at all three levels, by the operator on a real API
//! server into Azurite. The program then looks for every resource that the server's own search finds in the container,
//! and for every line in the container in the files that the server served. Finally, schedules export from HAPI and the
//! project's test server while their data change all the time. The program succeeds only if nothing is missing and
//! nothing was doubled.

mod changing;
mod compare;
mod compartment;
mod exports;
mod fhir;
mod lake;
mod objects;
mod operator;
mod patients;
mod schedules;
mod shared;
mod table;
mod trial;
mod world;

use std::process::ExitCode;

use stage::{Program, play};
use world::World;

/// Why the program ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part could not be started or used.
    #[error("{0}")]
    Stage(#[from] stage::Error),
    /// The Kubernetes API refused a request.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// An account SAS could not be created, or the test server failed.
    #[error("the storage account's key, or the test server: {0}")]
    Key(#[from] azure_fhir::Error),
    /// A FHIR server did not answer.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// A FHIR server sent an unexpected answer.
    #[error("{0}")]
    Fhir(String),
    /// A text is not the expected JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The storage account refused a request, or holds something unexpected.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The operator's program is missing, or the operator does not work as it must.
    #[error("{0}")]
    Operator(String),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A result, or why the program ended early.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    play(&mut World::default()).await.into()
}

impl Program for World {
    type Error = Error;
    const NAME: &'static str = "interop";

    async fn run(&mut self) -> Result<bool> {
        trial::run(self).await
    }

    async fn clues(&self, _: &Result<bool>) -> Vec<String> {
        World::clues(self)
    }

    async fn end(&mut self) -> Result<()> {
        World::end(self).await
    }
}
