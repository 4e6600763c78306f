//! The check of landed files: faults, claims that cannot be compared, and errors that the server itself reports.

use std::collections::BTreeMap;

use bulk_fhir::{Breaks, Count, Data, ExtensionForm, FileScript, Options, Quirks, Script, Shape};
use fhir_export_operator::api::{CheckResult, FhirExport};
use serde_json::json;

use crate::place::{Place, hex, output};
use crate::site::condition;

async fn open(name: &str) -> Place {
    Place::start(name, Options::default(), json!({})).await
}

/// Asserts that a run ends with `VerificationFailed`, keeps its data and stores no manifest.
async fn fails(place: &Place, script: Script, reason: &str, words: &str) -> FhirExport {
    place.fhir.script(script);
    place.export("run", json!({}), json!({})).await;
    let object = place.site.failed("run", "VerificationFailed").await;
    let verified = condition(&object, "Verified").unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), ("False", reason), "{}", verified.2);
    assert!(verified.2.contains(words), "{}", verified.2);
    assert!(condition(&object, "Failed").unwrap().2.contains(words));
    assert_eq!(place.fhir.jobs().len(), 1, "the same data again is no help");
    let blobs = place.blobs(&object).await;
    assert!(!blobs.contains_key("manifest.json"));
    assert_eq!(blobs.len(), place.last_job().files.len(), "the data stays");
    object
}

#[tokio::test]
async fn a_wrong_count_fails_the_run() {
    for by in [1, -1] {
        let place = open("count").await;
        let manifest = Shape { count: Count::Wrong(by), ..Shape::default() };
        let script = Script::polls(0).made("Observation", 2, 10_000).manifest(manifest);
        let wanted = format!("holds 10 lines, the server says {}", 10 + by);
        let object = fails(&place, script, "CountMismatch", &wanted).await;
        assert_eq!(output(&object).checks.unwrap().counts, CheckResult::Failed);
        assert!(place.last_job().files.iter().all(|file| file.whole == 2), "each was fetched once more");
    }
}

#[tokio::test]
async fn wrong_bytes_fail_the_run() {
    let place = open("bytes").await;
    let manifest = Shape { checksums: ExtensionForm::Array, ..Shape::default() };
    let files = FileScript { wrong_bytes: true, ..FileScript::default() };
    let script = Script::polls(0).made("Observation", 1, 3_000_000).manifest(manifest).files(files);
    let object = fails(&place, script, "ChecksumMismatch", "Observation-1.ndjson").await;
    let checks = output(&object).checks.unwrap();
    assert_eq!((checks.counts, checks.checksums), (CheckResult::Passed, CheckResult::Failed));
}

#[tokio::test]
async fn a_short_file_of_the_right_form_fails_the_run() {
    let place = open("short").await;
    let manifest = Shape { count: Count::Absent, file_size: true, ..Shape::default() };
    let files = FileScript { short: Some(Breaks { after: 5_000, times: None }), ..FileScript::default() };
    let script = Script::polls(0).made("Observation", 1, 10_000).manifest(manifest).files(files);
    fails(&place, script, "ChecksumMismatch", "(5000 instead of 10000)").await;
}

#[tokio::test]
async fn what_the_server_does_not_say_is_not_compared() {
    let place = open("unsaid").await;
    let manifest = Shape { count: Count::Absent, ..Shape::default() };
    let (object, _) = place.lands(Script::polls(0).manifest(manifest)).await;
    let verified = condition(&object, "Verified").unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), ("Unknown", "PartlyChecked"));
    let checks = output(&object).checks.unwrap();
    assert_eq!((checks.files, checks.counts), (CheckResult::Passed, CheckResult::Unknown));
}

#[tokio::test]
async fn error_files_decide_by_what_they_hold() {
    let place = open("errors").await;
    let script = |issues: &[(&str, u64)]| {
        let issues: BTreeMap<String, u64> = issues.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect();
        Script::polls(0).made("Condition", 1, 5_000).manifest(Shape { issues, ..Shape::default() })
    };
    place.fhir.script(script(&[("information", 4), ("warning", 2)]));
    let object = place.landed("harmless", json!({})).await;
    assert_eq!(condition(&object, "Complete").unwrap().1, "Exported");
    place.assert_same(&object, &place.last_job().id).await;

    place.fhir.script(script(&[("error", 3), ("information", 1)]));
    let object = place.landed("errors", json!({})).await;
    let (_, reason, message) = condition(&object, "Complete").unwrap();
    assert_eq!(reason, "CompletedWithErrors");
    let file = format!("read {}/error/OperationOutcome-1.ndjson", output(&object).folder.unwrap());
    assert!(message.contains(&format!("the server reports 3 errors: {file}")), "{message}");
    assert_eq!(output(&object).error_issues, Some(3));
    place.assert_same(&object, &place.last_job().id).await;

    place.fhir.script(script(&[("fatal", 1)]));
    place.export("strict", json!({}), json!({"errorFilePolicy": "Fail"})).await;
    let object = place.site.failed("strict", "ServerReportedErrors").await;
    place.assert_same(&object, &place.last_job().id).await;

    place.fhir.script(script(&[("warning", 1)]));
    place.export("lenient", json!({}), json!({"errorFilePolicy": "Fail"})).await;
    place.site.complete("lenient").await;
}

#[tokio::test]
async fn nothing_to_export_is_a_success() {
    let place = open("empty").await;
    let (object, _) = place.lands(Script { data: Data::Empty, ..Script::polls(0) }).await;
    let message = condition(&object, "Complete").unwrap().2;
    assert!(message.starts_with("no resources matched"), "{message}");
    assert_eq!((output(&object).files, output(&object).resources), (Some(0), Some(0)));
    // A type that the server has no resources of is not missing.
    let object = place.landed("type", json!({"types": ["Patient", "Basic"]})).await;
    assert_eq!(output(&object).checks.unwrap().requested_types, CheckResult::Passed);
    place.assert_same(&object, &place.last_job().id).await;
}

#[tokio::test]
async fn types_that_cannot_be_counted_stay_unknown() {
    let quirks = Quirks { counts_forbidden: true, ..Quirks::default() };
    let place = Place::start("uncounted", Options { quirks, ..Options::default() }, json!({})).await;
    let object = place.landed("run", json!({"types": ["Patient", "Basic"]})).await;
    assert_eq!(output(&object).checks.unwrap().requested_types, CheckResult::Unknown);
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
}

#[tokio::test]
async fn the_manifest_in_the_container_is_the_one_in_the_status() {
    let place = open("manifest").await;
    let (object, _) = place.lands(Script::polls(0)).await;
    let stored = output(&object).manifest.unwrap();
    let blobs = place.blobs(&object).await;
    assert_eq!(stored.sha256, hex(&blobs["manifest.json"]));
    assert!(stored.path.ends_with("/manifest.json"));
}
