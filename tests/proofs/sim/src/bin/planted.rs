//! `planted`: plants one fault after the other into the operator, and shows that the simulation finds each.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use fhir_export_operator::core::planted::{Fault, plant};
use sim::search::{Broken, cores, search};

/// Plants faults into the operator and shows that the simulation finds each as a break of its invariant.
#[derive(Parser)]
struct Arguments {
    /// Plant only these faults; by default all, one after the other.
    #[arg(value_parser = PossibleValuesParser::new(Fault::ALL.map(Fault::name)))]
    faults: Vec<String>,
    /// The number of seeds within which each fault must be found.
    #[arg(long, default_value_t = 3000)]
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic counts as a broken law, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted = |fault: &Fault| {
        arguments.faults.is_empty() || arguments.faults.iter().any(|name| name == fault.name())
    };
    let mut missed = Vec::new();
    for fault in Fault::ALL.into_iter().filter(wanted) {
        if !found(fault, arguments.seeds) {
            missed.push(fault.name());
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("planted, and not found within {} seeds: {}", arguments.seeds, missed.join(", "));
    ExitCode::FAILURE
}

/// Plants a fault and looks for a seed that breaks its invariant. Breaking another law on the way proves nothing.
fn found(fault: Fault, seeds: u64) -> bool {
    let (began, invariant) = (Instant::now(), fault.breaks());
    plant(Some(fault));
    let is_it = |broken: &Broken| broken.law.law.name() == invariant;
    let all = search(0..seeds, 1, cores(), |broken| broken.iter().any(is_it)).broken;
    plant(None);
    let seconds = began.elapsed().as_secs_f64();
    let line = match all.iter().find(|broken| is_it(broken)) {
        Some(Broken { seed, law, text }) => format!("seed {seed} breaks {law}: {text} ({seconds:.1} s)"),
        None => {
            let mut others: Vec<&str> = all.iter().map(|broken| broken.law.law.name()).collect();
            others.sort_unstable();
            others.dedup();
            format!(
                "NOT FOUND as a break of {invariant} within {seeds} seeds ({seconds:.1} s); others: {others:?}"
            )
        }
    };
    let line: String = line.chars().take(170).collect();
    let _ = writeln!(std::io::stdout(), "{:<26} {line}", fault.name());
    all.iter().any(is_it)
}
