//! Figures of simulations.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Simulations.
    pub seeds: u64,
    /// Simulations of each kind of plan, and how long they took.
    pub kinds: BTreeMap<&'static str, (u64, Duration)>,
    /// Things that happened: polls of tasks, deliveries, events.
    pub steps: u64,
    /// The operator was killed.
    pub crashes: u64,
    /// Simulations with more than one replica.
    pub replicated: u64,
    /// Processes that were started.
    pub processes: u64,
    /// A process acted after another one had.
    pub takeovers: u64,
    /// Processes that gave back the Lease at their end.
    pub handovers: u64,
    /// Processes that were stopped (SIGSTOP), and went on.
    pub pauses: u64,
    /// Processes that ended themselves, since their time was over.
    pub lapsed: u64,
    /// Kick-offs that arrived when their sender might not act any more.
    pub late: u64,
    /// Exports that were made.
    pub exports: u64,
    /// Schedules that were made.
    pub schedules: u64,
    /// Exports that schedules made.
    pub runs: u64,
    /// Times that a schedule deleted files of an old folder.
    pub folders: u64,
    /// Exports that came to each end.
    pub ends: BTreeMap<&'static str, u64>,
    /// By kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// That reached a server.
    pub kick_offs: u64,
    /// Jobs that ended unobserved and untold.
    pub lost: u64,
    /// Jobs that nobody ends and nobody was told of.
    pub leaked: u64,
    /// Second jobs beside a first one that nobody was told of.
    pub doubled: u64,
    /// In crowds, how long after their creation exports on a prompt server were kicked off, in microseconds.
    pub kicked_off_after: Vec<i64>,
    /// In crowds, how long after the last time jobs on a prompt server were asked for, in microseconds.
    pub asked_after: Vec<i64>,
    /// Exports that the caches of the processes that ran to the end handed out in lists.
    pub listed: u64,
    /// Laws that were broken.
    pub broken: u64,
}

/// What 99 of 100 are not above; 0 of none.
pub fn p99(times: &[i64]) -> i64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let nth = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(nth).copied().unwrap_or(0)
}

impl Tally {
    /// One fault more.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// One end more.
    pub fn end(&mut self, kind: &'static str) {
        *self.ends.entry(kind).or_default() += 1;
    }

    /// Takes in the figures of another.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.replicated += other.replicated;
        self.processes += other.processes;
        self.takeovers += other.takeovers;
        self.handovers += other.handovers;
        self.pauses += other.pauses;
        self.lapsed += other.lapsed;
        self.late += other.late;
        self.exports += other.exports;
        self.schedules += other.schedules;
        self.runs += other.runs;
        self.folders += other.folders;
        self.kick_offs += other.kick_offs;
        self.lost += other.lost;
        self.leaked += other.leaked;
        self.doubled += other.doubled;
        self.listed += other.listed;
        self.broken += other.broken;
        self.kicked_off_after.extend(&other.kicked_off_after);
        self.asked_after.extend(&other.asked_after);
        for (kind, (seeds, took)) in &other.kinds {
            let (all, time) = self.kinds.entry(kind).or_default();
            *all += seeds;
            *time += *took;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &other.ends {
            *self.ends.entry(kind).or_default() += count;
        }
    }
}
