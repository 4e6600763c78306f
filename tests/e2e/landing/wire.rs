//! All forms of a server's answers between the kick-off and the last page of the manifest.

use std::collections::BTreeMap;

use bulk_fhir::{
    Ending, ExtensionForm, KickOffAnswer, Life, List, Options, Progress, Quirks, RetryAfter, Running, Script,
    SeparateStatus, Shape, Step, Version, outcome, throttled, unavailable,
};
use fhir_export_operator::api::CheckResult;
use serde_json::{Value, json};

use crate::place::{Place, output};
use crate::site::condition;

async fn of_version(name: &str, version: Version, quirks: Quirks) -> Place {
    Place::start(name, Options { version, quirks, ..Options::default() }, json!({})).await
}

#[tokio::test]
async fn relative_urls_are_read_where_they_stand() {
    let place = Place::start("relative", Options::default(), json!({})).await;
    let manifest = Shape { relative_urls: true, page: Some(3), ..Shape::default() };
    let script = Script { kick_off: KickOffAnswer::Relative, ..Script::polls(1).manifest(manifest) };
    let (object, job) = place.lands(script).await;
    assert_eq!(object.status.unwrap().job.unwrap().status_url.as_deref(), Some(job.status_url.as_str()));
}

#[tokio::test]
async fn an_accepted_kick_off_without_a_status_url_is_not_repeated() {
    let place = Place::start("nourl", Options::default(), json!({})).await;
    place.fhir.script(Script { kick_off: KickOffAnswer::NoContentLocation, ..Script::polls(1) });
    place.export("run", json!({}), json!({})).await;
    place.site.failed("run", "NoStatusURL").await;
    assert_eq!(place.fhir.jobs().len(), 1);
}

#[tokio::test]
async fn absurd_waits_are_clamped() {
    let place = Place::start("absurd", Options::default(), json!({})).await;
    for (number, retry_after) in [
        RetryAfter::EpochSeconds(60),
        RetryAfter::EpochMillis(60),
        RetryAfter::Seconds(u64::MAX),
        RetryAfter::Date(86_400),
        RetryAfter::Text("soon".into()),
        RetryAfter::Text("-5".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let progress = Some(Progress { texts: vec!["half".into()], retry_after });
        place.fhir.script(Script { progress, ..Script::polls(1) }.made("Condition", 1, 1000));
        place.landed(&format!("run-{number}"), json!({})).await;
        assert_eq!(place.last_job().polls, 2);
    }
}

#[tokio::test]
async fn bodies_of_a_running_job_are_no_manifest() {
    let place = of_version("bodies", Version::Stu3, Quirks::default()).await;
    for (name, running) in [("parameters", Running::Parameters), ("partial", Running::PartialManifest)] {
        place.fhir.script(Script {
            running,
            ..Script::polls(2).manifest(Shape { page: Some(4), ..Shape::default() })
        });
        let object = place.landed(name, json!({"bulkData": {"allowPartialManifests": true}})).await;
        let job = place.last_job();
        assert!(job.asked.allow_partial_manifests);
        place.assert_same(&object, &job.id).await;
    }
}

#[tokio::test]
async fn passing_failures_of_the_status_are_survived() {
    let place = Place::start("passing", Options::default(), json!({})).await;
    let status_faults = vec![
        Step::times(1, outcome(500, "transient")),
        Step::times(1, outcome(400, "lock-error")),
        Step::times(1, throttled(&RetryAfter::Seconds(1))),
        Step::times(1, throttled(&RetryAfter::EpochMillis(1))),
        Step::times(1, unavailable(&RetryAfter::Date(1))),
        Step::times(1, outcome(503, "timeout")),
    ];
    let (object, job) = place.lands(Script { status_faults, ..Script::polls(1) }).await;
    assert_eq!((object.status.unwrap().attempts, job.polls), (Some(1), 2));
}

#[tokio::test]
async fn the_separate_status_is_understood_in_both_forms() {
    for form in [SeparateStatus::List, SeparateStatus::Repeated] {
        let quirks = Quirks { separate_status: form, ..Quirks::default() };
        let place = of_version("separate", Version::Stu3, quirks).await;
        // The status is that of the request, not of the job: the job continues.
        let status_faults = vec![Step::times(2, outcome(500, "processing"))];
        let manifest = Shape { page: Some(5), page_pending: 1, ..Shape::default() };
        let script = Script { status_faults, ..Script::polls(2).manifest(manifest) };
        let (object, job) = place.lands(script).await;
        assert!(job.asked.separate_status, "{form:?}");
        assert_eq!(object.status.unwrap().attempts, Some(1));
        place.fhir.script(Script::fails(422, "processing", "The disk is full."));
        place.export("failed", json!({}), json!({})).await;
        let object = place.site.failed("failed", "ExportFailed").await;
        assert!(condition(&object, "Failed").unwrap().2.contains("The disk is full"));
    }
}

#[tokio::test]
async fn a_failed_job_is_tried_again_if_that_may_help() {
    let place = Place::start("failed", Options::default(), json!({})).await;
    place.fhir.script(Script::fails(500, "processing", "The index is gone."));
    let object = place.landed("again", json!({})).await;
    let status = object.status.as_ref().unwrap();
    assert_eq!((status.attempts, status.previous_jobs.len()), (Some(2), 1));
    place.assert_same(&object, &place.last_job().id).await;
    place.fhir.script(Script::fails(400, "invalid", "No such thing."));
    place.export("once", json!({}), json!({})).await;
    place.site.failed("once", "ExportFailed").await;
    let page = Ending::Failed { status: 418, outcome: None };
    place.fhir.script(Script { ending: page, life: Life::Polls(0), ..Script::default() });
    place.export("page", json!({}), json!({})).await;
    place.site.failed("page", "StatusRefused").await;
}

#[tokio::test]
async fn all_pages_of_a_manifest_land() {
    let place = Place::start("pages", Options::default(), json!({})).await;
    let issues = BTreeMap::from([("information".to_owned(), 2)]);
    let deleted = vec!["Patient/gone".to_owned()];
    let manifest = Shape {
        page: Some(2),
        page_pending: 1,
        issues,
        deleted,
        unknown_members: true,
        message: Some("All is well.".into()),
        ..Shape::default()
    };
    let (object, job) = place.lands(Script::polls(0).manifest(manifest)).await;
    assert!(job.files.len() > 6);
    let (deleted, errors) = (output(&object).deleted_files, output(&object).error_files);
    assert_eq!((deleted, errors), (Some(1), Some(1)));
    let blobs = place.blobs(&object).await;
    assert!(
        blobs.contains_key("deleted/Bundle-1.ndjson")
            && blobs.contains_key("error/OperationOutcome-1.ndjson")
    );
}

#[tokio::test]
async fn a_manifest_that_goes_round_in_circles_ends_the_run() {
    let place = Place::start("circles", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(0).manifest(Shape { page: Some(4), cyclic: true, ..Shape::default() }));
    place.export("run", json!({}), json!({})).await;
    let object = place.site.failed("run", "InvalidManifest").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("whose links form a loop"), "{message}");
}

