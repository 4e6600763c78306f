//! Cancels, deadlines and suspension in the middle of a landing, storage that fails for a while, and the queue.

use bulk_fhir::{Cancel, FileScript, Life, Options, Script};
use kube::ResourceExt;
use serde_json::json;
use stage::{Azurite, AzuriteOptions, wait_for};

use crate::place::Place;
use crate::site::{PATIENCE, condition};

const MIB: u64 = 1 << 20;

/// Starts a run with one big file, at a rate that would take minutes, and waits until a part of the file was sent.
/// Returns the id of the job.
pub(super) async fn midway(place: &Place, name: &str, spec: serde_json::Value) -> String {
    let slow = FileScript { gzip: false, trickle: Some(6_000_000), ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 1, 1_000_000_000).files(slow));
    place.export(name, json!({}), spec).await;
    let began = |job: &bulk_fhir::JobView| job.files[0].bytes_sent > 3 * MIB;
    place.until_served("the file to be on its way", |server| server.jobs().last().is_some_and(began)).await;
    place.last_job().id
}

/// Waits until the server sends nothing more of the job's first file.
pub(super) async fn no_more_is_sent(place: &Place, job: &str) {
    let sent = || place.fhir.job(job).unwrap().files[0].bytes_sent;
    let mut before = sent();
    // The condition is that time passes and nothing is sent: the two looks are 300 ms apart, six times as long as a
    // step of the trickle.
    let result = wait_for("the download to end", PATIENCE, || {
        let now = sent();
        let rests = std::mem::replace(&mut before, now) == now;
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            if rests { Ok(()) } else { Err("more is sent") }
        }
    })
    .await;
    place.site.told(result);
}

#[tokio::test]
async fn a_landing_is_cancelled() {
    let place = Place::start("cancel", Options::default(), json!({})).await;
    let job = midway(&place, "run", json!({})).await;
    place.site.change("run", json!({"cancel": true})).await;
    place.site.failed("run", "Cancelled").await;
    assert!(place.fhir.job(&job).unwrap().cancelled_at.is_some());
    place.site.until("run", "let go", |o| o.finalizers().is_empty()).await;
    no_more_is_sent(&place, &job).await;
    assert_eq!(place.fhir.jobs().len(), 1);
}

#[tokio::test]
async fn a_running_job_is_cancelled_in_every_dialect() {
    let place = Place::start("running", Options::default(), json!({})).await;
    for (status, reason) in
        [(200, "Cancelled"), (204, "Cancelled"), (404, "Cancelled"), (405, "CancelUnconfirmed")]
    {
        let cancel = Cancel { running: status, ..Cancel::default() };
        place.fhir.script(Script { cancel, ..Script::stuck() });
        let name = format!("run-{status}");
        place.export(&name, json!({}), json!({})).await;
        place.site.until_condition(&name, "Reconciling", "False", "KickedOff").await;
        place.site.change(&name, json!({"cancel": true})).await;
        place.site.failed(&name, reason).await;
        assert_eq!(place.last_job().cancel_requests, 1, "{status}");
        place.site.until(&name, "let go", |o| o.finalizers().is_empty()).await;
    }
}

#[tokio::test]
async fn a_landing_ends_with_its_object() {
    let place = Place::start("delete", Options::default(), json!({})).await;
    let job = midway(&place, "run", json!({})).await;
    place.site.delete("run").await;
    place.site.gone("run").await;
    assert!(place.fhir.job(&job).unwrap().cancelled_at.is_some());
    no_more_is_sent(&place, &job).await;
}

#[tokio::test]
async fn a_landing_ends_at_its_deadline() {
    let place = Place::start("deadline", Options::default(), json!({})).await;
    let job = midway(&place, "run", json!({"activeDeadlineSeconds": 5})).await;
    place.site.failed("run", "DeadlineExceeded").await;
    assert!(place.fhir.job(&job).unwrap().cancelled_at.is_some());
    no_more_is_sent(&place, &job).await;
}

