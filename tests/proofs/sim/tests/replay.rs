//! A seed determines everything.

use sim::any::plan;
use sim::plan::{Event, EventKind};
use sim::{run, run_seed};

#[test]
fn the_same_seed_is_the_same_simulation() {
    for seed in 0..12 {
        let (once, again) = (run_seed(seed, true), run_seed(seed, true));
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.hash, run_seed(seed, false).hash, "seed {seed}, without its trace");
        assert_eq!(once.broken, None, "seed {seed}");
    }
    assert_ne!(run_seed(1, false).hash, run_seed(2, false).hash);
}

#[test]
fn without_faults_and_events_every_kick_off_is_one_job_and_nothing_crashes() {
    for seed in 0..20 {
        let mut calm = plan(seed);
        calm.faults.clear();
        calm.events.clear();
        let outcome = run(calm, false);
        assert_eq!(outcome.broken, None, "seed {seed}");
        assert_eq!(outcome.tally.crashes, 0, "seed {seed}");
        assert!(outcome.tally.ends.values().sum::<u64>() >= outcome.tally.exports, "seed {seed}");
    }
}

#[test]
fn in_a_rollout_each_replica_hands_over_and_none_runs_out() {
    let mut handovers = 0;
    for seed in 0..20 {
        let mut calm = plan(seed);
        calm.faults.clear();
        calm.replicas = 2;
        calm.events = vec![Event { at: 30, kind: EventKind::Rollout }];
        let outcome = run(calm, false);
        assert_eq!(outcome.broken, None, "seed {seed}");
        assert_eq!((outcome.tally.crashes, outcome.tally.lapsed), (0, 0), "seed {seed}");
        assert_eq!(outcome.tally.processes, 4, "seed {seed}");
        handovers += outcome.tally.handovers;
    }
    // Processes with nothing to do gave back a Lease under which nothing was done.
    assert!(handovers > 0);
}
