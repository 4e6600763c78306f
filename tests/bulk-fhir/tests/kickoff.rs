//! What each version of the guide takes and refuses at the kick-off.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use bulk_fhir::{KickOffAnswer, Options, Quirks, Script, Server, Version, throttled};
use common::{client, get, headers, issue, kick_off, location, manifest, post, server, started};
use serde_json::{Value, json};

fn types(manifest: &Value) -> Vec<&str> {
    let mut types: Vec<&str> =
        manifest["output"].as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    types.dedup();
    types
}

#[tokio::test]
async fn each_version_has_its_methods() {
    for (version, with_get, with_post) in [
        (Version::Stu1, 202, 405),
        (Version::Stu2, 202, 202),
        (Version::Stu3, 202, 202),
        (Version::Stu4, 405, 202),
    ] {
        let server = server(version).await;
        for path in ["/$export", "/Patient/$export", "/Group/cohort-42/$export"] {
            assert_eq!(kick_off(&server, path).await.status(), with_get, "{version:?}");
            assert_eq!(post(&server, path, json!([])).await.status(), with_post, "{version:?}");
        }
    }
}

#[tokio::test]
async fn lists_with_commas_end_with_version_4() {
    let list = json!([{ "name": "_type", "valueString": "Patient,Encounter" }]);
    let repeated = json!([{ "name": "_type", "valueString": "Patient" }, { "name": "_type", "valueString": "Encounter" }]);
    for version in [Version::Stu2, Version::Stu3] {
        let server = server(version).await;
        for parameters in [&list, &repeated] {
            let manifest = manifest(&location(post(&server, "/$export", parameters.clone()).await)).await;
            assert_eq!(types(&manifest), ["Encounter", "Patient"]);
        }
    }
    let server = server(Version::Stu4).await;
    assert_eq!(issue(post(&server, "/$export", list).await).await, (400, "invalid".into()));
    let manifest = manifest(&location(post(&server, "/$export", repeated).await)).await;
    assert_eq!(types(&manifest), ["Encounter", "Patient"]);
}

#[tokio::test]
async fn every_parameter_has_its_value() {
    let server = server(Version::Stu4).await;
    let patient = server.patients().ids("Patient").remove(0);
    let right = json!([
        { "name": "_outputFormat", "valueString": "ndjson" },
        { "name": "_since", "valueInstant": "2020-01-01T00:00:00Z" },
        { "name": "_until", "valueInstant": "2027-01-01T00:00:00Z" },
        { "name": "_type", "valueString": "Patient" },
        { "name": "_typeFilter", "valueString": "Patient?gender=male,female" },
        { "name": "_elements", "valueString": "Patient.gender" },
        { "name": "patient", "valueReference": { "reference": format!("Patient/{patient}") } },
        { "name": "includeAssociatedData", "valueCoding": { "code": "LatestProvenanceResources" } },
        { "name": "allowPartialManifests", "valueBoolean": true },
    ]);
    let manifest = manifest(&location(post(&server, "/Patient/$export", right).await)).await;
    assert_eq!(manifest["output"][0]["count"], 1);
    let text = get(&common::url(&manifest, 0)).await.text().await.unwrap();
    let resource: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(resource["id"], patient.as_str());
    assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(resource["gender"].is_string() && resource.get("name").is_none());
    let asked = &server.jobs()[0].asked;
    assert!(asked.allow_partial_manifests && asked.until.is_some());
    assert_eq!(asked.type_filters, ["Patient?gender=male,female"]);
    for wrong in [
        json!([{ "name": "_since", "valueString": "2020-01-01T00:00:00Z" }]),
        json!([{ "name": "_since", "valueInstant": "2020-01-01" }]),
        json!([{ "name": "patient", "valueReference": { "reference": "Patient/nobody" } }]),
        json!([{ "name": "includeAssociatedData", "valueCode": "LatestProvenanceResources" }]),
        json!([{ "name": "_typeFilter", "valueString": "Patient?_sort=birthdate" }]),
        json!([{ "name": "unheardOf", "valueString": "x" }]),
    ] {
        assert_eq!(post(&server, "/Patient/$export", wrong).await.status(), 400);
    }
}

