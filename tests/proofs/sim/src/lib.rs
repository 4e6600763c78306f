//! Runs the operator in a simulated world: its own core and its own reconciles, unchanged, between models of
//! the API server, the FHIR servers, the storage account, time and chance. A seed determines everything: the
//! same seed is the same simulation. Each step checks the laws against what the models know.

pub mod any;
mod api_server;
mod cache;
pub mod chance;
mod container;
mod election;
mod faults;
mod fhir;
mod laws;
pub mod plan;
mod post;
mod process;
mod scheduler;
mod schedules;
pub mod search;
pub mod shrink;
mod state;
pub mod table;
pub mod tally;
mod time;
mod trace;

pub use laws::{BrokenLaw, Law};
use plan::Plan;
use scheduler::Simulation;
use state::locked;
use tally::Tally;

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first law that was broken, and how.
    pub broken: Option<(BrokenLaw, String)>,
    /// The figures of the simulation.
    pub tally: Tally,
    /// The hash of all that happened.
    pub hash: u64,
    /// What happened, line by line, if a trace was requested.
    pub trace: Vec<String>,
}

/// Runs a plan to its end, or to the first law that is broken. With `told`, the outcome has a trace.
pub fn run(plan: Plan, told: bool) -> Outcome {
    let state = Simulation::new(plan, told).run();
    let mut state = locked(&state);
    let broken = state.laws.broken.first().cloned();
    Outcome {
        broken,
        tally: std::mem::take(&mut state.tally),
        hash: state.trace.hash(),
        trace: state.trace.lines().to_vec(),
    }
}

/// Runs the plan of a seed. With `told`, the outcome has a trace.
pub fn run_seed(seed: u64, told: bool) -> Outcome {
    run(any::plan(seed), told)
}
