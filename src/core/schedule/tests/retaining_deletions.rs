//! How folders are deleted: in pieces, again after a failure, and not without their storage.

use serde_json::json;

use super::retaining::{day, doomed, folder, ledger, storage, with_storage};
use super::world::{End, World, bulk, merge, server};
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure, StorageFailureKind};

fn failure(kind: StorageFailureKind) -> StorageFailure {
    StorageFailure { kind, message: "the account does not do that".into() }
}

#[test]
fn files_go_a_few_at_a_time_and_runs_come_first() {
    let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
    day(&mut world, 24, End::Exported);
    world.at("2026-11-25T02:00:00Z");
    for files in [200, 200] {
        world.deletions.push_back(Ok(FolderDeletion::Going { files }));
    }
    let started = world.last().to_owned();
    world.hours(1);
    world.end(&started, End::Exported);
    // The look ends after one effect, in the middle of the folder.
    assert_eq!(world.look_until(2), None);
    assert_eq!(ledger(&world).deleting.unwrap().files, 0);
    assert_eq!(world.look_until(2), None);
    assert_eq!(ledger(&world).deleting.unwrap().files, 200);
    // A run that falls due meanwhile is made before anything else is deleted.
    let before = world.doomed.len();
    world.now = super::world::at("2026-11-26T02:00:00Z");
    assert_eq!(world.look_until(1), None);
    assert_eq!((world.made.len(), world.doomed.len()), (2, before));
    world.look();
    assert_eq!((world.made.len(), ledger(&world).deleting), (3, None));
    assert_eq!(ledger(&world).last_deleted.unwrap().files, 201);
    assert!(world.doomed.iter().all(|plan: &FolderPlan| plan.folder == folder(24, 1)));
}

#[test]
fn a_deletion_that_fails_is_tried_again_slowly_and_holds_up_nothing() {
    for (kind, minutes) in [
        (StorageFailureKind::Denied, 60),
        (StorageFailureKind::Permanent, 60),
        (StorageFailureKind::Transient { retry_after: None }, 10),
    ] {
        let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
        day(&mut world, 24, End::Exported);
        world.at("2026-11-25T02:00:00Z");
        for _ in 0..2 {
            world.deletions.push_back(Err(failure(kind)));
        }
        world.ends(End::Exported);
        assert_eq!(world.doomed.len(), 1);
        let message =
            world.says(ConditionType::OldFilesDeleted, ConditionStatus::False, Reason::DeletionFailed);
        assert!(message.contains("the account does not do that"), "{message}");
        assert!(message.contains(&format!("in {minutes} minutes")), "{message}");
        world.wait(minutes * 60 - 1);
        world.look();
        assert_eq!(world.doomed.len(), 1);
        world.wait(1);
        world.look();
        assert_eq!((world.doomed.len(), world.noted(Reason::DeletionFailed)), (2, 1), "told once");
        day(&mut world, 26, End::Exported);
        assert_eq!(world.made.len(), 3, "runs go on");
        world.says(ConditionType::OldFilesDeleted, ConditionStatus::True, Reason::Retained);
    }
}

#[test]
fn a_container_that_is_gone_has_nothing_to_delete() {
    let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
    day(&mut world, 24, End::Exported);
    world.at("2026-11-25T02:00:00Z");
    world.deletions.push_back(Err(failure(StorageFailureKind::NotFound)));
    world.ends(End::Exported);
    assert_eq!(ledger(&world).last_deleted.unwrap().files, 0);
    let told = world.notes.iter().find(|note| note.reason == Reason::FolderDeleted).unwrap();
    assert!(told.message.starts_with("nothing was left to delete in lake/"), "{}", told.message);
}

#[test]
fn nothing_is_deleted_while_it_is_suspended() {
    let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
    day(&mut world, 24, End::Exported);
    world.at("2026-11-25T02:00:00Z");
    world.edit(json!({ "suspend": true }));
    world.ends(End::Exported);
    assert_eq!(doomed(&mut world), [""; 0]);
    world.edit(json!({ "suspend": false }));
    world.look();
    assert_eq!(doomed(&mut world), [folder(24, 1)]);
}

#[test]
fn without_storage_or_a_folder_of_its_own_a_run_is_not_deleted_and_that_is_told() {
    let mut elsewhere = storage();
    merge(&mut elsewhere, json!({ "spec": { "defaultContainer": null } }));
    for (server, reason) in [
        (server(json!({})), Reason::NoStorageAccess),
        (server(elsewhere), Reason::ContainerNeeded),
        (bulk("HAPI FHIR Server"), Reason::NoStorageAccess),
    ] {
        let mut world = World::new(json!({ "retention": { "fullChains": 1 } }));
        world.server = Some(server);
        day(&mut world, 24, End::Exported);
        day(&mut world, 25, End::Exported);
        assert_eq!(doomed(&mut world), [""; 0]);
        world.says(ConditionType::OldFilesDeleted, ConditionStatus::False, reason);
        world.says(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled);
    }
}
