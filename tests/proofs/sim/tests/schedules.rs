//! Schedules create each run once, whatever their watch shows.
#![allow(missing_docs, clippy::panic)]

use sim::any::schedules;
use sim::plan::{Event, EventKind, ScheduleEvent};
use sim::{Outcome, run};

/// Somebody deletes each run right after it was created. The watch of schedules may then still show the run
/// as one that is to be created.
#[test]
fn a_run_that_is_deleted_as_soon_as_it_was_made_is_not_made_again() {
    let (mut deleted, mut made) = (0, 0);
    for seed in 0..30 {
        let mut plan = schedules(seed);
        plan.faults.clear();
        (plan.replicas, plan.latency, plan.heal_at) = (1, 800, 7200);
        plan.schedules.truncate(1);
        let times = (1..12_i64).flat_map(|slot| (0..4).map(move |late| slot * 600 + 1 + late));
        let kind = EventKind::OfSchedule(0, ScheduleEvent::DeleteRun(0));
        plan.events = times.map(|at| Event { at, kind }).collect();
        let Outcome { broken, tally, .. } = run(plan, false);
        if let Some((law, text)) = broken {
            panic!("seed {seed} breaks {law}: {text}");
        }
        deleted += tally.ends.get("deleted before its end").copied().unwrap_or_default();
        made += tally.runs;
    }
    assert!(deleted > 50 && made > deleted, "{deleted} of {made} were deleted before their end");
}
