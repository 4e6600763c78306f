//! Lands made files from the Bulk Data test server into Azurite and prints what it took: a table, no verdict.
//!
//! All three programs are separate processes, so that the memory is the operator's alone; build them before, as
//! `make bench` does.

mod measure;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use measure::Memory;
use world::World;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part could not be started.
    #[error(transparent)]
    Stage(#[from] stage::Error),
    /// The API server refused something.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// A file of the system could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An object is not one.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A result.
pub type Result<T> = std::result::Result<T, Error>;

/// Measures how the operator lands files.
#[derive(Debug, Parser)]
struct Args {
    /// Runs to measure, each as FILES x BYTES
    #[arg(default_values = ["1x5000000000", "1000x5000000"], value_parser = run)]
    runs: Vec<(u64, u64)>,
    /// Compress at rest
    #[arg(long)]
    gzip: bool,
}

fn run(text: &str) -> std::result::Result<(u64, u64), String> {
    let (files, bytes) = text.split_once('x').ok_or("write FILESxBYTES, such as 1000x5000000")?;
    let number = |n: &str| n.trim().parse::<u64>().map_err(|e| format!("{n}: {e}"));
    Ok((number(files)?, number(bytes)?))
}

#[tokio::main]
async fn main() -> ExitCode {
    match bench(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: &Args) -> Result<()> {
    let mib = |bytes: u64| bytes >> 20;
    let mut rows = Vec::new();
    for (files, bytes) in &args.runs {
        eprintln!("bench: {files} files of {bytes} bytes");
        let world = World::start(*files, *bytes, args.gzip).await?;
        let memory = Memory::idle(world.operator_pid())?;
        let started = Instant::now();
        world.land().await?;
        let took = started.elapsed().as_secs_f64();
        let (idle, peak) = (memory.idle, memory.peak()?);
        rows.push(format!(
            "| {files} | {} | {took:.0} | {:.0} | {} | {} | {} |",
            mib(*bytes),
            rate(files * bytes, took),
            mib(idle),
            mib(peak),
            mib(peak.saturating_sub(idle))
        ));
        world.stop().await?;
    }
    println!("| files | MiB each | seconds | MiB/s | idle MiB | peak MiB | above idle MiB |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

/// MiB a second.
#[allow(clippy::cast_precision_loss)] // of figures for people
fn rate(bytes: u64, seconds: f64) -> f64 {
    (bytes >> 20) as f64 / seconds
}
