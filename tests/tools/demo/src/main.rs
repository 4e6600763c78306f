//! The demonstration: the operator at work on real parts, live. All that it claims is checked while it is shown; it
//! ends with success only if all of it happened, and leaves nothing running.

mod cluster;
mod demo;
mod install;
mod lake;
mod live;
mod operator;
mod story;
mod tell;

use std::process::ExitCode;

use clap::Parser;

use demo::Demo;
use stage::{Ended, Program, interrupted, play};

/// Shows the operator at work on real parts.
#[derive(Debug, Parser)]
struct Arguments {
    /// Stay up afterwards, to play with, until Ctrl-C.
    #[arg(long)]
    hold: bool,
    /// Use the cluster of this context of the kubeconfig, instead of a new one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part could not be started or used.
    #[error("{0}")]
    Stage(#[from] stage::Error),
    /// The Kubernetes API refused something.
    #[error("the Kubernetes API: {0}")]
    Kube(#[from] kube::Error),
    /// The FHIR test server could not be started.
    #[error("the FHIR test server: {0}")]
    Fhir(#[from] azure_fhir::Error),
    /// An HTTP client could not be made.
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// Something is not the JSON that it should be.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The storage account refused something.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// What should have been shown did not happen.
    #[error("this should have been so, and was not: {0}")]
    NotSo(String),
    /// The cluster of the context cannot be used.
    #[error("{0}")]
    Cluster(String),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Nobody reads what is said.
    #[error("standard output: {0}")]
    Unheard(std::io::Error),
}

/// What this program does, or why it ended early.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut demo = Demo::new(arguments.context);
    demo.stays = arguments.hold;
    match play(&mut demo).await {
        Ended::Well if demo.conclude().is_err() => ExitCode::FAILURE,
        ended => ended.into(),
    }
}

impl Program for Demo {
    type Error = Error;
    const NAME: &'static str = "demo";

    async fn run(&mut self) -> Result<bool> {
        self.show().await?;
        if self.stays {
            tokio::select! {
                held = self.hold() => held?,
                asked = interrupted() => asked?,
            }
        }
        Ok(true)
    }

    async fn clues(&self, done: &Result<bool>) -> Vec<String> {
        if matches!(done, Err(Error::Unheard(_))) { Vec::new() } else { Demo::clues(self) }
    }

    async fn end(&mut self) -> Result<()> {
        Demo::end(self).await
    }
}
