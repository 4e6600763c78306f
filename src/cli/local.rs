//! `local`: exports without a cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::generate::print;
use crate::config::WorkArgs;
use crate::local::{self, Deletion, OnInterrupt, Run};
use crate::operator::run::block_on;
use crate::show::Format;
use crate::stop::Stop;

/// Where the state is unless a flag says otherwise.
const STATE: &str = ".fhir-export/state.json";

/// The flags of `local`, and its subcommands.
// --help shows these comments verbatim.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LocalArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Files or directories with manifests: FhirServer, FhirExport, FhirExportSchedule, Secret and ConfigMap; - for
    /// standard input
    #[arg(short = 'f', long = "filename", value_name = "FILES", num_args = 1.., required = true)]
    files: Vec<PathBuf>,
    /// Directory that the files land in, instead of the storage of the FhirServers; each container is a directory in it
    #[arg(long, value_name = "DIR")]
    container: Option<PathBuf>,
    /// File that keeps what is known of the exports; it holds no Secrets
    #[arg(long, value_name = "FILE", default_value = STATE)]
    state: PathBuf,
    /// Directory with credentials: a subdirectory for each Secret, and in it a file for each key
    #[arg(long, value_name = "DIR")]
    secret_dir: Option<PathBuf>,
    /// What Ctrl-C does to running jobs; default: ask on a terminal, else leave them running
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnInterrupt::Ask)]
    on_interrupt: OnInterrupt,
    /// Print the objects with their status at the end
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,
    /// Log what the operator does, to stderr, instead of drawing bars
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    work: WorkArgs,
}

/// A subcommand of `local`.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Subcommand)]
enum Command {
    /// List the objects in the state file
    Get {
        /// Print them whole instead of as a table
        #[arg(short, long, value_name = "FORMAT", value_enum)]
        output: Option<Format>,
        /// File that keeps what is known of the exports
        #[arg(long, value_name = "FILE", default_value = STATE)]
        state: PathBuf,
    },
    /// Delete an export, a schedule or a server; running jobs are cancelled, and files stay
    Delete {
        /// Name of the object
        #[arg(value_name = "NAME")]
        name: String,
        /// Namespace of the object [default: default]
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Files with the Secrets that a cancel needs
        #[arg(short = 'f', long = "filename", value_name = "FILES", num_args = 1..)]
        files: Vec<PathBuf>,
        /// Directory with credentials: a subdirectory for each Secret, and in it a file for each key
        #[arg(long, value_name = "DIR")]
        secret_dir: Option<PathBuf>,
        /// File that keeps what is known of the exports
        #[arg(long, value_name = "FILE", default_value = STATE)]
        state: PathBuf,
        #[command(flatten)]
        work: Box<WorkArgs>,
    },
}

/// Carries out `local`, and returns its exit code.
pub fn local(args: LocalArgs) -> Result<ExitCode, Stop> {
    match args.command {
        None => {
            let config = args.work.resolve().map_err(Stop::because)?;
            let run = Run {
                files: args.files,
                container: args.container,
                secret_dir: args.secret_dir,
                state: args.state,
                on_interrupt: args.on_interrupt,
                output: args.output,
                verbose: args.verbose,
                config,
            };
            let (page, code) = block_on(local::run(run))?;
            page.print()?;
            Ok(ExitCode::from(code))
        }
        Some(Command::Get { output, state }) => {
            local::get(&state, output)?.print()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Delete { name, namespace, files, secret_dir, state, work }) => {
            let config = work.resolve().map_err(Stop::because)?;
            let deletion = Deletion { name, namespace, files, secret_dir, state, config };
            print(&block_on(local::delete(deletion))?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
