//! Exports of FHIR servers of others, HAPI FHIR and sekmet-fhir, at all three levels: through the operator on a real API server
//! into Azurite. Then every resource that the server's own search finds is looked for in the container, and every line in the
//! container in the files that the server served. At last schedules export what changes on HAPI and on the project's test server all the
//! time. It ends with success only if nothing is missing and nothing was doubled.

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

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part could not be started or used.
    #[error("{0}")]
    Stage(#[from] stage::Error),
    /// The Kubernetes API refused something.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// An account SAS could not be made, or the test server is not as it should be.
    #[error("the storage account's key, or the test server: {0}")]
    Key(#[from] azure_fhir::Error),
    /// A FHIR server did not answer.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// A FHIR server answered what it should not.
    #[error("{0}")]
    Fhir(String),
    /// Something is not the JSON that it should be.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The storage account refused something, or holds something odd.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The operator is not there, or does not do what it is there for.
    #[error("{0}")]
    Operator(String),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What this program does, or why it ended early.
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
