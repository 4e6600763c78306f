//! `land`: a pod of a landing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::WorkArgs;
use crate::operator::run::block_on;
use crate::pod;
use crate::stop::Stop;

/// The flags of `land`.
#[derive(Debug, Args)]
pub struct LandArgs {
    /// Directory with the assignment and the credentials that the operator hands to the pod
    #[arg(long, value_name = "DIR")]
    assignment: PathBuf,
    /// Which share to land, from 0
    #[arg(long, env = "JOB_COMPLETION_INDEX", value_name = "N", default_value_t = 0)]
    index: usize,
    #[command(flatten)]
    work: WorkArgs,
}

/// Lands the share, and returns the exit code.
pub fn land(args: LandArgs) -> Result<ExitCode, Stop> {
    let config = match args.work.resolve() {
        Ok(config) => config,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Ok(ExitCode::from(2));
        }
    };
    block_on(pod::run(&args.assignment, args.index, config)).map(|exit| ExitCode::from(exit.code()))
}
