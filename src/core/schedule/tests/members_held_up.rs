//! What holds up, changes or ends a run that keeps track of a group's members.

use serde_json::json;

use super::members::{FULL, NEXT, cohort, go_through, join, named, whole};
use super::world::End;
use crate::api::{ConditionStatus, ConditionType, Reason, RunStage};
use crate::core::ledger::StorageFailureKind;
use crate::core::schedule::{
    Listed, Listing, Newcomers, ScheduleEffect, ScheduleInputs, ScheduleObservation, decide_schedule,
};

#[test]
fn a_storage_account_that_is_away_holds_the_run_up() {
    let mut world = cohort(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.storage = Some(StorageFailureKind::Transient { retry_after: None });
    world.ends(End::Exported);
    world.says(ConditionType::Ready, ConditionStatus::False, Reason::StorageUnreachable);
    world.says(ConditionType::Stalled, ConditionStatus::False, Reason::StorageUnreachable);
    let writes = world.writes;
    world.wait(60);
    world.look();
    assert_eq!((world.writes, world.made.len()), (writes, 1), "told once");
    // Other runs are skipped meanwhile, as while any run is not done.
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.noted(Reason::StillRunning), 1);
    world.storage = None;
    world.wait(60);
    world.look();
    world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
    assert_eq!(world.last(), FULL);
    // A failure that does not pass ends the run.
    let mut world = cohort(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.storage = Some(StorageFailureKind::Denied);
    world.ends(End::Exported);
    world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunFailed);
    assert_eq!(world.status().active, []);
}

#[test]
fn what_is_deleted_suspended_or_replaced_is_one_run() {
    for policy in ["Forbid", "Replace"] {
        let mut world = cohort(json!({}));
        world.edit(json!({ "concurrencyPolicy": policy, "startingDeadlineSeconds": 600 }));
        whole(&mut world, "2026-11-24T02:00:00Z");
        join(&mut world, "c");
        // A run that has begun continues while the schedule is suspended, even after its window.
        world.at("2026-11-25T02:00:00Z");
        world.edit(json!({ "suspend": true }));
        world.hours(3);
        world.ends(End::Exported);
        assert_eq!(world.status().active[0].stage, Some(RunStage::Newcomers));
        world.edit(json!({ "suspend": false }));
        world.look();
        let newcomers = world.last().to_owned();
        world.start(&newcomers);
        world.at("2026-11-26T02:00:00Z");
        if policy == "Forbid" {
            assert_eq!(world.noted(Reason::StillRunning), 1);
            world.delete(&newcomers);
            world.runs.remove(&newcomers);
            world.look();
        } else {
            assert_eq!(world.deleted, std::slice::from_ref(&newcomers));
            world.runs.remove(&newcomers);
            world.look();
            assert_eq!(world.status().active[0].name, "nightly-20261126-0200-members");
        }
        world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunLost);
        assert!(!world.made.contains(&NEXT.to_owned()));
        assert_eq!(world.status().chain.unwrap().history.len(), 1);
    }
}

#[test]
fn an_object_of_somebody_else_ends_the_run_at_any_stage() {
    for (ends, ending) in [(0, "-members"), (1, "-newcomers"), (2, "")] {
        let mut world = cohort(json!({}));
        whole(&mut world, "2026-11-24T02:00:00Z");
        join(&mut world, "c");
        let foreign = json!({ "metadata": { "name": named(NEXT, ending), "namespace": "ns", "uid": "foreign" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } });
        world.runs.insert(named(NEXT, ending), serde_json::from_value(foreign).unwrap());
        world.at("2026-11-25T02:00:00Z");
        go_through(&mut world, ends);
        world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::AdoptionRefused);
        assert_eq!((world.status().active.len(), world.status().chain.unwrap().pending), (0, None));
    }
}

#[test]
fn a_change_of_the_request_in_the_middle_gives_the_run_up() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    world.at("2026-11-25T02:00:00Z");
    world.edit(json!({ "template": { "spec": { "request": { "types": ["Condition"] } } } }));
    world.ends(End::Exported);
    assert_eq!((world.made.len(), world.status().active.len()), (3, 0));
    whole(&mut world, "2026-11-26T02:00:00Z");
    assert_eq!(world.since("nightly-20261126-0200"), None);
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    // The same holds if runs are to be incremental no longer.
    world.at("2026-11-27T02:00:00Z");
    world.edit(json!({ "incremental": null }));
    world.ends(End::Exported);
    assert_eq!(world.status().active, []);
}

#[test]
fn a_run_by_hand_has_stages_too_and_is_made_once() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    world.hours(1);
    world.annotate("full-x");
    world.look();
    assert!(world.last().ends_with("-members"));
    let run = world.last().strip_suffix("-members").unwrap().to_owned();
    world.schedule.status = None;
    world.look();
    world.ends(End::Exported);
    assert_eq!((world.made.len(), world.status().last_run_now.as_ref()), (3, Some(&run)));
    assert!(!world.made.contains(&run), "the status was lost, so it is repeated at the next time");
}

#[test]
fn while_the_members_are_read_the_schedule_waits_and_goes_on_when_they_are() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    world.at("2026-11-25T02:00:00Z");
    (world.reads_slowly, world.asked_for_lists) = (true, 0);
    world.ends(End::Exported);
    assert_eq!(world.asked_for_lists, 1, "asked once in a look");
    world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
    let writes = world.writes;
    world.wait(600);
    world.look();
    assert_eq!((world.asked_for_lists, world.writes, world.made.len()), (2, writes, 3));
    world.reads_slowly = false;
    world.look();
    assert_eq!(world.last(), named(NEXT, "-newcomers"));
}

/// A listing that was not compared with an earlier list names no newcomers. It must not be taken for the
/// answer when the run has become incremental meanwhile.
#[test]
fn lists_that_answer_another_question_are_not_taken() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    world.at("2026-11-25T02:00:00Z");
    world.reads_slowly = true;
    world.ends(End::Exported);
    // The listing is requested while a full run is due.
    world.edit(json!({ "incremental": { "fullSchedule": "0 1 * * *" } }));
    let facts = world.facts();
    let inputs = ScheduleInputs { schedule: &world.schedule, facts: &facts, seen: None, now: world.now };
    let decision = decide_schedule(inputs);
    let Some(ScheduleEffect::ListMembers(asked)) = decision.effect else { panic!("{:?}", decision.effect) };
    assert_eq!(asked.before, None);
    world.schedule.status = Some(decision.status);
    // When its answer comes, no full run is due any more.
    world.edit(json!({ "incremental": { "fullSchedule": null } }));
    let listed = Listed { members: None, newcomers: Newcomers::None };
    let seen = Some(ScheduleObservation::Members { asked, listing: Listing::Done(listed) });
    let decision =
        decide_schedule(ScheduleInputs { schedule: &world.schedule, facts: &facts, seen, now: world.now });
    let Some(ScheduleEffect::ListMembers(asked)) = decision.effect else { panic!("{:?}", decision.effect) };
    assert!(asked.before.is_some(), "asked again");
}
