//! Runs that keep track of the members of a group: their stages, what the end of each one
//! means, and what users are told.

use serde_json::{Value, json};

use super::world::{End, World, bulk, server};
use crate::api::{ConditionStatus, ConditionType, FhirServer, Reason, RunMode};

/// A Bulk Data server that accepts lists of patients.
pub(super) fn takes_patients(change: Value) -> FhirServer {
    let mut whole =
        json!({ "spec": { "dialect": "BulkData" }, "status": { "resolved": { "version": "STU2" } } });
    super::world::merge(&mut whole, change);
    server(whole)
}

/// A schedule of a group whose members are known.
pub(super) fn cohort(incremental: Value) -> World {
    let mut world = World::incremental(incremental);
    let request = json!({ "level": "Group", "groupID": "cohort", "types": ["Observation"],
        "typeFilters": ["Observation?status=final"], "container": "lake" });
    world.edit(json!({ "template": { "spec": { "request": request } } }));
    world.server = Some(takes_patients(json!({})));
    world.group = ["a", "b"].map(str::to_owned).into();
    world
}

/// Goes through a whole run, each of whose exports succeeds.
pub(super) fn whole(world: &mut World, time: &str) {
    world.at(time);
    while !world.status().active.is_empty() {
        world.ends(End::Exported);
    }
}

/// Lets this many of a run's exports succeed.
pub(super) fn go_through(world: &mut World, stages: usize) {
    for _ in 0..stages {
        world.ends(End::Exported);
    }
}

pub(super) fn join(world: &mut World, id: &str) {
    world.group.insert(id.to_owned());
}

pub(super) const FULL: &str = "nightly-20261124-0200";

pub(super) const NEXT: &str = "nightly-20261125-0200";

pub(super) fn named(run: &str, ending: &str) -> String {
    format!("{run}{ending}")
}

#[test]
fn newcomers_are_exported_in_full_before_the_changes() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    assert_eq!(world.made, [named(FULL, "-members"), FULL.to_owned()]);
    let asked = &world.runs[&named(FULL, "-members")].spec.request;
    assert_eq!(asked.types.as_deref(), Some(&["Patient".to_owned()][..]));
    assert_eq!((&asked.type_filters, &asked.since), (&None, &None));
    assert_eq!(asked.bulk_data.as_ref().unwrap().elements.as_deref(), Some(&["id".to_owned()][..]));
    assert_eq!(asked.container.as_deref(), Some("lake"));
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    let known = world.status().chain.unwrap().members.unwrap();
    assert_eq!(world.lists[known.path.as_ref().unwrap()], "a\nb\n");

    // Nobody joined: no export of newcomers.
    whole(&mut world, "2026-11-25T02:00:00Z");
    assert_eq!(world.made[2..], [named(NEXT, "-members"), NEXT.to_owned()]);
    join(&mut world, "c");
    world.group.remove("a");
    whole(&mut world, "2026-11-26T02:00:00Z");
    let run = "nightly-20261126-0200";
    assert_eq!(world.made[4..], [named(run, "-members"), named(run, "-newcomers"), run.to_owned()]);
    let newcomers = &world.runs[&named(run, "-newcomers")];
    let list = newcomers.spec.request.bulk_data.clone().unwrap().patients_blob.unwrap();
    assert_eq!(world.lists[&list.path], "c\n");
    assert_eq!(newcomers.spec.request.since, None);
    assert_eq!(
        newcomers.spec.request.type_filters.as_deref().unwrap().len(),
        1,
        "what the template asks for"
    );
    assert_eq!(world.since(run), Some(world.transaction_time(NEXT).as_str()));
    let chain = world.status().chain.unwrap();
    let rows: Vec<_> = chain.history.iter().map(|row| (row.mode, row.name.as_str())).collect();
    let before = named(run, "-newcomers");
    assert_eq!(
        rows,
        [
            (RunMode::Full, FULL),
            (RunMode::Incremental, NEXT),
            (RunMode::Newcomers, before.as_str()),
            (RunMode::Incremental, run)
        ]
    );
    // A member who left and comes back is new.
    join(&mut world, "a");
    whole(&mut world, "2026-11-27T02:00:00Z");
    let list = world.runs["nightly-20261127-0200-newcomers"].spec.request.bulk_data.clone().unwrap();
    assert_eq!(world.lists[&list.patients_blob.unwrap().path], "a\n");
    for run in world.runs.values() {
        let text = serde_json::to_string(run).unwrap();
        let mode = run.metadata.labels.clone().unwrap()["fhirexport.dev/mode"].clone();
        assert!(["Members", "Newcomers", "Full", "Incremental"].contains(&mode.as_str()), "{text}");
    }
    let message = world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    assert!(message.contains("patients that joined the group in full"), "{message}");
}

