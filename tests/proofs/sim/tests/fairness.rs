//! Tenants in trouble do not delay the exports of another tenant.
#![allow(missing_docs, clippy::panic)]

use sim::any::{alone, crowd, crowd_of};
use sim::plan::Plan;
use sim::tally::{Tally, p99};
use sim::{Outcome, run};

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// Runs a plan, and expects that no law is broken.
fn figures(plan: Plan) -> Tally {
    let seed = plan.seed;
    let Outcome { broken, tally, .. } = run(plan, false);
    if let Some((law, text)) = broken {
        panic!("seed {seed} breaks {law}: {text}");
    }
    tally
}

/// Expects that the p99 of kick-offs and of the times between two polls is at most a second above that of the
/// same exports alone.
fn within_a_second(crowd: &Tally, alone: &Tally) {
    assert_eq!(crowd.kicked_off_after.len(), alone.kicked_off_after.len());
    let (late, usual) = (p99(&crowd.kicked_off_after), p99(&alone.kicked_off_after));
    assert!(late <= usual + SECOND, "kick-offs: {late} us, alone {usual} us");
    let (late, usual) = (p99(&crowd.asked_after), p99(&alone.asked_after));
    assert!(usual > 9 * SECOND, "polls are ten seconds apart, give or take a tenth: {usual} us");
    assert!(late <= usual + SECOND, "between polls: {late} us, alone {usual} us");
}

#[test]
fn in_a_crowd_the_exports_of_a_prompt_server_are_as_prompt_as_alone() {
    let (mut crowded, mut single) = (Tally::default(), Tally::default());
    for seed in 0..20 {
        crowded.add(&figures(crowd(seed)));
        single.add(&figures(alone(crowd(seed))));
    }
    assert_eq!(crowded.kicked_off_after.len(), 120, "six in each");
    within_a_second(&crowded, &single);
}

/// A crowd with this many refused exports. The operator reconciles 64 at once, as it does by default.
fn refused(exports: usize) -> Plan {
    Plan { concurrency: 64, seats: (32, 96), ..crowd_of(1, exports, 120) }
}

#[test]
fn five_thousand_refused_exports_delay_no_export_of_another_tenant() {
    let plan = refused(5000);
    within_a_second(&figures(plan.clone()), &figures(alone(plan)));
}

#[test]
fn a_refused_export_costs_the_same_in_a_larger_crowd() {
    let looks = |exports: u32| {
        let listed = figures(refused(exports as usize)).listed;
        f64::from(u32::try_from(listed).unwrap_or(u32::MAX)) / f64::from(exports)
    };
    let (few, many) = (looks(250), looks(1000));
    assert!(many < few * 1.5, "{few} exports of lists for each of 250, {many} for each of 1000");
}
