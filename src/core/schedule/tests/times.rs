//! Which times of a schedule get a run.

use std::time::Duration;

use serde_json::json;

use super::world::{End, World, at, server};
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::effect::Requeue;

#[test]
fn a_run_is_made_at_its_time_and_only_once() {
    let mut world = World::new(json!({ "timeZone": "Europe/Berlin" }));
    assert_eq!(world.look(), Requeue::After(Duration::from_secs(300)));
    assert_eq!(world.status().next_schedule_time, Some(at("2026-11-24T01:00:00Z")));
    world.at("2026-11-24T00:59:59Z");
    assert_eq!(world.made, Vec::<String>::new());
    assert_eq!(world.look(), Requeue::After(Duration::from_secs(1)));
    world.at("2026-11-24T01:00:00Z").at("2026-11-24T01:00:01Z").at("2026-11-24T05:00:00Z");
    assert_eq!(world.made, ["nightly-20261124-0100"]);
    let status = world.status();
    assert_eq!(status.last_schedule_time, Some(at("2026-11-24T01:00:00Z")));
    assert_eq!(status.next_schedule_time, Some(at("2026-11-25T01:00:00Z")));
    assert_eq!(status.active.len(), 1);
    assert_eq!(status.active[0].uid.as_deref(), Some("u-1"));
    world.ends(End::Exported);
    let status = world.status();
    assert!(status.active.is_empty() && status.chain.is_none());
    assert_eq!(status.last_successful_time, Some(at("2026-11-24T06:00:00Z")));
    world.says(ConditionType::LastRunSucceeded, ConditionStatus::True, Reason::RunSucceeded);
    // The writes are those of the intent, the uid, the end, and the first look.
    assert_eq!(world.writes, 4);
}