#[tokio::test]
async fn a_held_landing_goes_on_where_it_stopped() {
    for by_server in [false, true] {
        let place = Place::start("suspend", Options::default(), json!({})).await;
        let slow = FileScript { gzip: false, trickle: Some(6_000_000), ..FileScript::default() };
        place.fhir.script(Script::polls(0).made("Observation", 1, 30_000_000).files(slow));
        place.export("run", json!({}), json!({})).await;
        place.until_sent(0, 9 * MIB).await;
        let suspend = async |on: bool| {
            if by_server {
                place.change_server(json!({"suspend": on})).await;
            } else {
                place.site.change("run", json!({"suspend": on})).await;
            }
        };
        suspend(true).await;
        let reason = if by_server { "ServerSuspended" } else { "Suspended" };
        place.site.until_condition("run", "Suspended", "True", reason).await;
        let job = place.last_job();
        no_more_is_sent(&place, &job.id).await;
        place.fhir.rescript_files(&job.id, |file| file.trickle = None);
        suspend(false).await;
        let object = place.site.complete("run").await;
        assert_eq!(condition(&object, "Suspended").unwrap().0, "False");
        place.assert_same(&object, &job.id).await;
        let job = place.last_job();
        assert_eq!((place.fhir.jobs().len(), job.files[0].whole, job.files[0].ranges), (1, 1, 1));
    }
}

#[tokio::test]
async fn a_storage_outage_is_waited_out() {
    let mut azurite = Azurite::start(AzuriteOptions::default()).await.unwrap();
    let endpoint = azurite.endpoint().unwrap().to_string();
    let change = json!({"storage": {"azureBlob": {"endpoint": endpoint.trim_end_matches('/')}}});
    let place = Place::start("outage", Options::default(), change).await;
    let slow = FileScript { gzip: false, trickle: Some(6_000_000), ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 2, 12_000_000).files(slow));
    place.export("run", json!({}), json!({})).await;
    place.until_sent(0, 3 * MIB).await;
    azurite.stop().await.unwrap();
    let object = place.site.until_condition("run", "Verified", "Unknown", "StorageUnreachable").await;
    let message = condition(&object, "Verified").unwrap().2;
    assert!(message.starts_with("the files have not all landed yet: "), "{message}");
    let job = place.last_job();
    place.fhir.rescript_files(&job.id, |file| file.trickle = None);
    azurite.resume().await.unwrap();
    let object = place.site.complete("run").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    place.assert_same_in(&azurite, &object, &job.id).await;
    assert_eq!((place.fhir.jobs().len(), object.status.unwrap().attempts), (1, Some(1)));
}

#[tokio::test]
async fn a_wrong_account_key_is_told_and_repaired() {
    let mut place = Place::without_operator("key", Options::default(), json!({})).await;
    let wrong = "d3Jvbmcta2V5LXdyb25nLWtleS13cm9uZy1rZXk=";
    place.site.secret("storage", json!({"key": wrong}), true).await;
    place.site.start_operator().await;
    place.fhir.script(Script::polls(0));
    place.export("run", json!({}), json!({})).await;
    // The operator knows this from the probe, and starts no job whose files it could not store.
    place.site.until_condition("run", "Reconciling", "True", "NoStorageAccess").await;
    assert!(place.fhir.jobs().is_empty());
    let key = crate::site::shared().await.azurite.key();
    place.site.secret("storage", json!({"key": key}), true).await;
    let object = place.site.complete("run").await;
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    assert_eq!(place.fhir.jobs().len(), 1);
    assert!(job.sent_twice().is_empty());
}

#[tokio::test]
async fn a_full_queue_lands_one_after_the_other() {
    let change = json!({"limits": {"maxConcurrentExports": 1}});
    let place = Place::start("queue", Options::default(), change).await;
    let files = FileScript { gzip: false, trickle: Some(1_000_000), ..FileScript::default() };
    place.fhir.script(Script { life: Life::Stuck, ..Script::default() }.files(files.clone()));
    place.fhir.script(Script::polls(0).made("Condition", 1, 300_000).files(files).every_time());
    place.export("one", json!({}), json!({})).await;
    place.site.until_condition("one", "Reconciling", "False", "KickedOff").await;
    for name in ["two", "three"] {
        place.export(name, json!({}), json!({})).await;
        place.site.until_condition(name, "Reconciling", "True", "Queued").await;
    }
    assert_eq!(place.fhir.jobs().len(), 1);
    let first = place.last_job().id;
    place.fhir.rescript(&first, |script| script.life = Life::Polls(1));
    for name in ["one", "two", "three"] {
        let object = place.site.complete(name).await;
        let job = object.status.as_ref().unwrap().job.as_ref().unwrap().id.clone().unwrap();
        place.assert_same(&object, &job).await;
    }
    let jobs = place.fhir.jobs();
    assert_eq!(jobs.len(), 3);
    for pair in jobs.windows(2) {
        let landed = pair[0].files.iter().all(|file| file.completed == 1);
        assert!(landed && pair[0].created < pair[1].created, "one after the other");
    }
}
