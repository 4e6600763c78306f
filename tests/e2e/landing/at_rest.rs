//! The stored files: compression, unusual bytes, `log.ndjson` beside them, and the folder of each run.

use std::io::Read;

use bulk_fhir::{Fault, FileScript, Options, Script, Shape, Step};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::place::{Place, hex, output};
use crate::site::{condition, shared};

async fn stored_so(name: &str, change: Value) -> Place {
    Place::start(name, Options::default(), json!({"storage": change})).await
}

async fn on_a_volume(name: &str, change: Value) -> Place {
    Place::on_a_volume(name, Options::default(), json!({"storage": change})).await
}

async fn in_s3(name: &str, change: Value) -> Place {
    Place::on_s3(name, Options::default(), json!({"storage": change})).await
}

#[tokio::test]
async fn compressed_at_rest_is_the_same_inside() {
    is_the_same_inside(stored_so("rest", json!({"compression": "Gzip"})).await).await;
}

#[tokio::test]
async fn compressed_on_a_volume_is_the_same_inside() {
    is_the_same_inside(on_a_volume("rest-volume", json!({"compression": "Gzip"})).await).await;
}

#[tokio::test]
async fn compressed_in_s3_is_the_same_inside() {
    is_the_same_inside(in_s3("rest-s3", json!({"compression": "Gzip"})).await).await;
}

async fn is_the_same_inside(place: Place) {
    // Two full blocks and a rest, each a gzip member of its own, and an error file, which the operator reads while
    // it lands.
    let manifest = Shape { issues: [("error".to_owned(), 2)].into(), ..Shape::default() };
    place.fhir.script(Script::polls(0).made("Observation", 2, 9_000_000).manifest(manifest));
    let object = place.landed("run", json!({})).await;
    assert_eq!(condition(&object, "Complete").unwrap().1, "CompletedWithErrors");
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    let mut blobs = place.blobs(&object).await;
    let manifest: Value = serde_json::from_slice(&blobs.remove("manifest.json").unwrap()).unwrap();
    let expected = place.fhir.expected(&place.last_job().id);
    assert_eq!(blobs.len(), expected.len());
    let names = ["Observation-1.ndjson.gz", "Observation-2.ndjson.gz", "error/OperationOutcome-1.ndjson.gz"];
    for (name, file) in names.into_iter().zip(&expected) {
        let blob = blobs.get(name).unwrap_or_else(|| panic!("{name} in {:?}", blobs.keys()));
        assert!(blob.len() as u64 <= file.size, "{name}");
        let mut inside = Vec::new();
        flate2::read::MultiGzDecoder::new(blob.as_slice()).read_to_end(&mut inside).unwrap();
        assert_eq!(hex(&inside), file.sha256(), "{name}");
        if file.size > 8 << 20 {
            let mut first = Vec::new();
            flate2::read::GzDecoder::new(blob.as_slice()).read_to_end(&mut first).unwrap();
            let part = if place.site.bucket.is_some() { 8 << 20 } else { 4 << 20 };
            assert_eq!(first.len(), part, "a member for each part");
        }
    }
    assert_eq!(manifest["output"][0]["sha256"], expected[0].sha256(), "of what is inside");
    assert!(manifest["output"][0]["url"].as_str().unwrap().ends_with("Observation-1.ndjson.gz"));
    assert_eq!(output(&object).bytes, Some(18_000_000));
}

#[tokio::test]
async fn compressed_at_rest_goes_on_after_a_kill() {
    goes_on_after_a_kill(stored_so("restkill", json!({"compression": "Gzip"})).await).await;
}

#[tokio::test]
async fn compressed_on_a_volume_goes_on_after_a_kill() {
    goes_on_after_a_kill(on_a_volume("restkill-volume", json!({"compression": "Gzip"})).await).await;
}

#[tokio::test]
async fn compressed_in_s3_goes_on_after_a_kill() {
    goes_on_after_a_kill(in_s3("restkill-s3", json!({"compression": "Gzip"})).await).await;
}

