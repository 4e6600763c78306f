//! `run`: a run of a schedule now.

use clap::Args;

use super::connection::Connected;
use super::exit::Exit;
use super::follow::{Limit, Telling, until_the_end};
use super::output::named;
use crate::cli::{print, request_run};
use crate::show::{Key, ObjectKind};
use crate::stop::Stop;

/// The flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of the FhirExportSchedule
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// Export everything, which begins a new chain of incremental runs
    #[arg(long)]
    full: bool,
    /// Show the progress until the run ends; the exit code says how
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limit: Limit,
}

/// Requests a run of a schedule, in addition to the scheduled ones, and prints the name of its export.
pub async fn run(cluster: &Connected, args: &RunArgs) -> Result<Exit, Stop> {
    cluster.get(ObjectKind::Schedule, &args.schedule).await?;
    let Connected { client, namespace } = cluster;
    let name = request_run(client.clone(), namespace, &args.schedule, args.full).await?;
    let key = Key { kind: ObjectKind::Export, namespace: namespace.clone(), name: name.clone() };
    print(&format!("{}\n", named(&key)))?;
    if args.wait {
        return until_the_end(cluster, &[name], Telling::Progress, args.limit).await;
    }
    Ok(Exit::Done)
}
