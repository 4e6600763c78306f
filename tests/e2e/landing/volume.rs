//! Landings on a volume: whole exports, a volume that is missing or another namespace's, cancels, and old folders that
//! a schedule deletes.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};

use bulk_fhir::{FileScript, Options, Script, Shape};
use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stage::wait_for;

use super::lifetimes::{midway, no_more_is_sent};
use crate::place::{Place, output};
use crate::site::{PATIENCE, condition};

/// Waits until a condition of the `FhirServer` has this status and reason. Returns its message.
pub(super) async fn server_says(place: &Place, type_: &str, status: &str, reason: &str) -> String {
    let api: Api<FhirServer> = place.site.api();
    let result = wait_for(&format!("{type_}={status} {reason}"), PATIENCE, || async {
        let server = api.get("clinic").await.map_err(|e| e.to_string())?;
        let conditions = server.status.map(|status| status.conditions).unwrap_or_default();
        let found = conditions.iter().find(|c| c.type_ == type_);
        match found.filter(|c| format!("{:?}", c.status) == status && c.reason == reason) {
            Some(found) => Ok(found.message.clone()),
            None => Err(format!("{found:?}")),
        }
    })
    .await;
    place.site.told(result)
}

/// Lands an export whose manifest has data, deletions and errors, and checks its verdict. Returns the export and the
/// name of its store.
pub(super) async fn landed_with_every_list(place: &Place) -> (FhirExport, String) {
    let manifest = Shape {
        issues: [("warning".to_owned(), 1)].into(),
        deleted: vec!["Patient/gone".into()],
        ..Shape::default()
    };
    place.fhir.script(Script::polls(1).manifest(manifest));
    let object = place.landed("run", json!({})).await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    let destination = object.status.as_ref().unwrap().job.as_ref().unwrap().destination.clone().unwrap();
    (object, destination.endpoint.unwrap())
}

/// The URLs of all files that a manifest names.
pub(super) fn urls(manifest: &[u8]) -> BTreeSet<String> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let lists = ["output", "deleted", "error"].map(|list| manifest[list].as_array().unwrap().clone());
    lists.iter().flatten().map(|file| file["url"].as_str().unwrap().to_owned()).collect()
}

/// Cancels a landing in the middle of a file: no part of it is shown, and an earlier export stays as it is.
pub(super) async fn cancelled_without_a_trace(place: &Place) {
    let first = place.landed("first", json!({})).await;
    let whole = place.blobs(&first).await;
    let job = midway(place, "run", json!({})).await;
    place.site.change("run", json!({"cancel": true})).await;
    let object = place.site.failed("run", "Cancelled").await;
    assert!(place.fhir.job(&job).unwrap().cancelled_at.is_some());
    place.site.until("run", "let go", |o| o.finalizers().is_empty()).await;
    no_more_is_sent(place, &job).await;
    let left = place.blobs(&object).await;
    assert!(left.is_empty(), "a file that has not landed shows nothing: {:?}", left.keys());
    assert_eq!(place.blobs(&first).await, whole);
}

#[tokio::test]
async fn an_export_lands_whole_and_is_verified() {
    let place =
        Place::on_a_volume("volume", Options::default(), json!({"storage": {"exportLog": true}})).await;
    let (object, endpoint) = landed_with_every_list(&place).await;
    assert_eq!(endpoint, "volume:lake/exports/fhir");
    let mut blobs = place.blobs(&object).await;
    assert!(blobs.remove("log.ndjson").is_some());
    let run = place.site.lake.as_ref().unwrap().join(place.container()).join(output(&object).folder.unwrap());
    std::fs::remove_file(run.join("log.ndjson")).unwrap();
    place.assert_same(&object, &place.last_job().id).await;
    // Each URL of the manifest leads to its file from where the manifest lies.
    let urls = urls(&blobs["manifest.json"]);
    assert_eq!(urls.len() + 1, blobs.len());
    assert!(urls.iter().all(|url| run.join(url).is_file()), "{urls:?}");
    assert!(urls.contains("deleted/Bundle-1.ndjson"), "{urls:?}");
    server_says(&place, "StorageAccessible", "True", "ContainerListed").await;
}

#[tokio::test]
async fn a_cancelled_landing_shows_no_part_of_a_file() {
    let place = Place::on_a_volume("volume-cancel", Options::default(), json!({})).await;
    cancelled_without_a_trace(&place).await;
}

#[tokio::test]
async fn a_volume_that_is_missing_is_told_and_waited_for() {
    let mut place = Place::without_volume("volume-missing", Options::default(), json!({})).await;
    place.site.start_operator().await;
    place.fhir.script(Script::polls(0));
    place.export("run", json!({}), json!({})).await;
    let object = place.site.until_condition("run", "Reconciling", "True", "NoStorageAccess").await;
    let message = condition(&object, "Reconciling").unwrap().2;
    assert!(message.contains("is not mounted into the operator"), "{message}");
    server_says(&place, "Ready", "False", "VolumeNotMounted").await;
    assert!(place.fhir.jobs().is_empty());
    assert_eq!(std::fs::read_dir(place.site.folder.path().join("volumes")).unwrap().count(), 0);
    place.site.mount();
    let object = place.site.complete("run").await;
    place.assert_same(&object, &place.last_job().id).await;
    assert_eq!(place.fhir.jobs().len(), 1);
}