async fn goes_on_after_a_kill(mut place: Place) {
    let slow = FileScript { gzip: false, trickle: Some(10_000_000), ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 1, 24_000_000).files(slow));
    place.export("run", json!({}), json!({})).await;
    place.until_sent(0, 14_000_000).await;
    place.site.kill_operator().await;
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    let mut inside = Vec::new();
    let blobs = place.blobs(&object).await;
    let blob = blobs["Observation-1.ndjson.gz"].as_slice();
    flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut inside).unwrap();
    let job = place.last_job();
    assert_eq!(hex(&inside), place.fhir.expected(&job.id)[0].sha256());
    assert_eq!((place.fhir.jobs().len(), job.files[0].whole, job.files[0].ranges), (1, 1, 1));
}

#[tokio::test]
async fn odd_bytes_land_as_they_are() {
    let place = stored_so("odd", json!({})).await;
    let odd =
        FileScript { crlf: true, byte_order_mark: true, no_final_newline: true, ..FileScript::default() };
    let (object, _) = place.lands(Script::polls(0).files(odd)).await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    let patients = place.blobs(&object).await.remove("Patient-1.ndjson").unwrap();
    assert!(patients.starts_with(b"\xEF\xBB\xBF{") && patients.ends_with(b"}"));
    assert!(patients.windows(3).any(|three| three == b"}\r\n"));
}

#[tokio::test]
async fn an_empty_file_lands_empty() {
    let place = stored_so("void", json!({})).await;
    let nothing = FileScript { faults: vec![Step::always(Fault::EmptyBody)], ..FileScript::default() };
    let manifest = Shape { count: bulk_fhir::Count::Absent, ..Shape::default() };
    place.fhir.script(Script::polls(0).made("Condition", 1, 1000).files(nothing).manifest(manifest));
    let object = place.landed("run", json!({})).await;
    assert_eq!(place.blobs(&object).await["Condition-1.ndjson"], b"");
    assert_eq!(output(&object).resources, Some(0));
}