/// Whatever stage fails, the next run has the same newcomers and the same `since`.
#[test]
fn a_run_counts_as_a_whole_or_not_at_all() {
    for (stage, good) in [(0, "-members"), (1, "-newcomers"), (2, "")] {
        for end in [End::Failed, End::WithErrors, End::Cancelled] {
            let mut world = cohort(json!({}));
            whole(&mut world, "2026-11-24T02:00:00Z");
            let (known, covered) = {
                let chain = world.status().chain.unwrap();
                (chain.members, chain.covered_until)
            };
            join(&mut world, "c");
            world.at("2026-11-25T02:00:00Z");
            go_through(&mut world, stage);
            assert_eq!(world.last(), named(NEXT, good));
            assert_eq!(world.status().active.len(), 1);
            world.ends(end);
            assert_eq!((world.status().active.len(), world.status().consecutive_failures), (0, Some(1)));
            let chain = world.status().chain.unwrap();
            assert_eq!((&chain.members, &chain.covered_until, &chain.pending), (&known, &covered, &None));
            assert_eq!(chain.history.len(), 1);
            let message =
                world.says(ConditionType::LastRunSucceeded, ConditionStatus::False, Reason::RunFailed);
            assert!(message.contains(&named(NEXT, good)), "{message}");
            world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Repeating);
            whole(&mut world, "2026-11-26T02:00:00Z");
            let list = world.runs["nightly-20261126-0200-newcomers"].spec.request.bulk_data.clone().unwrap();
            assert_eq!(world.lists[&list.patients_blob.unwrap().path], "c\n");
            assert_eq!(world.since("nightly-20261126-0200"), covered.as_deref());
        }
    }
}

#[test]
fn a_server_that_refuses_the_list_gets_a_full_run() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    world.at("2026-11-25T02:00:00Z").ends(End::Exported).ends(End::Rejected);
    assert_eq!(world.status().chain.unwrap().full_due_reason.as_deref(), Some("NewcomersRefused"));
    // A server that fails repeatedly is treated the same.
    let mut failing = cohort(json!({}));
    whole(&mut failing, "2026-11-24T02:00:00Z");
    join(&mut failing, "c");
    for (day, due) in [(25, None), (26, None), (27, Some("NewcomersRefused"))] {
        failing.at(&format!("2026-11-{day}T02:00:00Z")).ends(End::Exported).ends(End::Failed);
        assert_eq!(failing.status().chain.unwrap().full_due_reason.as_deref(), due, "{day}");
    }
    for (mut world, next) in [(world, "2026-11-26T02:00:00Z"), (failing, "2026-11-28T02:00:00Z")] {
        whole(&mut world, next);
        let last = world.last().to_owned();
        assert_eq!((world.since(&last), world.made.contains(&named(&last, "-newcomers"))), (None, false));
        let chain = world.status().chain.unwrap();
        assert_eq!((chain.history.len(), chain.full_due_reason), (1, None));
        assert_eq!(world.lists[&chain.members.unwrap().path.unwrap()], "a\nb\nc\n");
    }
}

#[test]
fn a_server_that_does_not_tell_who_is_in_the_group_gets_full_runs() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    for run in [NEXT, "nightly-20261126-0200"] {
        world.at(&format!("2026-11-{}T02:00:00Z", &run[14..16])).ends(End::Rejected).ends(End::Exported);
        assert_eq!((world.last(), world.since(run)), (run, None));
        assert_eq!(world.status().consecutive_failures, Some(0));
        world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::MembersUnknown);
    }
    assert_eq!(world.noted(Reason::MembersUnknown), 2);
    whole(&mut world, "2026-11-27T02:00:00Z");
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
}

