//! `sim`: runs many seeds, or replays one.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use sim::any::plan;
use sim::shrink::shrink;
use sim::table::table;
use sim::tally::Tally;
use sim::{run, run_seed};

/// Runs the operator's own logic in a simulated world and checks what must stay true.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Replay this seed alone, and say what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: do not make it smaller.
    #[arg(long)]
    whole: bool,
    /// How many threads; by default as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after the first failing seed, up to this many.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Say only which law was broken, and exit with 3.
    #[arg(long)]
    brief: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is a broken law, and told as one.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    match arguments.seed {
        Some(seed) => replay(seed, &arguments),
        None => many(&arguments),
    }
}

/// Standard output may be closed early, by `head`.
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
    tell_small(seed, law);
    ExitCode::from(3)
}

/// A failing seed, made smaller, with its trace.
fn tell_small(seed: u64, law: &str) {
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
    let threads =
        arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = run_seed(seed, false);
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.0.add(&outcome.tally);
                    if let Some((law, text)) = outcome.broken {
                        sum.1.push((seed, law, text));
                        stop.store(sum.1.len() >= arguments.failures, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (tally, mut failures) = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failures.sort();
    if arguments.brief {
        for (seed, law, text) in &failures {
            say(&format!("seed {seed} breaks: {law}: {text}"));
        }
    } else {
        say(&table(&tally, began.elapsed().as_secs_f64()));
        for (seed, law, text) in &failures {
            say(&format!("seed {seed} breaks: {law}: {text}"));
        }
        if let Some((seed, law, _)) = failures.first() {
            tell_small(*seed, law);
        }
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
