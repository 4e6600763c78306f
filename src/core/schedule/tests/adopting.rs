//! Whose a run is, what a crash leaves behind, and how a lost status is rebuilt.

use serde_json::json;

use super::world::{End, World};
use crate::api::{ConditionStatus, ConditionType, Reason, RunMode};

#[test]
fn what_is_not_ours_is_never_taken() {
    for owner in [
        json!([]),
        json!([{ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
        "name": "nightly", "uid": "s-0", "controller": true }]),
    ] {
        let mut world = World::incremental(json!({}));
        let foreign = json!({ "metadata": { "name": "nightly-20261124-0200", "namespace": "ns", "uid": "x",
            "ownerReferences": owner },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } });
        world.runs.insert("nightly-20261124-0200".into(), serde_json::from_value(foreign).unwrap());
        let before = world.runs.clone();
        world.at("2026-11-24T02:00:00Z");
        assert_eq!((world.made.len(), world.status().active.len()), (0, 0));
        assert_eq!(world.status().chain.unwrap().pending, None);
        let message =
            world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::AdoptionRefused);
        assert!(message.contains("not of this schedule"), "{message}");
        assert_eq!(world.noted(Reason::AdoptionRefused), 1);
        world.at("2026-11-24T05:00:00Z");
        assert_eq!(world.runs, before);
        // The foreign object blocks only one time.
        world.at("2026-11-25T02:00:00Z");
        assert_eq!(world.made, ["nightly-20261125-0200"]);
    }
}

#[test]
fn a_crash_at_any_write_makes_one_run_and_takes_it_in_once() {
    for fuse in 0..6 {
        let mut world = World::incremental(json!({}));
        world.at("2026-11-24T01:00:00Z");
        world.now = super::world::at("2026-11-24T02:00:00Z");
        world.look_until(fuse);
        world.wait(90);
        world.look();
        assert_eq!(world.made, ["nightly-20261124-0200"], "{fuse}");
        let name = world.last().to_owned();
        world.start(&name);
        world.hours(1);
        world.end(&name, End::Exported);
        world.look_until(fuse);
        world.look();
        let chain = world.status().chain.unwrap();
        assert_eq!(chain.covered_until, Some(world.transaction_time(&name)), "{fuse}");
        assert_eq!((chain.history.len(), chain.pending), (1, None), "{fuse}");
    }
}

#[test]
fn a_lost_status_is_made_anew_from_the_runs() {
    let mut world = World::incremental(json!({ "fullSchedule": "0 2 * * 0" }));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.at("2026-11-25T02:00:00Z").ends(End::Exported);
    world.at("2026-11-26T02:00:00Z").ends(End::Failed);
    world.at("2026-11-27T02:00:00Z");
    let before = world.status();
    world.schedule.status = Some(serde_json::from_value(json!({ "observedGeneration": -1 })).unwrap());
    world.look();
    let after = world.status();
    assert_eq!((&after.chain, &after.active), (&before.chain, &before.active));
    assert_eq!(after.last_schedule_time, before.last_schedule_time);
    assert_eq!(after.last_successful_time, before.last_successful_time);
    assert_eq!(world.made.len(), 4);
    assert_eq!(after.chain.unwrap().pending.unwrap().mode, RunMode::Incremental);
    world.ends(End::Exported).at("2026-11-28T02:00:00Z");
    let covered = world.transaction_time("nightly-20261127-0200");
    assert_eq!(world.since("nightly-20261128-0200"), Some(covered.as_str()));
}

#[test]
fn a_lost_status_without_a_run_that_counts_begins_anew() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Failed);
    world.schedule.status = None;
    world.look();
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
}

#[test]
fn a_lost_status_repeats_no_run_that_was_asked_for() {
    let mut world = World::new(json!({}));
    world.annotate("once");
    world.look();
    assert_eq!(world.made.len(), 1);
    world.schedule.status = None;
    world.look();
    assert_eq!(world.made.len(), 1);
    assert_eq!(world.status().last_run_now.as_deref(), Some(world.last()));
}

#[test]
fn a_run_that_somebody_deletes_is_repeated() {
    for started in [false, true] {
        let mut world = World::incremental(json!({}));
        world.at("2026-11-24T02:00:00Z").ends(End::Exported);
        let covered = world.transaction_time("nightly-20261124-0200");
        world.at("2026-11-25T02:00:00Z");
        if started {
            world.start("nightly-20261125-0200");
        }
        world.delete("nightly-20261125-0200");
        world.look();
        world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunLost);
        let message = world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Repeating);
        assert!(message.contains("overlap, no gap"), "{message}");
        world.at("2026-11-26T02:00:00Z");
        assert_eq!(world.since("nightly-20261126-0200"), Some(covered.as_str()));
    }
}