#[test]
fn who_is_not_known_to_be_new_comes_with_a_full_run() {
    for changed in [None, Some("a\n".to_owned())] {
        let mut world = cohort(json!({}));
        whole(&mut world, "2026-11-24T02:00:00Z");
        let path = world.status().chain.unwrap().members.unwrap().path.unwrap();
        world.lists.remove(&path);
        world.lists.extend(changed.map(|text| (path, text)));
        whole(&mut world, "2026-11-25T02:00:00Z");
        assert_eq!((world.since(NEXT), world.noted(Reason::MembersUnknown)), (None, 1));
        world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
        whole(&mut world, "2026-11-26T02:00:00Z");
        assert!(world.since("nightly-20261126-0200").is_some());
    }
    // This chain began before the members were kept track of.
    let mut world = cohort(json!({}));
    world.server = Some(bulk("Some Server"));
    whole(&mut world, "2026-11-24T02:00:00Z");
    assert_eq!(world.made, [FULL]);
    let message =
        world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::NewMembersIncomplete);
    assert!(message.contains("bulkData.supportsPatient"), "{message}");
    world.server = Some(takes_patients(json!({})));
    world.look();
    world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::MembersUnknown);
    whole(&mut world, "2026-11-25T02:00:00Z");
    assert_eq!(world.since(NEXT), None);
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    // Once members are no longer kept track of, no run waits for them.
    world.server = Some(takes_patients(json!({ "spec": { "bulkData": { "supportsPatient": "No" } } })));
    whole(&mut world, "2026-11-26T02:00:00Z");
    assert!(world.since("nightly-20261126-0200").is_some());
    assert_eq!(world.status().chain.unwrap().members, None);
    world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::NewMembersIncomplete);
}

#[test]
fn a_run_that_stops_to_look_for_newcomers_knows_no_members() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    let path = world.status().chain.unwrap().members.unwrap().path.unwrap();
    world.lists.remove(&path);
    join(&mut world, "c");
    world.at("2026-11-25T02:00:00Z");
    world.server = Some(bulk("Some Server"));
    go_through(&mut world, 2);
    assert!(world.since(NEXT).is_some());
    // So a patient who joined meanwhile does not count as known.
    world.server = Some(takes_patients(json!({})));
    whole(&mut world, "2026-11-26T02:00:00Z");
    assert_eq!(world.since("nightly-20261126-0200"), None);
}

#[test]
fn more_newcomers_than_a_list_can_name_come_with_a_full_run() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    (0..=crate::core::schedule::members::MAX_NEWCOMERS).for_each(|n| join(&mut world, &n.to_string()));
    whole(&mut world, "2026-11-25T02:00:00Z");
    assert_eq!((world.since(NEXT), world.noted(Reason::TooManyNewcomers)), (None, 1));
}

#[test]
fn where_members_cannot_be_kept_track_of_that_is_told() {
    let list = json!({ "bulkData": { "patientsSecretRef": { "name": "s", "key": "k" } } });
    let allow = json!({ "spec": { "allow": { "types": ["Observation"] } } });
    for (change, request, says) in [
        (
            json!({ "spec": { "bulkData": { "kickOffMethod": "Get" } } }),
            json!({}),
            "bulkData.supportsPatient",
        ),
        (json!({}), list, "a list of patients of its own"),
        (allow, json!({}), "spec.allow of FhirServer ns/clinic does not admit"),
    ] {
        let mut world = cohort(json!({}));
        world.server = Some(takes_patients(change));
        world.edit(json!({ "template": { "spec": { "request": request } } }));
        whole(&mut world, "2026-11-24T02:00:00Z");
        whole(&mut world, "2026-11-25T02:00:00Z");
        assert_eq!(world.made, [FULL, NEXT]);
        let told =
            world.says(ConditionType::ChainIntact, ConditionStatus::Unknown, Reason::NewMembersIncomplete);
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn a_group_may_be_empty_and_initial_since_brings_no_newcomers() {
    let mut world = cohort(json!({ "initialSince": "2026-01-01T00:00:00Z" }));
    world.group.clear();
    whole(&mut world, "2026-11-24T02:00:00Z");
    assert_eq!(world.since(FULL), Some("2026-01-01T00:00:00Z"));
    assert_eq!(world.status().chain.unwrap().members.unwrap().path, None);
    join(&mut world, "a");
    whole(&mut world, "2026-11-25T02:00:00Z");
    let list = world.runs[&named(NEXT, "-newcomers")].spec.request.bulk_data.clone().unwrap();
    assert_eq!(world.lists[&list.patients_blob.unwrap().path], "a\n");
}
