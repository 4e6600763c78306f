//! The command line.
//!
//! Uses: api, cluster, config, core, credentials, operator, ports, stop.

mod generate;
mod jwks;
mod schedule;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::RunArgs;
use crate::operator;

pub use generate::reasons_markdown;

/// Runs FHIR bulk exports that are described as Kubernetes resources.
#[derive(Debug, Parser)]
#[command(name = "fhir-export-operator", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator against the cluster of the pod or of the current kubeconfig (default)
    Run(Box<RunArgs>),
    /// Print the custom resource definitions
    Crds {
        /// Write one file per definition to this folder instead
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Print the reasons of conditions and events, as Markdown
    Reasons {
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print the public half of a private key as JWKS, to register a SMART Backend Services client
    Jwks {
        /// File with the private key, PEM or JWK; - for standard input
        #[arg(value_name = "FILE")]
        key: PathBuf,
        /// Id of the key, as in keyID of the FhirServer [default: the key's own kid, else its thumbprint]
        #[arg(long, value_name = "ID")]
        key_id: Option<String>,
    },
    /// Act on a FhirExportSchedule in the cluster
    #[command(subcommand)]
    Schedule(schedule::Command),
}

/// Runs the command in `arguments`. Exit code 2 means that the command line is invalid, 1 that the command
/// failed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(with_default_command(arguments.into_iter().collect())) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let done = match cli.command {
        Command::Run(args) => match args.resolve() {
            Ok(config) => operator::run::run_blocking(config),
            Err(sentence) => {
                eprintln!("error: {sentence}");
                return ExitCode::from(2);
            }
        },
        Command::Crds { write } => generate::crds(write.as_deref()),
        Command::Reasons { write } => generate::reasons(write.as_deref()),
        Command::Jwks { key, key_id } => jwks::jwks(&key, key_id.as_deref()),
        Command::Schedule(command) => schedule::schedule(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Inserts `run` if the command line has flags but no command.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).and_then(|a| a.to_str());
    let about_itself = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if first.is_none_or(|a| a.starts_with('-')) && !about_itself {
        arguments.insert(1.min(arguments.len()), "run".into());
    }
    arguments
}

/// Prints one sentence that says what is wrong with the command line. Help and version are not errors.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // The reader may have closed the pipe.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            eprintln!("{} (see --help)", first.split_whitespace().collect::<Vec<_>>().join(" "));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default() {
        for (given, meant) in [
            ("operator", "operator run"),
            ("operator --concurrency 3", "operator run --concurrency 3"),
            ("operator run --concurrency 3", "operator run --concurrency 3"),
            ("operator crds", "operator crds"),
            ("operator schedule run nightly --full", "operator schedule run nightly --full"),
            ("operator --help", "operator --help"),
            ("operator -V", "operator -V"),
        ] {
            assert_eq!(with_default_command(words(given)), words(meant));
        }
    }
}
