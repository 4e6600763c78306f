//! Incremental runs: the instant from which each one exports, and what moves that instant on.

use serde_json::json;

use super::world::{End, World, bulk, server};
use crate::api::{ConditionStatus, ConditionType, Reason, RunMode};

fn chain(world: &World) -> crate::api::Chain {
    world.status().chain.unwrap()
}

#[test]
fn the_first_run_is_full_and_the_next_ones_begin_where_the_last_one_ended() {
    let mut world = World::incremental(json!({}));
    world.look();
    world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::NoFullRunYet);
    assert_eq!(chain(&world).full_due_reason.as_deref(), Some("NoFullRunYet"));
    world.at("2026-11-24T02:00:00Z");
    let pending = chain(&world).pending.unwrap();
    assert_eq!((pending.mode, pending.since, pending.chain.as_str()), (RunMode::Full, None, "20261124-0200"));
    let labels = world.runs[world.last()].metadata.labels.clone().unwrap();
    assert_eq!(labels["fhirexport.dev/mode"], "Full");
    assert_eq!(labels["fhirexport.dev/chain"], "20261124-0200");
    world.ends(End::Exported);
    let first = world.transaction_time("nightly-20261124-0200");
    assert_eq!(first, "2026-11-24T02:00:00.1234567+00:00");
    assert_eq!(chain(&world).covered_until.as_deref(), Some(first.as_str()));
    assert_eq!(chain(&world).full_due_reason, None);
    let message = world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    assert!(message.contains(&first) && message.contains("no overlap, no gap"), "{message}");

    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), Some(first.as_str()));
    let run = &world.runs["nightly-20261125-0200"];
    let annotations = run.metadata.annotations.clone().unwrap();
    assert_eq!(annotations["fhirexport.dev/predecessor"], "nightly-20261124-0200");
    assert_eq!(annotations["fhirexport.dev/chain-began"], "2026-11-24T02:00:00Z");
    assert_eq!(run.metadata.labels.clone().unwrap()["fhirexport.dev/mode"], "Incremental");
    assert_eq!(run.metadata.labels.clone().unwrap()["fhirexport.dev/chain"], "20261124-0200");
    world.ends(End::Exported);
    let history = chain(&world).history;
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].folder.as_deref(), Some("20261125T030000-u-2"));
    assert_eq!(history[1].since, Some(history[0].transaction_time.clone()));
}

#[test]
fn what_does_not_count_is_repeated_from_the_same_instant() {
    for end in [End::Failed, End::Cancelled, End::WithErrors] {
        let mut world = World::incremental(json!({}));
        world.at("2026-11-24T02:00:00Z").ends(End::Exported);
        let covered = chain(&world).covered_until;
        for day in 25..28 {
            world.at(&format!("2026-11-{day}T02:00:00Z")).ends(end);
            assert_eq!(world.since(world.last()), covered.as_deref(), "{end:?}");
            assert_eq!(chain(&world).covered_until, covered);
        }
        assert_eq!(world.status().consecutive_failures, Some(3));
        world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunFailed);
        world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Repeating);
        world.at("2026-11-28T02:00:00Z").ends(End::Exported);
        assert_eq!(chain(&world).covered_until, Some(world.transaction_time("nightly-20261128-0200")));
        assert_eq!(world.status().consecutive_failures, Some(0));
    }
}

#[test]
fn a_failed_first_run_is_repeated_as_a_full_one() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Failed).at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
    assert_eq!(chain(&world).pending.unwrap().chain, "20261125-0200");
}

#[test]
fn errors_do_not_matter_where_every_run_exports_all() {
    let mut world = World::new(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::WithErrors);
    world.says(ConditionType::LastRunSucceeded, ConditionStatus::True, Reason::RunSucceeded);
}

#[test]
fn a_run_reaches_back_as_far_as_asked_for() {
    for (overlap, since) in [
        (json!(null), "2026-11-24T01:55:00.1234567Z"),
        (json!(60), "2026-11-24T01:59:00.1234567Z"),
        (json!(0), "2026-11-24T02:00:00.1234567+00:00"),
    ] {
        let mut world = World::new(json!({ "incremental": { "overlapSeconds": overlap } }));
        world.edit(json!({ "incremental": {} }));
        world.at("2026-11-24T02:00:00Z").ends(End::Exported).at("2026-11-25T02:00:00Z");
        assert_eq!(world.since("nightly-20261125-0200"), Some(since));
    }
}

