//! `server check`: what the operator says of a FhirServer, and what can be seen of the server from here.

mod findings;
mod look;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connection::Connected;
use super::describe::parsed;
use super::exit::Exit;
use super::paint::Paint;
use crate::api::FhirServer;
use crate::show::ObjectKind;
use crate::stop::Stop;
use findings::{in_order, of_operator, page, seen_from_here};
use look::look;

/// A command on a FhirServer.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Say whether exports of a FhirServer can work, and what to fix: what the operator found, and what is seen from
    /// here
    Check(CheckArgs),
}

/// The flags of `server check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Name of the FhirServer
    #[arg(value_name = "NAME")]
    name: String,
    /// Only what the operator says: send no request to the server
    #[arg(long)]
    no_request: bool,
    /// File with certificate authorities (PEM) to trust for the request, besides the system's
    #[arg(long, value_name = "FILE")]
    extra_ca: Option<PathBuf>,
}

/// Checks a FhirServer, and prints what was found. What the operator found decides the exit code.
pub async fn check(cluster: &Connected, args: &CheckArgs, paint: Paint) -> Result<Exit, Stop> {
    let server: FhirServer = parsed(cluster.get(ObjectKind::Server, &args.name).await?)?;
    let operator = of_operator(&server);
    let here = if args.no_request {
        Vec::new()
    } else {
        seen_from_here(&server, &look(&server, args.extra_ca.as_deref()).await?)
    };
    page(&server, &operator, &here, paint).print()?;
    Ok(if in_order(&operator) { Exit::Done } else { Exit::Unsuccessful })
}
