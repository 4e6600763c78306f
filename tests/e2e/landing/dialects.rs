//! Servers that deviate from the specification, and what the operator detects about them.

use std::collections::BTreeMap;

use bulk_fhir::{
    Cancel, FileScript, Life, On, Options, Quirks, RequestFault, Script, Shape, Software, Version, throttled,
};
use fhir_export_operator::api::{CheckResult, FhirServer};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::place::{Place, output};
use crate::site::condition;

async fn with(name: &str, software: Software, version: Version, quirks: Quirks, change: Value) -> Place {
    Place::start(name, Options { software, version, quirks, ..Options::default() }, change).await
}

async fn resolved(place: &Place) -> Value {
    let api: Api<FhirServer> = place.site.api();
    let status = api.get("clinic").await.unwrap().status.unwrap();
    serde_json::to_value(status.resolved.unwrap()).unwrap()
}

#[tokio::test]
async fn types_that_a_server_drops_in_silence_are_missed() {
    let quirks = Quirks { comma_only: true, ..Quirks::default() };
    let change = json!({"bulkData": {"listStyle": "Repeat"}});
    let place = with("dropped", Software::Generic, Version::Stu2, quirks, change).await;
    place.export("run", json!({"types": ["Patient", "Condition"]}), json!({})).await;
    let object = place.site.failed("run", "VerificationFailed").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "TypesMissing");
    assert_eq!(output(&object).checks.unwrap().requested_types, CheckResult::Failed);
    assert_eq!(resolved(&place).await["listStyle"], "Repeat");
    assert!(place.blobs(&object).await.contains_key("Patient-1.ndjson"));
}

#[tokio::test]
async fn servers_are_known_by_their_names() {
    let hapi = Quirks { comma_only: true, ignores_unknown: true, ..Quirks::default() };
    let oracle = Quirks { repeat_rejected: true, ..Quirks::default() };
    for (software, version, quirks, style) in [
        (Software::Hapi, Version::Stu3, hapi, "Comma"),
        (Software::Cerner, Version::Stu3, oracle, "Comma"),
        (Software::Generic, Version::Stu3, Quirks::default(), "Repeat"),
    ] {
        let place = with("known", software.clone(), version, quirks, json!({})).await;
        let object = place.landed("run", json!({"types": ["Patient", "Condition"]})).await;
        let job = place.last_job();
        assert_eq!(job.asked.types, ["Patient", "Condition"], "{software:?}");
        place.assert_same(&object, &job.id).await;
        let wanted = json!({"kickOffMethod": "Get", "listStyle": style, "version": "STU3"});
        assert_eq!(resolved(&place).await, wanted);
        place.site.until("run", "let go", |o| o.finalizers().is_empty()).await;
        let told = usize::from(software != Software::Hapi);
        assert_eq!(place.last_job().cancel_requests as usize, told, "HAPI keeps its jobs: {software:?}");
    }
}

#[tokio::test]
async fn one_export_at_a_time_is_waited_for() {
    let quirks = Quirks { one_job_per_group: Some(1), ..Quirks::default() };
    let place = with("epic", Software::Epic, Version::Stu2, quirks, json!({})).await;
    place.fhir.script(Script { life: Life::Stuck, ..Script::default() });
    place.export("first", json!({}), json!({})).await;
    place.site.until_condition("first", "Reconciling", "False", "KickedOff").await;
    place.export("second", json!({}), json!({})).await;
    place.site.until_condition("second", "ServerReachable", "False", "Throttled").await;
    let first = place.last_job();
    place.fhir.rescript(&first.id, |script| script.life = Life::Polls(1));
    place.site.complete("first").await;
    let object = place.site.complete("second").await;
    assert_eq!(object.status.unwrap().attempts, Some(1));
    assert_eq!(place.fhir.jobs().len(), 2);
    assert!(place.fhir.job(&first.id).unwrap().cancelled_at.is_some(), "only then is the next one let in");
}

#[tokio::test]
async fn epic_has_no_since() {
    let place = with("since", Software::Epic, Version::Stu2, Quirks::default(), json!({})).await;
    place.export("run", json!({"since": "2026-01-01T00:00:00Z"}), json!({})).await;
    place.site.failed("run", "UnsupportedByServer").await;
    assert!(place.fhir.jobs().is_empty());
}

#[tokio::test]
async fn what_a_lenient_server_left_out_is_told() {
    let quirks = Quirks { unsupported: vec!["_elements".into()], ..Quirks::default() };
    let place = with("lenient", Software::Generic, Version::Stu2, quirks, json!({})).await;
    let elements = json!({"bulkData": {"elements": ["Patient.id"]}});
    place.export("strict", elements.clone(), json!({})).await;
    place.site.failed("strict", "KickOffRejected").await;
    let mut lenient = elements;
    lenient["handling"] = json!("Lenient");
    let object = place.landed("lenient", lenient).await;
    let (_, reason, message) = condition(&object, "Complete").unwrap();
    assert_eq!(reason, "Exported");
    assert!(message.contains("The parameter _elements is not supported and was ignored"), "{message}");
    assert_eq!(place.last_job().asked.ignored, ["_elements"]);
    place.assert_same(&object, &place.last_job().id).await;
}

