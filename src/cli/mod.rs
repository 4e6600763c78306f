//! The commands that people run.
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

pub use generate::{reasons_markdown, states_markdown};

/// Runs FHIR bulk exports that are described as Kubernetes resources.
#[derive(Debug, Parser)]
#[command(name = "fhir-export-operator", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator against the cluster of the pod or of the current kubeconfig (default)
    Run(Box<RunArgs>),
    /// Prints the custom resource definitions
    Crds {
        /// Writes them into this folder instead, one file each
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Prints the reasons of conditions and events, as Markdown
    Reasons {
        /// Writes them into this file instead
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Prints the phases of an export, what moves it and what it shows, as Markdown
    States {
        /// Writes them into this file instead
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Prints the public half of a private key as JWKS, to register at a server for SMART Backend Services
    Jwks {
        /// The private key: PEM or JWK; - reads standard input
        #[arg(value_name = "FILE")]
        key: PathBuf,
        /// What the key is called, as in keyID of the FhirServer [default: its own kid, else its thumbprint]
        #[arg(long, value_name = "ID")]
        key_id: Option<String>,
    },
    /// Works on a FhirExportSchedule of the cluster
    #[command(subcommand)]
    Schedule(schedule::Command),
}

/// Does what the command line asks for. Exit code 2: the command line is wrong; 1: the command failed.
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
        Command::States { write } => generate::states(write.as_deref()),
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

/// Flags without a command are those of `run`.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).and_then(|a| a.to_str());
    let about_itself = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if first.is_none_or(|a| a.starts_with('-')) && !about_itself {
        arguments.insert(1.min(arguments.len()), "run".into());
    }
    arguments
}

/// Says in one sentence what is wrong with the command line; help and version are no errors.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever reads may have seen enough.
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