#[test]
fn full_runs_come_by_their_own_clock_and_begin_a_new_chain() {
    let mut world = World::incremental(json!({ "fullSchedule": "0 4 * * 0" }));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.at("2026-11-28T02:00:00Z").ends(End::Exported);
    // On a Sunday, the usual run comes at two and the full one at four.
    world.at("2026-11-29T02:00:00Z").ends(End::Exported);
    assert!(world.since("nightly-20261129-0200").is_some());
    assert_eq!(world.status().next_schedule_time, Some(super::world::at("2026-11-29T04:00:00Z")));
    world.at("2026-11-29T04:00:00Z");
    assert_eq!(world.since("nightly-20261129-0400"), None);
    assert_eq!(chain(&world).full_due_reason.as_deref(), Some("FullScheduled"));
    // The old chain stays until the full run has succeeded.
    assert_eq!(chain(&world).id.as_deref(), Some("20261124-0200"));
    world.ends(End::Failed).at("2026-11-30T02:00:00Z");
    assert_eq!(world.since("nightly-20261130-0200"), None);
    world.ends(End::Exported);
    assert_eq!(chain(&world).id.as_deref(), Some("20261130-0200"));
    assert_eq!(chain(&world).history.len(), 1);
    world.at("2026-12-01T02:00:00Z");
    let full = world.transaction_time("nightly-20261130-0200");
    assert_eq!(world.since("nightly-20261201-0200"), Some(full.as_str()));
}

#[test]
fn another_request_or_server_begins_a_new_chain() {
    let request = |change| json!({ "template": { "spec": { "request": change } } });
    for (spec, full) in [
        (request(json!({ "types": ["Observation", "Patient", "Patient"] })), false),
        (request(json!({ "types": ["Observation", "Patient", "Encounter"] })), true),
        (request(json!({ "types": ["Observation"] })), true),
        (request(json!({ "typeFilters": ["Observation?category=laboratory"] })), true),
        (request(json!({ "container": "other" })), true),
        (request(json!({ "includeAssociatedData": ["_deleted"] })), true),
        (json!({ "schedule": "0 1 * * *" }), false),
        (json!({ "template": { "spec": { "backoffLimit": 7 } } }), false),
    ] {
        let mut world = World::incremental(json!({}));
        world.at("2026-11-24T02:00:00Z").ends(End::Exported);
        world.edit(spec.clone());
        world.look();
        let (status, reason, _) = world.condition(ConditionType::ChainIntact);
        let wanted = if full {
            (ConditionStatus::False, "RequestChanged")
        } else {
            (ConditionStatus::True, "Chained")
        };
        assert_eq!((status, reason.as_str()), wanted, "{spec}");
        world.at("2026-11-25T02:00:00Z");
        assert_eq!(world.since(world.last()).is_none(), full, "{spec}");
    }
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.server = Some(server(json!({ "metadata": { "uid": "f-2" } })));
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
}

#[test]
fn a_change_that_is_taken_back_costs_nothing() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.edit(json!({ "template": { "spec": { "request": { "types": ["Patient"] } } } }));
    world.look();
    world.edit(json!({ "template": { "spec": { "request": { "types": ["Patient", "Observation"] } } } }));
    world.at("2026-11-25T02:00:00Z");
    assert!(world.since("nightly-20261125-0200").is_some());
}

#[test]
fn a_run_for_another_request_or_server_than_it_was_made_for_does_not_count() {
    // The request changes during a run, whose result belongs to the old request.
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.edit(json!({ "template": { "spec": { "request": { "types": ["Encounter"] } } } }));
    world.ends(End::Exported);
    world.says(ConditionType::ChainIntact, ConditionStatus::False, Reason::RequestChanged);
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
    // The server is created anew with another database before the run starts.
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z");
    world.server = Some(server(json!({ "metadata": { "uid": "f-2" } })));
    world.ends(End::Exported);
    assert_eq!(chain(&world).covered_until, None);
    world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunFailed);
}

