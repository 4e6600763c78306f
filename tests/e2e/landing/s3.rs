//! Landings in an S3 store: whole exports, a file that goes on in its middle, cancels, a key that is replaced, and old
//! folders that a schedule deletes.

use std::collections::BTreeSet;

use bulk_fhir::{FileScript, Options, Script};
use serde_json::json;
use stage::wait_for;

use super::volume::{cancelled_without_a_trace, landed_with_every_list, nightly, run_now, server_says, urls};
use crate::place::{Place, output};
use crate::site::{PATIENCE, S3_PREFIX};

/// The keys of all objects in this test's container, hidden ones included.
async fn keys(place: &Place) -> Vec<String> {
    let bucket = place.site.bucket.as_ref().unwrap();
    bucket.keys(&format!("{S3_PREFIX}/{}/", place.container())).await.unwrap()
}

#[tokio::test]
async fn an_export_lands_whole_and_is_verified() {
    let place = Place::on_s3("s3", Options::default(), json!({"storage": {"exportLog": true}})).await;
    let (object, endpoint) = landed_with_every_list(&place).await;
    assert!(endpoint.starts_with("s3://clinic-lake/exports/fhir?endpoint=http://127.0.0.1:"), "{endpoint}");
    let blobs = place.blobs(&object).await;
    assert!(blobs.contains_key("log.ndjson"));
    let folder = format!("{S3_PREFIX}/{}/{}", place.container(), output(&object).folder.unwrap());
    let named = blobs.keys().filter(|name| !["manifest.json", "log.ndjson"].contains(&name.as_str()));
    let named = named.map(|name| format!("s3://clinic-lake/{folder}/{name}"));
    assert_eq!(urls(&blobs["manifest.json"]), named.collect());
    server_says(&place, "StorageAccessible", "True", "ContainerListed").await;
}

#[tokio::test]
async fn a_large_file_goes_on_after_a_kill_and_no_part_is_stored_twice() {
    let mut place = Place::on_s3("s3-kill", Options::default(), json!({})).await;
    let slow = FileScript { gzip: false, trickle: Some(10_000_000), ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 1, 40_000_000).files(slow));
    place.export("run", json!({}), json!({})).await;
    // How far an upload is lies beside the file, as soon as its first part is stored.
    let result = wait_for("a part to be stored", PATIENCE, || async {
        let keys = keys(&place).await;
        keys.iter().any(|key| key.ends_with(".upload")).then_some(()).ok_or(format!("{keys:?}"))
    })
    .await;
    place.site.told(result);
    place.site.kill_operator().await;
    let bucket = place.site.bucket.clone().unwrap();
    let begun: BTreeSet<String> = bucket.uploads().await.unwrap().into_iter().collect();
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    let file = &job.files[0];
    assert_eq!((place.fhir.jobs().len(), file.whole, file.ranges), (1, 1, 1), "the rest was asked for");
    assert!(!begun.is_empty());
    let left: BTreeSet<String> = bucket.uploads().await.unwrap().into_iter().collect();
    assert!(left.is_disjoint(&begun), "the upload became the file");
    let hidden: Vec<String> = keys(&place).await.into_iter().filter(|key| key.contains("/.")).collect();
    let marks =
        hidden.iter().filter(|key| key.rsplit_once('.').is_some_and(|(_, ending)| ending == "marks")).count();
    assert_eq!((marks, hidden.iter().filter(|key| key.ends_with(".upload")).count()), (1, 0), "{hidden:?}");
}

#[tokio::test]
async fn a_cancelled_landing_shows_no_part_of_a_file() {
    let place = Place::on_s3("s3-cancel", Options::default(), json!({})).await;
    cancelled_without_a_trace(&place).await;
}

#[tokio::test]
async fn a_wrong_key_is_told_and_the_right_one_is_taken() {
    let place = Place::on_s3("s3-key", Options::default(), json!({})).await;
    let right = json!({"AWS_ACCESS_KEY_ID": stage::S3_KEY_ID, "AWS_SECRET_ACCESS_KEY": stage::S3_KEY});
    place.fhir.script(Script::polls(0).every_time());
    place.change_server(json!({"storage": {"s3": {"auth": {"secretRef": {"name": "other"}}}}})).await;
    server_says(&place, "StorageAccessible", "False", "DependencyMissing").await;
    place
        .site
        .secret(
            "other",
            json!({"AWS_ACCESS_KEY_ID": stage::S3_KEY_ID, "AWS_SECRET_ACCESS_KEY": "yesterday/s+secret"}),
            true,
        )
        .await;
    let message = server_says(&place, "StorageAccessible", "False", "NoStorageAccess").await;
    assert!(message.contains("put the current one into its Secret"), "{message}");
    place.site.secret("other", right, true).await;
    server_says(&place, "StorageAccessible", "True", "ContainerListed").await;
    let object = place.landed("run", json!({})).await;
    place.assert_same(&object, &place.last_job().id).await;
}

#[tokio::test]
async fn a_schedule_deletes_the_folders_of_old_chains() {
    let place = Place::on_s3("s3-retained", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(0).every_time());
    nightly(&place).await;
    let first = run_now(&place, "full-a").await;
    let second = run_now(&place, "b").await;
    assert!(first.len() == 1 && second.len() == 2 && second.is_superset(&first), "{first:?} {second:?}");
    let bucket = place.site.bucket.as_ref().unwrap();
    bucket.put(&format!("{S3_PREFIX}/{}/theirs/x.txt", place.container()), b"x").await.unwrap();
    let third = run_now(&place, "full-c").await;
    assert!(third.contains("theirs") && third.len() == 2, "{third:?}");
    assert!(third.is_disjoint(&second), "both folders of the old chain are gone, with all that was in them");
}
