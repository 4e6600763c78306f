//! Runs many seeds on all cores, until enough of them have broken a law.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::tally::Tally;
use crate::{BrokenLaw, run_seed};

/// A seed that breaks a law.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// The first law that it breaks.
    pub law: BrokenLaw,
    /// The description of what happened.
    pub text: String,
}

/// The result of running many seeds.
#[derive(Debug, Default)]
pub struct Found {
    /// The figures of all seeds that ran.
    pub tally: Tally,
    /// The seeds that broke a law, the lowest first.
    pub broken: Vec<Broken>,
}

/// The number of cores; 1 if it is not known.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs each `step`-th seed of `seeds` in order, on several threads, until `enough` accepts the seeds that
/// broke a law.
pub fn search(
    seeds: Range<u64>,
    step: u64,
    threads: usize,
    enough: impl Fn(&[Broken]) -> bool + Sync,
) -> Found {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(step.max(1), Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run_seed(seed, false);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.tally.add(&outcome.tally);
                    if let Some((law, text)) = outcome.broken {
                        found.broken.push(Broken { seed, law, text });
                        stop.fetch_or(enough(&found.broken), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.broken.sort_by_key(|broken| broken.seed);
    found
}
