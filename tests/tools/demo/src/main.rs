//! The demonstration: the operator at work on real parts, live. All that it claims is checked while it is shown; it ends with
//! success only if all of it happened, and leaves nothing running.

mod cluster;
mod demo;
mod install;
mod lake;
mod live;
mod operator;
mod story;
mod tell;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use demo::Demo;

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
enum Error {
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
    /// Ctrl-C, or the like.
    #[error("interrupted")]
    Interrupted,
}

type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut demo = Demo::new(arguments.context);
    let played = tokio::select! {
        played = demo.play() => played,
        stopped = interrupted() => stopped,
    };
    let done = match played {
        Ok(()) if arguments.hold => tokio::select! {
            held = demo.hold() => held,
            _ = interrupted() => Ok(()),
        },
        played => played,
    };
    if let Err(error) = &done {
        complain(&format!("\ndemo: {error}"));
        if !matches!(error, Error::Interrupted | Error::Unheard(_)) {
            demo.clues().iter().for_each(|clue| complain(clue));
        }
    }
    let ended = demo.end().await;
    if let Err(error) = &ended {
        complain(&format!("demo: {error}"));
    }
    match (done, ended) {
        (Ok(()), Ok(())) => match demo.conclude() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        (Err(Error::Interrupted), _) => ExitCode::from(130),
        _ => ExitCode::FAILURE,
    }
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Err(Error::Interrupted)
}

fn complain(text: &str) {
    // Nothing is left to do if this cannot be written.
    let _ = writeln!(std::io::stderr(), "{text}");
}
