//! `sim`: runs many seeds, or replays one.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::any::plan;
use sim::search::{Broken, Found, cores, search};
use sim::shrink::shrink;
use sim::table::table;
use sim::{BrokenLaw, run, run_seed};

/// Runs the operator's own logic in a simulated world and checks what must stay true.
#[derive(Parser)]
struct Arguments {
    /// The length of the range of seeds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed of the range.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run only each N-th seed. With `--from 3 --step 20` these are the seeds about schedules.
    #[arg(long, default_value_t = 1)]
    step: u64,
    /// Replay only this seed, and show what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: do not shrink it.
    #[arg(long)]
    whole: bool,
    /// The number of threads; by default that of the cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after this many failing seeds.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic counts as a broken law, and is reported as one.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    match arguments.seed {
        Some(seed) => replay(seed, &arguments),
        None => many(&arguments),
    }
}

/// Prints a line. Standard output may be closed early, for example by `head`.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn replay(seed: u64, arguments: &Arguments) -> ExitCode {
    if arguments.whole {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .without_time()
            .with_writer(std::io::stdout)
            .init();
    }
    let outcome = run_seed(seed, arguments.whole);
    let Some((law, _)) = &outcome.broken else {
        outcome.trace.iter().for_each(|line| say(line));
        say(&table(&outcome.tally, 0.0));
        say(&format!("seed {seed}: nothing is broken (trace {:016x})", outcome.hash));
        return ExitCode::SUCCESS;
    };
    if arguments.whole {
        outcome.trace.iter().for_each(|line| say(line));
        return ExitCode::from(3);
    }
    tell_small(seed, *law);
    ExitCode::from(3)
}

/// Shrinks a failing seed, and prints it with its trace.
fn tell_small(seed: u64, law: BrokenLaw) {
    let (small, _) = shrink(plan(seed), law);
    say(&format!("seed {seed}, made smaller: {small:#?}"));
    let outcome = run(small, true);
    outcome.trace.iter().for_each(|line| say(line));
    if let Some((law, text)) = outcome.broken {
        say(&format!("\nseed {seed} breaks: {law}: {text}"));
    }
    say(&format!("replay: make sim SEED={seed}"));
}

fn many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let threads = arguments.threads.unwrap_or_else(cores);
    let Found { tally, broken } =
        search(seeds, arguments.step, threads, |broken| broken.len() >= arguments.failures);
    say(&table(&tally, began.elapsed().as_secs_f64()));
    for Broken { seed, law, text } in &broken {
        say(&format!("seed {seed} breaks: {law}: {text}"));
    }
    let Some(first) = broken.first() else { return ExitCode::SUCCESS };
    tell_small(first.seed, first.law);
    ExitCode::from(3)
}