#[tokio::test]
async fn what_a_lenient_server_ignores_is_in_the_errors() {
    let server = server(Version::Stu2).await;
    let path = format!("{}/$export?_until=2026-01-01T00:00:00Z&made=up&_type=Patient", server.url());
    assert_eq!(headers(client().get(&path)).send().await.unwrap().status(), 400);
    let request = client()
        .get(&path)
        .header("Accept", "application/fhir+json")
        .header("Prefer", "respond-async, handling=lenient");
    let manifest = manifest(&location(request.send().await.unwrap())).await;
    assert_eq!(manifest["error"][0]["count"], 2);
    let text = get(manifest["error"][0]["url"].as_str().unwrap()).await.text().await.unwrap();
    assert!(text.contains("_until") && text.contains("made"));
}

#[tokio::test]
async fn repeats_are_lost_or_refused_where_the_server_is_so() {
    let quirks = |quirks| Options { quirks, ..Options::default() };
    let path = "/$export?_type=Patient&_type=Encounter";
    let hapi = Server::start(quirks(Quirks { comma_only: true, ..Quirks::default() })).await.unwrap();
    assert_eq!(types(&manifest(&started(&hapi, path).await).await), ["Patient"]);
    let list = "/$export?_type=Patient,Encounter";
    assert_eq!(types(&manifest(&started(&hapi, list).await).await), ["Encounter", "Patient"]);
    let oracle = Server::start(quirks(Quirks { repeat_rejected: true, ..Quirks::default() })).await.unwrap();
    assert_eq!(kick_off(&oracle, path).await.status(), 400);
}

#[tokio::test]
async fn one_job_a_group_where_the_server_is_so() {
    let quirks = Quirks { one_job_per_group: Some(7), ..Quirks::default() };
    let server = Server::start(Options { quirks, ..Options::default() }).await.unwrap();
    let first = started(&server, "/Group/all/$export").await;
    let second = kick_off(&server, "/Group/all/$export").await;
    assert_eq!((second.status().as_u16(), &second.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(kick_off(&server, "/Group/cohort-42/$export").await.status(), 202);
    assert_eq!(client().delete(&first).send().await.unwrap().status(), 202);
    assert_eq!(kick_off(&server, "/Group/all/$export").await.status(), 202);
}

#[tokio::test]
async fn the_answer_can_be_wrong_or_lost() {
    let server = server(Version::Stu2).await;
    let answer = |kick_off| Script { kick_off, ..Script::default() };
    server.script(answer(KickOffAnswer::Relative));
    assert!(started(&server, "/$export").await.starts_with("/fhir/bulk-status/"));
    server.script(answer(KickOffAnswer::ForeignHost));
    assert!(started(&server, "/$export").await.starts_with(&server.foreign_url()));
    server.script(answer(KickOffAnswer::NoContentLocation));
    assert!(kick_off(&server, "/$export").await.headers().get("content-location").is_none());
    server.script(Script::loses_answer());
    let lost = headers(client().get(format!("{}/$export", server.url()))).send().await;
    assert!(lost.is_err());
    assert_eq!(server.jobs().len(), 4);
    server.script(Script::refuses(throttled(&bulk_fhir::RetryAfter::Seconds(3))));
    assert_eq!(kick_off(&server, "/$export").await.status(), 429);
    assert_eq!(server.jobs().len(), 4);
    assert_eq!(server.requests().iter().filter(|request| request.is_kick_off()).count(), 5);
}

#[tokio::test]
async fn metadata_names_software_and_guide() {
    let options =
        Options { version: Version::Stu4, software: bulk_fhir::Software::Hapi, ..Options::default() };
    let server = Server::start(options).await.unwrap();
    let body: Value = get(&format!("{}/metadata", server.url())).await.json().await.unwrap();
    assert_eq!(body["software"]["name"], "HAPI FHIR Server");
    assert_eq!(body["rest"][0]["operation"][0]["name"], "export-v4");
    assert!(body["instantiates"][0].as_str().unwrap().ends_with("/bulk-data|4.0.0-ballot"));
    let count = get(&format!("{}/Patient?_summary=count", server.url())).await;
    let count: Value = count.json().await.unwrap();
    assert_eq!(count["total"], server.patients().ids("Patient").len());
}
