//! `kubectl fhirexport`: exports from the command line of the person who needs them, with their own rights and their
//! own credentials. One file for each command; what it prints is a pure function of what it read.
//!
//! Uses: api, cli, cluster, core, credentials, offline, operator, ports, show, stop, storage.

// Everything is printed as a `Line` or a `Page`, which cannot carry a server's escape sequence to a terminal.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod age;
mod change;
mod connection;
mod create;
mod describe;
mod download;
mod events;
mod exit;
mod files;
mod follow;
mod list;
mod logs;
mod output;
mod paint;
mod run;
mod server;
mod table;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::{jwks, refuse};
use crate::operator::run::block_on;
use crate::show::{Line, Page};
use crate::stop::Stop;
use connection::Connection;
use exit::Exit;
use follow::Telling;
use paint::Paint;
use server::ServerCommand;

/// FHIR bulk exports from the command line.
///
/// Works on the FhirExports of a namespace with your own rights in the cluster. Exit codes: 0 done, or the export is
/// complete; 1 the command failed; 2 the command line is invalid; 3 the export ended without success, or what was
/// checked is not in order; 4 the time limit was reached; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "kubectl-fhirexport", bin_name = "kubectl fhirexport", version)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List exports with their states and what holds them up
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Tell the story of an export: what, when, where, what was verified, and what to do now
    Describe {
        /// Name of the export
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show the progress of exports until they end; bars on a terminal, else a line for each change
    Watch(follow::FollowArgs),
    /// Wait silently until exports end, with success or without
    Wait(follow::FollowArgs),
    /// Create an export from flags, or print its manifest
    Create(Box<create::CreateArgs>),
    /// Cancel an export: the server's job ends, the object and the files stay; it cannot be taken back
    Cancel(change::CancelArgs),
    /// Pause an export, a schedule (no new runs) or a server (none of its exports goes on)
    Suspend(change::TargetArgs),
    /// Let go on what is suspended
    Resume(change::TargetArgs),
    /// Request a run of a schedule now, in addition to the scheduled ones
    Run(run::RunArgs),
    /// List the files of an export: a table, JSON, YAML or plain URLs
    Files(files::FilesArgs),
    /// Fetch the files of an export into a directory, several at once, each compared with the manifest; the same
    /// command goes on after an interruption
    Download(download::DownloadArgs),
    /// Read the files of an export again, and compare counts and checksums with the manifest
    Verify(verify::VerifyArgs),
    /// Show the events of an export, and what the operator's log says of it if you may read that
    Logs(logs::LogsArgs),
    /// Act on a FhirServer
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Print the public half of a private key as JWKS, to register a SMART Backend Services client
    Jwks {
        /// File with the private key, PEM or JWK; - for standard input
        #[arg(value_name = "FILE")]
        key: PathBuf,
        /// Id of the key, as in keyID of the FhirServer [default: the key's own kid, else its thumbprint]
        #[arg(long, value_name = "ID")]
        key_id: Option<String>,
    },
    /// Print the completions of a shell
    Completion {
        /// The shell
        #[arg(value_name = "SHELL", value_enum)]
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Carries out the command in `arguments`.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match block_on(perform(cli)) {
        Ok(exit) => exit.into(),
        Err(stop) => {
            Line::error(&stop.to_string()).tell();
            ExitCode::FAILURE
        }
    }
}

async fn perform(cli: Cli) -> Result<Exit, Stop> {
    let paint = Paint::of_stdout();
    let connection = cli.connection;
    // It is awaited only by commands that need a cluster.
    let cluster = connection.open();
    match cli.command {
        Command::List(args) => list::list(&cluster.await?, &args, paint).await?.print()?,
        Command::Describe { name } => {
            describe::describe(&cluster.await?, &name, paint).await?.print()?;
        }
        Command::Watch(args) => {
            return follow::follow(&cluster.await?, &args, Telling::Progress).await;
        }
        Command::Wait(args) => return follow::follow(&cluster.await?, &args, Telling::Ends).await,
        Command::Create(args) => {
            return create::create(&args, connection.named_namespace(), cluster).await;
        }
        Command::Cancel(args) => return change::cancel(&cluster.await?, &args).await,
        Command::Suspend(args) => change::suspend(&cluster.await?, &args, true).await?,
        Command::Resume(args) => change::suspend(&cluster.await?, &args, false).await?,
        Command::Run(args) => return run::run(&cluster.await?, &args).await,
        Command::Files(args) => return files::files(&cluster.await?, &args, paint).await,
        Command::Download(args) => return download::download(&cluster.await?, &args).await,
        Command::Verify(args) => return verify::verify(&cluster.await?, &args).await,
        Command::Logs(args) => logs::logs(&cluster.await?, &args).await?.print()?,
        Command::Server(ServerCommand::Check(args)) => {
            return server::check(&cluster.await?, &args, paint).await;
        }
        Command::Jwks { key, key_id } => jwks(&key, key_id.as_deref())?,
        Command::Completion { shell } => Page::of(&completion(shell)).print()?,
        Command::Version => {
            Page::from(Line::of(concat!("kubectl-fhirexport ", env!("CARGO_PKG_VERSION")))).print()?;
        }
    }
    Ok(Exit::Done)
}

/// The completions of a shell, as a script.
fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-fhirexport", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_shell_has_completions_of_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completion(shell);
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell} lacks {}", command.get_name());
            }
        }
    }

    #[test]
    fn a_command_line_that_cannot_be_read_is_refused() {
        let code = |line: &str| main(line.split_whitespace().map(OsString::from));
        for line in ["kubectl-fhirexport", "kubectl-fhirexport frobnicate", "kubectl-fhirexport wait"] {
            assert_eq!(code(line), ExitCode::from(2), "{line}");
        }
        assert_eq!(code("kubectl-fhirexport --help"), ExitCode::SUCCESS);
        assert_eq!(code("kubectl-fhirexport wait x --timeout soon"), ExitCode::from(2));
    }
}