#[tokio::test]
async fn the_log_has_the_events_that_loaders_read() {
    let place = stored_so("log", json!({"exportLog": true})).await;
    let manifest = Shape { deleted: vec!["Patient/gone".into()], page: Some(6), ..Shape::default() };
    place.fhir.script(Script::polls(1).manifest(manifest));
    let object = place.landed("run", json!({"types": ["Patient", "Condition"]})).await;
    let job = place.last_job();
    let log = String::from_utf8(place.blobs(&object).await.remove("log.ndjson").unwrap()).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| -> Vec<&Value> {
        lines.iter().filter(|l| l["eventId"] == event).map(|l| &l["eventDetail"]).collect()
    };
    for line in &lines {
        assert!(line["exportId"].is_string() && line["eventDetail"].is_object(), "{line}");
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    let kick_off = of("kickoff")[0];
    assert_eq!(kick_off["exportUrl"], format!("{}/$export", place.fhir.url()));
    assert_eq!(kick_off["requestParameters"], json!({"_type": "Patient,Condition"}));
    assert_eq!((&kick_off["fhirVersion"], &kick_off["logVersion"]), (&json!("4.0.1"), &json!("2")));
    let time = object.status.as_ref().unwrap().transaction_time.clone().unwrap();
    for event in ["status_complete", "status_page_complete", "manifest_complete"] {
        assert_eq!(of(event)[0]["transactionTime"], time, "{event}");
    }
    let files = job.files.len();
    assert_eq!(of("manifest_complete")[0]["totalOutputFileCount"], files - 1);
    assert_eq!(of("manifest_complete")[0]["totalDeletedFileCount"], 1);
    assert_eq!((of("download_request").len(), of("download_complete").len()), (files, files));
    assert_eq!(of("download_request")[files - 1]["itemType"], "deleted");
    for (event, file) in of("download_complete").into_iter().zip(place.fhir.expected(&job.id)) {
        assert_eq!((&event["resourceCount"], &event["fileSize"]), (&json!(file.lines), &json!(file.size)));
    }
    let complete = of("export_complete")[0];
    assert_eq!(complete["files"], files);
    assert_eq!(complete["resources"], output(&object).resources.unwrap());
    assert!(complete["duration"].is_u64() && complete["attachments"] == 0);
    let order: Vec<&str> = lines.iter().map(|l| l["eventId"].as_str().unwrap()).collect();
    assert_eq!((order[0], order[order.len() - 1]), ("kickoff", "export_complete"));
}

#[tokio::test]
async fn a_run_that_names_no_container_gets_one() {
    let place = stored_so("own", json!({})).await;
    let object = place.landed("own", json!({"container": null})).await;
    let uid = object.uid().unwrap();
    assert_eq!(output(&object).container, Some(format!("export-{uid}")));
    place.assert_same(&object, &place.last_job().id).await;
    let default = format!("{}-default", place.container());
    place.change_server(json!({"defaultContainer": default})).await;
    let object = place.landed("default", json!({"container": null})).await;
    assert_eq!(output(&object).container, Some(default));
    place.assert_same(&object, &place.last_job().id).await;
}

#[tokio::test]
async fn finished_jobs_are_kept_or_deleted_as_told() {
    for (ways, success, deletes) in
        [("Keep", true, 0), ("Delete", true, 1), ("Delete", false, 1), ("Auto", false, 0)]
    {
        let change = json!({"bulkData": {"finishedJobs": ways}});
        let place = Place::start("finished", Options::default(), change).await;
        let count = if success { bulk_fhir::Count::Right } else { bulk_fhir::Count::Wrong(1) };
        let manifest = Shape { count, ..Shape::default() };
        place.fhir.script(Script::polls(0).made("Condition", 1, 1000).manifest(manifest));
        place.export("run", json!({}), json!({})).await;
        place.site.ended("run").await;
        place.site.until("run", "let go", |o| o.finalizers().is_empty()).await;
        assert_eq!(place.last_job().cancel_requests, deletes, "{ways} {success}");
    }
}

#[tokio::test]
async fn a_strangers_blob_is_never_overwritten() {
    for (name, stranger) in [("full", b"{\"not\":\"ours\"}\n".as_slice()), ("empty", b"".as_slice())] {
        let mut place = stored_so("stranger", json!({})).await;
        let slow = FileScript { gzip: false, trickle: Some(1_000_000), ..FileScript::default() };
        place.fhir.script(Script::polls(0).made("Condition", 1, 6_000_000).files(slow));
        place.export("run", json!({}), json!({})).await;
        place.until_sent(0, 1).await;
        place.site.kill_operator().await;
        let uid = place.site.until("run", "there", |_| true).await;
        let intent = uid.status.as_ref().unwrap().job.as_ref().unwrap().intent_time;
        let folder = format!("{}-{}", intent.strftime("%Y%m%dT%H%M%S"), &uid.uid().unwrap()[..8]);
        let container = blobs::container(&shared().await.azurite, &place.container()).await.unwrap();
        blobs::put(&container, &format!("{folder}/Condition-1.ndjson"), stranger).await.unwrap();
        place.fhir.rescript_files(&place.last_job().id, |file| file.trickle = None);
        place.fhir.script(Script::polls(0).made("Condition", 1, 2_000));
        place.site.start_operator().await;
        let object = place.site.complete("run").await;
        let previous = &object.status.as_ref().unwrap().previous_jobs;
        assert_eq!(previous[0].reason, "SourceChanged", "{name}");
        assert_ne!(output(&object).folder.as_deref(), Some(folder.as_str()));
        place.assert_same(&object, &place.last_job().id).await;
        let theirs = blobs::read(&container, &format!("{folder}/Condition-1.ndjson")).await.unwrap();
        assert_eq!(theirs, stranger, "{name}");
    }
}
