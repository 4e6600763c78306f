//! The command line.
//!
//! Uses: api, cluster, config, core, credentials, local, offline, operator, pod, show, stop.

mod flags;
mod generate;
mod jwks;
mod kinds;
mod land;
mod local;
mod manifests;
mod schedule;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::RunArgs;
use crate::operator;
use crate::stop::Stop;

pub use generate::{print, reasons_markdown, states_markdown};
pub use jwks::jwks;
pub use kinds::kinds_markdown;
pub use schedule::request_run;

/// Runs FHIR bulk exports that are described as Kubernetes resources.
#[derive(Debug, Parser)]
#[command(name = "fhir-export-operator", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator against the cluster of the pod or of the current kubeconfig
    Run(Box<RunArgs>),
    /// Land a share of the files of one export, as a pod of a Job that the operator made; exit code 3: the share cannot
    /// land, 75: another pod may go on with it
    Land(Box<land::LandArgs>),
    /// Run the exports and schedules of manifests on this machine, without a cluster
    Local(Box<local::LocalArgs>),
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
    /// Print the phases of an export, what moves it and what it shows, as Markdown
    States {
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print the fields of all kinds, as Markdown
    Kinds {
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print the commands of this program and their flags, as Markdown
    Flags {
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
    /// Check manifests as the API server would, without a cluster
    Validate(manifests::Manifests),
    /// Print the requests by which the operator would start the exports in these manifests, without their secrets
    Plan(manifests::Manifests),
    /// Act on a FhirExportSchedule in the cluster
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Print the version
    Version,
}

/// The page of this program's commands and flags, as Markdown.
pub fn flags_markdown() -> String {
    flags::flags_markdown(Cli::command())
}

/// Runs the command in `arguments`. Exit code 2 means that the command line is invalid, 1 that the command
/// failed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
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
        Command::Land(args) => match land::land(*args) {
            Ok(code) => return code,
            Err(stop) => Err(stop),
        },
        Command::Local(args) => match local::local(*args) {
            Ok(code) => return code,
            Err(stop) => Err(stop),
        },
        Command::Crds { write } => generate::crds(write.as_deref()),
        Command::Reasons { write } => generate::page(&reasons_markdown(), write.as_deref()),
        Command::States { write } => generate::page(&states_markdown(), write.as_deref()),
        Command::Kinds { write } => kinds_markdown()
            .map_err(|e| Stop::because(format!("The definitions cannot be written as JSON: {e}.")))
            .and_then(|page| generate::page(&page, write.as_deref())),
        Command::Flags { write } => generate::page(&flags_markdown(), write.as_deref()),
        Command::Jwks { key, key_id } => jwks(&key, key_id.as_deref()),
        Command::Validate(files) => manifests::validate(&files),
        Command::Plan(files) => manifests::plan(&files),
        Command::Schedule(command) => schedule::schedule(&command),
        Command::Version => {
            println!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with the command line, and returns the exit code. Requested help and the version are not
/// errors; help that clap shows because the command is missing is an error.
pub fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // The reader may have closed the pipe.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            eprintln!("{}", brief(&error.to_string()));
            ExitCode::from(2)
        }
    }
}

/// Clap's message in one line: the cause and its tips, without the usage.
fn brief(error: &str) -> String {
    let about_usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more information");
    // A user who asks for leader election by its wrong flag must not be told to switch it off.
    let risky_tip = |part: &&str| part.trim_start().starts_with("tip:") && part.contains("--no-leader-elect");
    let told = error.split("\n\n").take_while(|part| !about_usage(part)).filter(|part| !risky_tip(part));
    let told: Vec<String> = told.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    format!("{} (see --help)", told.join("; "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    fn refused(line: &str) -> clap::Error {
        Cli::try_parse_from(words(line)).unwrap_err()
    }

    #[test]
    fn without_a_command_nothing_runs() {
        for line in ["operator", "operator schedule"] {
            assert_eq!(refused(line).kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "{line}");
        }
        assert_eq!(main(words("operator")), ExitCode::from(2));
        assert_eq!(main(words("operator --concurrency 3")), ExitCode::from(2));
        assert_eq!(refused("operator --concurrency 3").kind(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn help_and_version_are_commands_too() {
        for line in ["operator help", "operator --help", "operator help run", "operator run --help"] {
            assert_eq!(refused(line).kind(), ErrorKind::DisplayHelp, "{line}");
        }
        assert_eq!(refused("operator -V").kind(), ErrorKind::DisplayVersion);
        assert_eq!(main(words("operator version")), ExitCode::SUCCESS);
    }

    #[test]
    fn suggestions_are_kept() {
        for (line, tip) in [
            ("operator schedul", "'schedule'"),
            ("operator run --concurency 3", "'--concurrency'"),
            ("operator run --log-format jsn", "'json'"),
        ] {
            let said = brief(&refused(line).to_string());
            assert!(said.contains("tip: ") && said.contains(tip), "{said}");
            assert!(!said.contains('\n') && !said.contains("Usage"), "{said}");
            assert_eq!(said.matches("--help").count(), 1, "{said}");
        }
        let said = brief(&refused("operator run --leader-elect").to_string());
        assert!(said.contains("'--leader-elect'") && !said.contains("--no-leader-elect"), "{said}");
    }
}