#[tokio::test]
async fn every_field_arrives_as_the_server_reads_it() {
    for (version, method) in [(Version::Stu3, "GET"), (Version::Stu3, "POST"), (Version::Stu4, "POST")] {
        let by = if method == "GET" { "Get" } else { "Post" };
        let change = json!({"bulkData": {"kickOffMethod": by}});
        let quirks = Quirks { ignores_unknown: true, ..Quirks::default() };
        let place = with("fields", Software::Generic, version, quirks, change).await;
        let request = json!({
            "level": "Patient", "types": ["Patient", "Observation"], "outputFormat": "ndjson",
            "typeFilters": ["Patient?gender=male,female", "Observation?status=final&category=laboratory"],
            "since": "2020-01-01T00:00:00+02:00", "until": "2027-01-01T00:00:00.123Z",
            "includeAssociatedData": ["LatestProvenanceResources", "_custom"],
            "bulkData": {"elements": ["Patient.gender", "status"], "organizeOutputBy": "Patient",
                "allowPartialManifests": true},
            "parameters": [{"name": "_vendor", "value": "a b&c=ü+%"}],
        });
        let object = place.landed("run", request).await;
        let job = place.last_job();
        let asked = &job.asked;
        assert_eq!(job.method, method);
        assert_eq!(asked.types, ["Patient", "Observation"]);
        let filters = ["Patient?gender=male,female", "Observation?status=final&category=laboratory"];
        assert_eq!(asked.type_filters, filters);
        let pair = |name: &str| asked.pairs.iter().find(|p| p.0 == name).map(|p| p.1.as_str());
        assert_eq!(pair("_since"), Some("2020-01-01T00:00:00+02:00"), "kept as it was written");
        assert_eq!(pair("_until"), Some("2027-01-01T00:00:00.123Z"));
        assert_eq!(pair("_vendor"), Some("a b&c=ü+%"));
        assert_eq!(asked.associated_data, ["LatestProvenanceResources", "_custom"]);
        assert_eq!(asked.elements, ["Patient.gender", "status"]);
        assert_eq!(
            (asked.organize_by.as_deref(), asked.output_format.as_deref()),
            (Some("Patient"), Some("ndjson"))
        );
        assert!(asked.allow_partial_manifests && !asked.lenient);
        place.assert_same(&object, &job.id).await;
    }
}

#[tokio::test]
async fn filters_with_commas_survive_both_escapes() {
    for escape in ["Percent", "Backslash"] {
        let change = json!({"bulkData": {"typeFilterEscape": escape}});
        let place = with("escape", Software::Generic, Version::Stu2, Quirks::default(), change).await;
        let filters = json!(["Patient?gender=male,female", "Observation?status=final"]);
        place.landed("run", json!({"types": ["Patient", "Observation"], "typeFilters": filters})).await;
        assert_eq!(json!(place.last_job().asked.type_filters), filters, "{escape}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_told_and_then_decided() {
    let place = Place::start("lost", Options::default(), json!({})).await;
    place.fhir.script(Script::loses_answer());
    let object = place.landed("retry", json!({})).await;
    let status = object.status.as_ref().unwrap();
    assert_eq!((status.attempts, status.unsettled_jobs.len()), (Some(2), 1));
    assert_eq!(place.fhir.jobs().len(), 2);
    assert!(place.site.events("retry").await.iter().any(|(reason, _)| reason == "KickOffUncertain"));
    place.fhir.script(Script::loses_answer());
    place.export("fail", json!({}), json!({"onUncertainKickOff": "Fail"})).await;
    place.site.failed("fail", "KickOffUncertain").await;
    assert_eq!(place.fhir.jobs().len(), 3);
}

#[tokio::test]
async fn a_server_without_delete_does_not_hold_the_run() {
    let place = Place::start("nodelete", Options::default(), json!({})).await;
    for status in [404, 405, 200, 204] {
        let cancel = Cancel { running: status, finished: status, ..Cancel::default() };
        place.fhir.script(Script { cancel, ..Script::polls(0) }.made("Condition", 1, 1000));
        let name = format!("run-{status}");
        place.landed(&name, json!({})).await;
        place.site.until(&name, "let go", |o| o.finalizers().is_empty()).await;
        assert_eq!(place.last_job().cancel_requests, 1, "{status}");
        assert!(!place.site.events(&name).await.iter().any(|(reason, _)| reason == "CleanUpFailed"));
    }
}

#[tokio::test]
async fn a_throttled_kick_off_and_page_wait() {
    let place = Place::start("throttled", Options::default(), json!({})).await;
    let busy = || throttled(&bulk_fhir::RetryAfter::EpochSeconds(5));
    place.fhir.fault(RequestFault::next(On::KickOff, 1, busy()));
    place.fhir.fault(RequestFault::next(On::Page, 1, busy()));
    let issues = BTreeMap::from([("information".to_owned(), 1)]);
    let (object, job) =
        place.lands(Script::polls(0).manifest(Shape { page: Some(8), issues, ..Shape::default() })).await;
    assert_eq!((object.status.unwrap().attempts, job.polls), (Some(1), 1));
}

/// The specification asks for `application/fhir+ndjson`, but servers send many content types.
#[tokio::test]
async fn files_land_whatever_content_type_they_have() {
    let place = Place::start("media", Options::default(), json!({})).await;
    for (nth, content_type) in [
        "application/ndjson",
        "application/x-ndjson; charset=utf-8",
        "application/octet-stream",
        "text/plain",
    ]
    .into_iter()
    .enumerate()
    {
        let files = FileScript { content_type: content_type.into(), ..FileScript::default() };
        place.fhir.script(Script::polls(1).made("Condition", 2, 3000).files(files));
        let object = place.landed(&format!("run-{nth}"), json!({})).await;
        assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch", "{content_type}");
        place.assert_same(&object, &place.last_job().id).await;
    }
}
