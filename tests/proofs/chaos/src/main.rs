//! Many exports on a real API server with Azurite, test servers and HAPI FHIR, while the operator and everything
//! around it breaks. When the faults have stopped and all exports have ended, an audit compares the records of the
//! servers, the API server and the containers. The program succeeds only if nothing was lost, doubled, leaked or
//! left over.
//!
//! SEED and EXPORTS are read from the environment.

mod audit;
mod cluster;
mod collect;
mod fire;
mod gateway;
mod operator;
mod plan;
mod record;
mod scrape;
mod servers;
mod stores;
mod table;
mod tally;
mod world;

use std::process::ExitCode;

use stage::{Program, complain, play, say};

use plan::Plan;
use world::World;

const EXPORTS: u32 = 200;

/// Why the program ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part could not be started or used.
    #[error("{0}")]
    Stage(#[from] stage::Error),
    /// The Kubernetes API refused a request.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// A test server could not be started.
    #[error("a FHIR server: {0}")]
    Server(#[from] azure_fhir::Error),
    /// HAPI did not answer as expected.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// A text is not the expected JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The storage account refused a request.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The operator's program is missing, or the operator does not work as it must.
    #[error("{0}")]
    Operator(String),
    /// A file or a socket could not be used.
    #[error("{0}")]
    Io(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A result, or why the program ended early.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    play(&mut World::default()).await.into()
}

impl Program for World {
    type Error = Error;
    const NAME: &'static str = "chaos";

    async fn run(&mut self) -> Result<bool> {
        run(self).await
    }

    async fn clues(&self, done: &Result<bool>) -> Vec<String> {
        // The program has already printed the audit's findings and the folder of the records.
        if done.is_ok() { Vec::new() } else { World::clues(self).await }
    }

    async fn end(&mut self) -> Result<()> {
        World::end(self).await
    }
}

/// Runs the program. Returns whether the audit found nothing.
async fn run(world: &mut World) -> Result<bool> {
    let seed = number("SEED")?.unwrap_or_else(rand::random);
    let exports = number("EXPORTS")?.unwrap_or_else(|| u64::from(EXPORTS));
    let exports = u32::try_from(exports).ok().filter(|exports| (1..=10_000).contains(exports));
    let exports = exports.ok_or_else(|| Error::Io("EXPORTS must be 1 to 10000".into()))?;
    say(&format!("chaos: SEED={seed} EXPORTS={exports}"));
    let (records, figures) = world.rage(&Plan::draw(seed, exports)).await?;
    let findings = audit::audit(&records);
    say("");
    for line in table::table(&figures, &records, &findings) {
        say(&line);
    }
    for (kind, found) in findings.kinds() {
        for sentence in found {
            complain(&format!("chaos: {kind}: {sentence}"));
        }
    }
    if !findings.none() {
        let kept = world.keep(&records).await?;
        complain(&format!("chaos: all records and the operators' logs are in {}", kept.display()));
    }
    let verdict = if findings.none() { "nothing was lost" } else { "it is not as it must be" };
    say(&format!("\nchaos: {verdict}; SEED={} EXPORTS={exports}", figures.seed));
    Ok(findings.none())
}

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| Error::Io(format!("{name} must be a number, not {text:?}")))
        }
        _ => Ok(None),
    }
}
