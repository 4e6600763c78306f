//! The figures of simulations.

use std::collections::BTreeMap;
use std::time::Duration;

/// The figures of one or more simulations.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The number of simulations.
    pub seeds: u64,
    /// The number of simulations of each kind of plan, and how long they took.
    pub kinds: BTreeMap<&'static str, (u64, Duration)>,
    /// The number of steps: polls of tasks, deliveries and events.
    pub steps: u64,
    /// How often the operator was killed.
    pub crashes: u64,
    /// The number of simulations with more than one replica.
    pub replicated: u64,
    /// The number of processes that were started.
    pub processes: u64,
    /// How often a process acted after another one had.
    pub takeovers: u64,
    /// The number of processes that gave the Lease back at their end.
    pub handovers: u64,
    /// How often a process was stopped (SIGSTOP) and went on.
    pub pauses: u64,
    /// The number of processes that ended themselves, because their time was over.
    pub lapsed: u64,
    /// The number of kick-offs that arrived when their sender could no longer act.
    pub late: u64,
    /// The number of exports that were created.
    pub exports: u64,
    /// The number of schedules that were created.
    pub schedules: u64,
    /// The number of exports that schedules created.
    pub runs: u64,
    /// How often a schedule deleted files of an old folder.
    pub folders: u64,
    /// The number of exports by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// The number of faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of kick-offs that reached a server.
    pub kick_offs: u64,
    /// The number of jobs whose end was neither observed nor reported.
    pub lost: u64,
    /// The number of jobs that run on and were not reported.
    pub leaked: u64,
    /// The number of second jobs beside a first one, which were not reported.
    pub doubled: u64,
    /// How long after their creation exports on a prompt server were kicked off, in crowds, in microseconds.
    pub kicked_off_after: Vec<i64>,
    /// The times between two polls of jobs on a prompt server, in crowds, in microseconds.
    pub asked_after: Vec<i64>,
    /// The number of exports that caches returned in lists, over the processes that ran to the end.
    pub listed: u64,
    /// The number of broken laws.
    pub broken: u64,
}

/// The 99th percentile; 0 if there are no times.
pub fn p99(times: &[i64]) -> i64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let nth = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(nth).copied().unwrap_or(0)
}

impl Tally {
    /// Counts one fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Counts one end.
    pub fn end(&mut self, kind: &'static str) {
        *self.ends.entry(kind).or_default() += 1;
    }

    /// Adds the figures of `other`.
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