#[tokio::test]
async fn version_4_says_outcome_and_has_its_own_forms() {
    let place = of_version("four", Version::Stu4, Quirks::default()).await;
    let issues = BTreeMap::from([("warning".to_owned(), 3)]);
    let manifest = Shape { issues, checksums: ExtensionForm::Array, ..Shape::default() };
    let (object, job) = place.lands(Script::polls(1).manifest(manifest)).await;
    assert_eq!(job.method, "POST");
    assert!(job.files.iter().any(|file| file.list == List::Error));
    let output = output(&object);
    assert_eq!((output.error_files, output.error_issues), (Some(1), None));
    assert_eq!(output.checks.unwrap().checksums, CheckResult::Passed);
}

#[tokio::test]
async fn checksums_are_read_from_objects_and_arrays() {
    let place = Place::start("sums", Options::default(), json!({})).await;
    for (name, checksums) in [("object", ExtensionForm::Object), ("array", ExtensionForm::Array)] {
        place.fhir.script(Script::polls(0).manifest(Shape {
            checksums,
            extension: checksums,
            ..Shape::default()
        }));
        let object = place.landed(name, json!({})).await;
        let checks = output(&object).checks.unwrap();
        assert_eq!((checks.counts, checks.checksums), (CheckResult::Passed, CheckResult::Passed), "{name}");
    }
}

#[tokio::test]
async fn organized_output_lands_mixed() {
    let place = of_version("mixed", Version::Stu3, Quirks::default()).await;
    let data = bulk_fhir::Data::Patients { lines_per_file: 100 };
    place.fhir.script(Script { data, ..Script::polls(0) });
    let request = json!({"level": "Patient", "bulkData": {"organizeOutputBy": "Patient"}});
    let object = place.landed("run", request).await;
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    let blobs = place.blobs(&object).await;
    assert!(job.files.len() > 3 && blobs.contains_key(&format!("Mixed-{}.ndjson", job.files.len())));
    let manifest: Value = serde_json::from_slice(&blobs["manifest.json"]).unwrap();
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    let entries = manifest["output"].as_array().unwrap();
    let next = entries.windows(2).filter(|pair| pair[0]["continuesInFile"] == pair[1]["url"]).count();
    assert!(next > 0 && entries.iter().all(|entry| entry.get("type").is_none()), "{manifest}");
}
