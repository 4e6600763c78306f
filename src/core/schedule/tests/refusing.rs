//! What keeps a schedule from making runs, and how the conditions say so.

use serde_json::json;

use super::world::{End, World, bulk, server};
use crate::api::{ConditionStatus, ConditionType, Reason};

fn not_ready(world: &mut World, reason: Reason, stalled: ConditionStatus) -> String {
    world.at("2026-11-24T02:00:00Z");
    assert_eq!((world.made.len(), world.status().next_schedule_time), (0, None));
    world.says(ConditionType::Stalled, stalled, reason);
    world.says(ConditionType::Ready, ConditionStatus::False, reason)
}

#[test]
fn what_cannot_be_read_or_never_comes_is_told_at_once() {
    for (spec, words) in [
        (json!({ "schedule": "nightly" }), "fields"),
        (json!({ "schedule": "0 25 * * *" }), "hour"),
        (json!({ "schedule": "0 2 30 2 *" }), "never"),
        (json!({ "timeZone": "Europe/Atlantis" }), "time zone"),
        (json!({ "incremental": { "fullSchedule": "0 2 31 4 *" } }), "incremental.fullSchedule: "),
    ] {
        let mut world = World::new(spec);
        let message = not_ready(&mut world, Reason::InvalidSchedule, ConditionStatus::True);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_is_missing_is_waited_for() {
    let mut world = World::new(json!({}));
    world.server = None;
    not_ready(&mut world, Reason::ServerNotFound, ConditionStatus::False);
    world.server = Some(server(json!({ "metadata": { "deletionTimestamp": "2026-11-24T00:00:00Z" } })));
    not_ready(&mut world, Reason::ServerDeleting, ConditionStatus::False);
    world.server = Some(server(json!({})));
    world.at("2026-11-24T09:00:00Z");
    world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
    assert_eq!(world.made, ["nightly-20261124-0200"]);
}

#[test]
fn incremental_runs_are_refused_where_they_lose_data_or_cannot_be() {
    let level = |level: &str| match level {
        "Group" => json!({ "level": "Group", "groupID": "g" }),
        other => json!({ "level": other }),
    };
    let unknown = bulk("Some Server");
    let unseen = server(json!({ "metadata": { "generation": 2 }, "spec": { "dialect": "BulkData" } }));
    let without = server(json!({ "spec": { "dialect": "BulkData", "bulkData": { "supportsSince": "No" } } }));
    let (lost, cannot) = (Some(Reason::IncrementalLosesData), Some(Reason::UnsupportedByServer));
    let rows = vec![
        (server(json!({})), "System", false, None),
        (server(json!({})), "Patient", false, lost),
        (server(json!({})), "Group", false, lost),
        (server(json!({})), "Group", true, None),
        (bulk("HAPI FHIR Server"), "System", false, None),
        (bulk("HAPI FHIR Server"), "Patient", false, lost),
        (bulk("HAPI FHIR Server"), "Group", false, lost),
        (bulk("HAPI FHIR Server"), "Patient", true, None),
        (unknown.clone(), "Patient", false, None),
        (unknown, "Group", false, None),
        (bulk("Epic"), "Group", true, cannot),
        (without, "System", false, cannot),
        (unseen, "System", false, Some(Reason::Probing)),
    ];
    for (server, at_level, accept, refused) in rows {
        let mut world = World::incremental(json!({ "acceptLoss": accept }));
        world.edit(json!({ "template": { "spec": { "request": level(at_level) } } }));
        world.server = Some(server);
        world.at("2026-11-24T02:00:00Z");
        let (status, reason, message) = world.condition(ConditionType::Ready);
        match refused {
            None => assert_eq!((status, world.made.len()), (ConditionStatus::True, 1), "{message}"),
            Some(refused) => {
                assert_eq!(
                    (status, reason.as_str()),
                    (ConditionStatus::False, refused.as_str()),
                    "{message}"
                );
                assert_eq!(world.made.len(), 0);
                if refused == Reason::IncrementalLosesData {
                    assert!(message.contains("level System with types"), "{message}");
                }
            }
        }
    }
}

#[test]
fn without_incremental_no_level_is_refused() {
    let mut world = World::new(json!({ "template": { "spec": { "request": { "level": "Patient" } } } }));
    world.at("2026-11-24T02:00:00Z");
    assert_eq!(world.made.len(), 1);
}

#[test]
fn what_the_api_server_refuses_is_told_and_tried_again() {
    let mut world = World::incremental(json!({}));
    world.refuses = Some("exceeded quota: fhirexports".into());
    world.at("2026-11-24T02:00:00Z");
    let message = world.says(ConditionType::Ready, ConditionStatus::False, Reason::CreationRefused);
    assert!(message.contains("exceeded quota"), "{message}");
    let writes = world.writes;
    world.at("2026-11-24T02:01:00Z").at("2026-11-24T02:02:00Z");
    assert_eq!(world.writes, writes, "the same refusal is written once");
    world.refuses = None;
    world.at("2026-11-24T02:03:00Z");
    assert_eq!(world.made, ["nightly-20261124-0200"]);
    world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
    world.ends(End::Exported);
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
}

#[test]
fn a_run_that_is_refused_until_its_window_is_over_is_dropped() {
    let mut world = World::new(json!({ "startingDeadlineSeconds": 600 }));
    world.refuses = Some("no".into());
    world.at("2026-11-24T02:00:00Z");
    assert_eq!(world.status().active.len(), 1);
    world.at("2026-11-24T02:10:00Z");
    assert_eq!(world.status().active.len(), 0);
    assert_eq!(world.status().last_skipped.unwrap().reason, "StartWindowMissed");
    world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
}
