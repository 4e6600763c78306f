//! The outermost shell: kube's runtime, the clock, signals.

use crate::cli::Stop;
use crate::config::Config;

/// Runs the operator until it is told to stop.
pub fn run_blocking(config: Config) -> Result<(), Stop> {
    Err(Stop::because(format!("nothing runs yet at {}", config.metrics_addr)))
}