#[test]
fn the_run_is_what_the_template_says() {
    let mut world = World::new(json!({ "template": {
        "metadata": { "labels": { "team": "a" }, "annotations": { "note": "b" } },
        "spec": { "backoffLimit": 5, "deletionPolicy": "Abandon", "errorFilePolicy": "Fail",
            "onUncertainKickOff": "Fail", "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 60 } } }));
    world.at("2026-11-24T02:00:00.5Z");
    let run = serde_json::to_value(&world.runs[world.last()]).unwrap();
    assert_eq!(
        run,
        json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": { "name": "nightly-20261124-0200", "namespace": "ns", "uid": "u-1", "generation": 1,
                "labels": { "team": "a", "fhirexport.dev/schedule": "nightly" },
                "annotations": { "note": "b", "fhirexport.dev/slot-time": "2026-11-24T02:00:00Z" },
                "ownerReferences": [{ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
                    "name": "nightly", "uid": "s-1", "controller": true }] },
            // The schedule itself watches the time to live, because it takes the result in first.
            "spec": { "serverRef": { "name": "clinic" },
                "request": { "level": "System", "types": ["Patient", "Observation"] },
                "kickOffBefore": "2026-11-25T02:00:01Z", "backoffLimit": 5, "deletionPolicy": "Abandon",
                "errorFilePolicy": "Fail", "onUncertainKickOff": "Fail", "activeDeadlineSeconds": 60 },
        })
    );
}

#[test]
fn after_an_outage_one_run_makes_up_for_all_that_were_missed() {
    let mut world = World::new(json!({}));
    world.look();
    world.at("2026-12-24T12:00:00Z");
    assert_eq!(world.made, ["nightly-20261224-0200"]);
    assert_eq!(world.runs[world.last()].spec.kick_off_before, Some(at("2026-12-25T12:00:00Z")));
    world.ends(End::Exported).at("2026-12-24T20:00:00Z").at("2026-12-25T02:00:00Z");
    assert_eq!(world.made, ["nightly-20261224-0200", "nightly-20261225-0200"]);
}

#[test]
fn a_run_that_would_begin_too_late_is_skipped() {
    let mut world = World::new(json!({ "startingDeadlineSeconds": 3600 }));
    world.look();
    world.at("2026-11-24T03:00:00Z");
    assert_eq!(world.made, Vec::<String>::new());
    let skipped = world.status().last_skipped.unwrap();
    assert_eq!((skipped.time, skipped.reason.as_str()), (at("2026-11-24T02:00:00Z"), "StartWindowMissed"));
    assert_eq!(world.noted(Reason::StartWindowMissed), 1);
    world.at("2026-11-25T02:59:59Z");
    assert_eq!(world.runs[world.last()].spec.kick_off_before, Some(at("2026-11-25T03:00:00Z")));
}

#[test]
fn while_suspended_nothing_is_made_nor_made_up_for() {
    let mut world = World::new(json!({ "suspend": true }));
    world.look();
    world.says(ConditionType::Suspended, ConditionStatus::True, Reason::Suspended);
    world.at("2026-11-24T02:00:00Z").at("2026-11-26T12:00:00Z");
    assert_eq!((world.made.len(), world.status().next_schedule_time), (0, None));
    world.edit(json!({ "suspend": false }));
    world.look();
    world.says(ConditionType::Suspended, ConditionStatus::False, Reason::Scheduled);
    assert_eq!(world.made.len(), 0);
    let skipped = world.status().last_skipped.unwrap();
    assert_eq!((skipped.time, skipped.reason.as_str()), (at("2026-11-26T02:00:00Z"), "Suspended"));
    world.at("2026-11-27T02:00:00Z");
    assert_eq!(world.made, ["nightly-20261127-0200"]);
}

#[test]
fn what_was_missed_while_suspended_is_not_made_up_for_by_a_schedule_that_was_not_ready_when_it_resumed() {
    let gone: fn(&mut World) = |world| world.server = None;
    let unreadable: fn(&mut World) = |world| world.edit(json!({ "schedule": "nightly" }));
    let refused: fn(&mut World) = |world| {
        world.refuses = Some("no".into());
        world.annotate("now");
        world.look();
        assert_eq!(world.status().active.len(), 1);
    };
    for (hindrance, runs) in [(gone, 0), (unreadable, 0), (refused, 1)] {
        let mut world = World::new(json!({ "suspend": true }));
        world.look();
        world.at("2026-11-26T12:00:00Z");
        hindrance(&mut world);
        world.edit(json!({ "suspend": false }));
        world.look();
        world.says(ConditionType::Suspended, ConditionStatus::False, Reason::Scheduled);
        assert_eq!(world.status().last_skipped.unwrap().reason, "Suspended");
        world.server = Some(server(json!({})));
        world.edit(json!({ "schedule": "0 2 * * *" }));
        world.refuses = None;
        world.hours(2);
        world.look();
        world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
        if runs == 1 {
            world.ends(End::Exported);
        }
        assert_eq!(world.made.len(), runs, "{:?}", world.made);
        world.at("2026-11-27T02:00:00Z");
        assert_eq!(world.last(), "nightly-20261127-0200");
    }
}

#[test]
fn a_run_goes_on_while_its_schedule_is_suspended() {
    let mut world = World::new(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.edit(json!({ "suspend": true }));
    world.ends(End::Exported);
    world.says(ConditionType::LastRunSucceeded, ConditionStatus::True, Reason::RunSucceeded);
}

#[test]
fn a_clock_that_goes_back_repeats_nothing() {
    let mut world = World::new(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.at("2026-11-23T23:00:00Z").at("2026-11-24T02:00:00Z").at("2026-11-24T02:30:00Z");
    assert_eq!(world.made.len(), 1);
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.made.len(), 2);
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_the_schedule() {
    let mut world = World::new(json!({}));
    world.at("2099-11-24T02:00:00Z").ends(End::Exported);
    world.at("2026-11-24T01:00:00Z");
    assert_eq!(world.noted(Reason::ClockWentBack), 1);
    world.at("2026-11-24T02:00:00Z");
    assert_eq!(world.made, ["nightly-20991124-0200", "nightly-20261124-0200"]);
}

#[test]
fn a_run_now_is_made_once_for_each_token() {
    let mut world = World::new(json!({ "suspend": true }));
    world.look();
    world.annotate("one");
    world.look();
    let first = world.last().to_owned();
    assert!(first.starts_with("nightly-manual-"), "{first}");
    world.ends(End::Exported).look();
    assert_eq!(world.made.len(), 1);
    world.annotate("two");
    world.look();
    assert_eq!(world.made.len(), 2);
    assert_ne!(world.last(), first);
    world.ends(End::Exported);
    // The object of the first run still exists.
    world.annotate("one");
    world.look();
    assert_eq!(world.made.len(), 2);
    assert_eq!(world.status().last_schedule_time, None);
}

#[test]
fn a_run_now_waits_for_the_one_that_runs() {
    let mut world = World::new(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.annotate("now");
    world.look();
    assert_eq!(world.made.len(), 1);
    world.ends(End::Failed);
    assert_eq!(world.made.len(), 2);
}

#[test]
fn the_clocks_of_summer_and_winter_make_one_run_a_day() {
    for (made, first, days) in [
        ("2026-03-27T12:00:00Z", "2026-03-28T00:00:00Z", 4), // 02:30 does not exist on the 29th
        ("2026-10-23T12:00:00Z", "2026-10-24T00:00:00Z", 4), // 02:30 comes twice on the 25th
    ] {
        let mut world = World::new(json!({ "schedule": "30 2 * * *", "timeZone": "Europe/Berlin" }));
        world.schedule.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(made)));
        world.now = at(first);
        for _ in 0..days * 24 * 2 {
            world.wait(1800);
            world.look();
            if let Some(active) = world.status().active.first() {
                let name = active.name.clone();
                world.end(&name, End::Exported);
                world.look();
            }
        }
        assert_eq!(world.made.len(), days, "{:?}", world.made);
    }
}