/// Limits the size of the operator's files, as a quota would. The unit of `ulimit -f` is 512 or 1024 bytes, depending
/// on the shell. Without the trap, the signal SIGXFSZ would end the operator.
#[tokio::test]
async fn a_full_volume_is_told_and_goes_on_when_there_is_room() {
    let mut place = Place::without_volume("volume-full", Options::default(), json!({})).await;
    place.site.mount();
    let (operator, limited) = (place.site.program.clone(), place.site.folder.path().join("limited"));
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f 16384\nexec '{}' \"$@\"\n", operator.display());
    std::fs::write(&limited, script).unwrap();
    std::fs::set_permissions(&limited, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.site.program = limited;
    place.site.start_operator().await;
    let plain = FileScript { gzip: false, ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 2, 40_000_000).files(plain));
    place.export("run", json!({}), json!({})).await;
    let object = place.site.until_condition("run", "Verified", "Unknown", "NoStorageAccess").await;
    let message = condition(&object, "Verified").unwrap().2;
    assert!(message.contains("leaves no room for"), "{message}");
    place.site.kill_operator().await;
    place.site.program = operator;
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    assert_eq!((place.fhir.jobs().len(), object.status.unwrap().attempts), (1, Some(1)));
    for file in &job.files {
        assert_eq!(file.whole, 1, "each further request was for the rest");
    }
}

#[tokio::test]
async fn a_folder_of_another_namespace_is_refused() {
    let place = Place::on_a_volume("volume-theirs", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(0).every_time());
    let theirs = place.site.folder.path().join("volumes/lake/theirs");
    std::fs::create_dir_all(theirs.join(place.container())).unwrap();
    for path in [json!("theirs"), json!("exports2"), json!(null)] {
        place.change_server(json!({"storage": {"volume": {"path": path}}})).await;
        let message = server_says(&place, "Ready", "False", "VolumeNotAllowed").await;
        assert!(message.contains("grant that folder"), "{message}");
    }
    place.export("run", json!({}), json!({})).await;
    place.site.until_condition("run", "Reconciling", "True", "NoStorageAccess").await;
    assert!(place.fhir.jobs().is_empty());
    assert_eq!(std::fs::read_dir(theirs.join(place.container())).unwrap().count(), 0);
    place.change_server(json!({"storage": {"volume": {"path": "exports/fhir"}}})).await;
    let object = place.site.complete("run").await;
    place.assert_same(&object, &place.last_job().id).await;
}

#[tokio::test]
async fn a_link_in_the_place_of_the_container_gets_no_file() {
    let place = Place::on_a_volume("volume-link", Options::default(), json!({})).await;
    let lake = place.site.lake.clone().unwrap();
    let outside = place.site.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir_all(&lake).unwrap();
    symlink(&outside, lake.join(place.container())).unwrap();
    place.fhir.script(Script::polls(0).every_time());
    place.export("run", json!({}), json!({"backoffLimit": 0})).await;
    let object = place.site.ended("run").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("only directories are followed"), "{message}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

/// Has the schedule `nightly` run once. Returns the folders in the container afterwards.
pub(super) async fn run_now(place: &Place, token: &str) -> BTreeSet<String> {
    let api: Api<FhirExportSchedule> = place.site.api();
    let patch = json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}});
    api.patch("nightly", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let name = fhir_export_operator::core::schedule::name_of_token("nightly", token);
    let result = wait_for(&format!("{token} to be taken in"), PATIENCE, || async {
        let status = api.get("nightly").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let rests = status.active.is_empty() && status.last_run_now.as_ref() == Some(&name);
        let kept = status.retention.as_ref().is_none_or(|kept| kept.deleting.is_none());
        let chains = status.retention.map_or(0, |kept| kept.chains.iter().filter(|chain| chain.full).count());
        if rests && kept && chains <= 1 { Ok(()) } else { Err(format!("{rests} {kept} {chains}")) }
    })
    .await;
    place.site.told(result);
    place.site.complete(&name).await;
    place.folders().await
}

/// Creates the schedule `nightly`, which keeps one chain and runs only when it is told to.
pub(super) async fn nightly(place: &Place) {
    let object: FhirExportSchedule = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 0 29 2 *", "incremental": {"overlapSeconds": 0}, "retention": {"fullChains": 1},
            "template": {"spec": {"serverRef": {"name": "clinic"},
                "request": {"level": "System", "container": place.container()}}}}}))
    .unwrap();
    place.site.api().create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test]
async fn a_schedule_deletes_the_folders_of_old_chains() {
    let place = Place::on_a_volume("volume-retained", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(0).every_time());
    nightly(&place).await;
    let first = run_now(&place, "full-a").await;
    let second = run_now(&place, "b").await;
    assert!(first.len() == 1 && second.len() == 2 && second.is_superset(&first), "{first:?} {second:?}");
    let beside = place.site.lake.as_ref().unwrap().join(place.container()).join("theirs");
    std::fs::create_dir(&beside).unwrap();
    let third = run_now(&place, "full-c").await;
    assert!(third.contains("theirs") && third.len() == 2, "{third:?}");
    assert!(third.is_disjoint(&second), "both folders of the old chain are gone, with all that was in them");
}