#[test]
fn a_server_whose_clock_goes_back_gets_a_full_run() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    let covered = chain(&world).covered_until;
    world.at("2026-11-25T02:00:00Z");
    world.start("nightly-20261125-0200");
    let run = world.runs.get_mut("nightly-20261125-0200").unwrap();
    run.status.as_mut().unwrap().transaction_time = Some("2026-11-23T00:00:00Z".into());
    world.end("nightly-20261125-0200", End::Exported);
    world.look();
    assert_eq!(chain(&world).covered_until, covered);
    world.says(ConditionType::ChainIntact, ConditionStatus::False, Reason::TransactionTimeWentBack);
    assert_eq!(world.noted(Reason::TransactionTimeWentBack), 1);
    world.at("2026-11-26T02:00:00Z");
    assert_eq!(world.since("nightly-20261126-0200"), None);
    world.ends(End::Failed).at("2026-11-27T02:00:00Z");
    assert_eq!(world.since("nightly-20261127-0200"), None);
    world.ends(End::Exported);
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
}

#[test]
fn a_full_run_can_be_asked_for_and_stays_due_until_it_succeeds() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.annotate("again");
    world.look();
    assert!(world.since(world.last()).is_some());
    world.ends(End::Exported);
    world.annotate("full-1");
    world.look();
    assert_eq!(world.since(world.last()), None);
    world.ends(End::Failed);
    assert_eq!(chain(&world).full_due_reason.as_deref(), Some("FullRequested"));
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
    world.ends(End::Exported);
    assert_eq!(chain(&world).full_due_reason, None);
}

#[test]
fn a_chain_can_begin_with_changes() {
    let mut world = World::incremental(json!({ "initialSince": "2026-11-01T00:00:00+01:00" }));
    world.at("2026-11-24T02:00:00Z").ends(End::Failed).at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), Some("2026-11-01T00:00:00+01:00"));
    world.ends(End::Exported).at("2026-11-26T02:00:00Z");
    let covered = world.transaction_time("nightly-20261125-0200");
    assert_eq!(world.since("nightly-20261126-0200"), Some(covered.as_str()));
    // Later chains begin with a full run.
    world
        .ends(End::Exported)
        .edit(json!({ "template": { "spec": { "request": { "types": ["Encounter"] } } } }));
    world.at("2026-11-27T02:00:00Z");
    assert_eq!(world.since("nightly-20261127-0200"), None);
}

#[test]
fn what_is_missed_is_said() {
    let level = |level: serde_json::Value| json!({ "template": { "spec": { "request": level } } });
    for (server, request, reason) in [
        (server(json!({})), json!({ "level": "Patient" }), Reason::LossAccepted),
        (bulk("HAPI"), json!({ "level": "Group", "groupID": "g" }), Reason::LossAccepted),
        (bulk("x"), json!({ "level": "Group", "groupID": "g" }), Reason::NewMembersIncomplete),
    ] {
        let mut world = World::incremental(json!({ "acceptLoss": true }));
        world.edit(level(request));
        world.server = Some(server);
        world.at("2026-11-24T02:00:00Z").ends(End::Exported);
        world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, reason);
        world.at("2026-11-25T02:00:00Z");
        assert!(world.since("nightly-20261125-0200").is_some());
    }
}

#[test]
fn history_keeps_ten_runs_and_the_status_stays_small() {
    let mut world = World::incremental(json!({}));
    for month in 1..=12 {
        world.at(&format!("2027-{month:02}-01T02:00:00Z")).ends(End::Exported);
    }
    let history = chain(&world).history;
    assert_eq!(history.len(), 10);
    assert_eq!(history[9].name, "nightly-20271201-0200");
    assert!(serde_json::to_vec(&world.status()).unwrap().len() < 8192);
}

#[test]
fn without_incremental_there_is_no_chain() {
    let mut world = World::incremental(json!({}));
    world.at("2026-11-24T02:00:00Z").ends(End::Exported);
    world.edit(json!({ "incremental": null }));
    world.look();
    assert_eq!(world.status().chain, None);
    world.at("2026-11-25T02:00:00Z");
    assert_eq!(world.since("nightly-20261125-0200"), None);
    let labels = world.runs[world.last()].metadata.labels.clone().unwrap();
    assert!(!labels.contains_key("fhirexport.dev/chain"));
}
