//! What a run means for the one before it, and which objects are kept.

use serde_json::json;

use super::world::{End, World, at};
use crate::api::{ConditionStatus, ConditionType, Reason};

#[test]
fn forbid_skips_while_one_runs() {
    let mut world = World::new(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.start("nightly-20261124-0200");
    world.at("2026-11-25T02:00:00Z").at("2026-11-25T03:00:00Z");
    assert_eq!(world.made.len(), 1);
    let skipped = world.status().last_skipped.unwrap();
    assert_eq!((skipped.time, skipped.reason.as_str()), (at("2026-11-25T02:00:00Z"), "StillRunning"));
    assert_eq!(world.noted(Reason::StillRunning), 1);
    // A skipped time is not made up for when the other run is done.
    world.ends(End::Exported).at("2026-11-26T02:00:00Z");
    assert_eq!(world.made, ["nightly-20261124-0200", "nightly-20261126-0200"]);
}

#[test]
fn replace_deletes_the_one_that_runs() {
    for started in [false, true] {
        let mut world = World::new(json!({ "concurrencyPolicy": "Replace" }));
        world.at("2026-11-24T02:00:00Z");
        if started {
            world.start("nightly-20261124-0200");
        }
        world.at("2026-11-25T02:00:00Z");
        assert_eq!(world.deleted, ["nightly-20261124-0200"]);
        assert_eq!(world.made.len(), 2);
        assert_eq!(world.status().active.len(), 1);
        assert_eq!(world.noted(Reason::Replaced), 1);
        world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunLost);
        assert_eq!(world.status().consecutive_failures, Some(1));
    }
}

#[test]
fn allow_runs_both() {
    let mut world = World::new(json!({ "concurrencyPolicy": "Allow" }));
    world.at("2026-11-24T02:00:00Z").at("2026-11-25T02:00:00Z");
    world.annotate("beside");
    world.look();
    assert_eq!((world.made.len(), world.status().active.len()), (3, 3));
    for name in world.made.clone() {
        world.end(&name, End::Exported);
    }
    world.look();
    assert_eq!(world.status().active, Vec::new());
}

#[test]
fn runs_beside_each_other_are_bounded() {
    let mut world = World::new(json!({ "concurrencyPolicy": "Allow", "schedule": "0 * * * *" }));
    world.look();
    for _ in 0..40 {
        world.hours(1);
        world.look();
    }
    assert_eq!((world.made.len(), world.status().active.len()), (32, 32));
    assert!(serde_json::to_vec(&world.status()).unwrap().len() < 8 << 10);
    assert_eq!(world.status().last_skipped.unwrap().reason, "StillRunning");
    assert_eq!(world.noted(Reason::StillRunning), 8);
    // The same holds for requested runs: the next one waits for its turn.
    world.annotate("now");
    world.look();
    assert_eq!(world.made.len(), 32);
    let first = world.made[0].clone();
    world.end(&first, End::Exported);
    world.look();
    assert_eq!((world.made.len(), world.status().active.len()), (33, 32));
    assert!(world.last().contains("-manual-"), "{}", world.last());
}

#[test]
fn runs_of_a_chain_never_run_beside_each_other() {
    let mut world = World::incremental(json!({}));
    // The schema refuses this, but an older definition may have accepted it.
    world.edit(json!({ "concurrencyPolicy": "Allow" }));
    world.at("2026-11-24T02:00:00Z").at("2026-11-25T02:00:00Z");
    assert_eq!(world.made.len(), 1);
}

#[test]
fn as_many_objects_are_kept_as_asked_for_by_outcome() {
    for (limits, kept) in [
        (
            json!({}),
            vec![
                "nightly-20261127-0200",
                "nightly-20261129-0200",
                "nightly-20261130-0200",
                "nightly-20261201-0200",
            ],
        ),
        (
            json!({ "successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 0 }),
            vec!["nightly-20261201-0200"],
        ),
        (
            json!({ "successfulRunsHistoryLimit": 0, "failedRunsHistoryLimit": 2 }),
            vec!["nightly-20261127-0200", "nightly-20261128-0200"],
        ),
    ] {
        let mut world = World::new(limits.clone());
        for day in 24..=31 {
            let (month, day) = if day > 30 { (12, day - 30) } else { (11, day) };
            world.at(&format!("2026-{month}-{day:02}T02:00:00Z"));
            let end = match day {
                26 | 27 => End::Failed,
                28 => {
                    if limits["failedRunsHistoryLimit"] == 2 {
                        End::Failed
                    } else {
                        End::Exported
                    }
                }
                _ => End::Exported,
            };
            world.ends(end);
        }
        let left: Vec<&str> = world.runs.keys().map(String::as_str).collect();
        assert_eq!(left, kept, "{limits}");
    }
}

#[test]
fn a_time_to_live_is_kept_by_the_schedule() {
    let mut world = World::new(json!({ "template": { "spec": { "ttlSecondsAfterFinished": 7200 } } }));
    world.at("2026-11-24T02:00:00Z").ends(End::Failed);
    world.at("2026-11-24T04:59:59Z");
    assert_eq!(world.runs.len(), 1);
    world.at("2026-11-24T05:00:00Z");
    assert_eq!(world.runs.len(), 0);
}

#[test]
fn a_schedule_that_is_being_deleted_does_nothing() {
    let mut world = World::new(json!({}));
    world.look();
    world.schedule.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    world.at("2026-11-24T02:00:00Z");
    assert_eq!(world.made.len(), 0);
}
