//! Measures how the operator lands files, beside a plain program that does the same work, and a few small figures.
//! Prints each with its bar, and can write them as JSON and compare them with those of an earlier commit.
//!
//! The operator is a process of its own, so that its memory and CPU time are its own. The server of the files and the
//! storage account are threads of this process, and cost as little as they can.

mod client;
mod connection;
mod figures;
mod landing;
mod measure;
mod origin;
mod plain;
mod shape;
mod sink;
mod small;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use figures::Results;
use plain::Plain;
use shape::Shape;
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
    /// A file or a socket failed.
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
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// What to land: large (8 of 128 MiB), typical (300 of 1 to 4 MB), tiny (5,000 of 11 KiB), or FILESxBYTES
    #[arg(default_values = ["large", "typical", "tiny"])]
    shapes: Vec<Shape>,
    /// How often to land each; the middle one counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Compress at rest
    #[arg(long)]
    gzip: bool,
    /// How much later than at once the storage account answers, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// The operator to measure; by default the one beside this program
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// The JSON of an earlier run to compare with
    #[arg(long)]
    compare: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The plain program, which the benchmark starts
    #[command(hide = true)]
    Plain(Plain),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.part {
        Some(Part::Plain(plain)) => run_plain(plain),
        None => tokio::runtime::Runtime::new()
            .map_err(Error::from)
            .and_then(|runtime| runtime.block_on(bench(&args))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does the work of the plain program, and prints the CPU time that it took, in seconds.
fn run_plain(plain: &Plain) -> Result<()> {
    plain.run()?;
    println!("{}", measure::cpu(std::process::id())?);
    Ok(())
}

async fn bench(args: &Args) -> Result<()> {
    let operator = match &args.operator {
        Some(operator) => operator.clone(),
        None => std::env::current_exe()?.with_file_name("fhir-export-operator"),
    };
    let longest = args.shapes.iter().map(Shape::longest).max().unwrap_or_default();
    let world = World::start(operator, longest, Duration::from_millis(args.latency_ms)).await?;
    let mut figures = Vec::new();
    for shape in &args.shapes {
        figures.extend(Box::pin(landing::measure(&world, shape, args.rounds, args.gzip)).await?);
    }
    figures.extend(small::measure(&world, args.rounds).await?);
    let results = Results::of(figures);
    // The older figures may be in the file that is written next.
    let table = results.table(args.compare.as_deref())?;
    if let Some(json) = &args.json {
        results.write(json)?;
    }
    print!("{table}");
    Ok(())
}
