//! The forms of manifests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;

use bulk_fhir::{
    Count, Data, ExtensionForm, FileScript, Life, Options, Running, Script, SeparateStatus, Server, Shape,
    Version,
};
use common::{client, get, location, manifest, post, run, server, started, url};
use serde_json::{Value, json};

fn shaped(manifest: Shape) -> Script {
    Script::polls(0).manifest(manifest)
}

#[tokio::test]
async fn each_version_has_its_members() {
    let shape = || Shape {
        issues: BTreeMap::from([("error".into(), 2), ("information".into(), 1)]),
        deleted: vec!["Patient/1".into()],
        ..Shape::default()
    };
    for version in [Version::Stu1, Version::Stu2, Version::Stu3] {
        let server = server(version).await;
        let (_, manifest) = run(&server, shaped(shape())).await;
        assert_eq!(manifest["request"], format!("{}/$export", server.url()));
        assert_eq!(manifest["error"][0]["count"], 3);
        assert_eq!(manifest.get("deleted").is_some(), version >= Version::Stu2);
        assert!(manifest["output"][0].get("fileSize").is_none());
    }
    let server = server(Version::Stu4).await;
    server.script(shaped(shape()));
    let manifest = manifest(&location(post(&server, "/$export", json!([])).await)).await;
    assert!(manifest.get("request").is_none() && manifest.get("error").is_none());
    let severities = json!([{ "code": "error", "count": 2 }, { "code": "information", "count": 1 }]);
    assert_eq!(manifest["outcome"][0]["countSeverity"], severities);
    let bytes = get(&url(&manifest, 0)).await.bytes().await.unwrap();
    assert_eq!(manifest["output"][0]["fileSize"], bytes.len());
    let bundle: Value = get(manifest["deleted"][0]["url"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(bundle["entry"][0]["request"]["url"], "Patient/1");
}

#[tokio::test]
async fn pages_are_linked_and_may_go_in_circles() {
    let server = server(Version::Stu3).await;
    let shape = Shape { page: Some(2), page_pending: 1, cyclic: true, ..Shape::default() };
    let (id, first) = run(&server, shaped(shape).made("Patient", 5, 2000)).await;
    let mut urls = vec![url(&first, 0), url(&first, 1)];
    let mut next = first["link"][0]["url"].as_str().unwrap().to_owned();
    for entries in [2, 1, 2] {
        assert_eq!(get(&next).await.status(), 202);
        let page: Value = get(&next).await.json().await.unwrap();
        assert_eq!(page["transactionTime"], first["transactionTime"]);
        assert_eq!(page["output"].as_array().unwrap().len(), entries);
        urls.push(url(&page, 0));
        next = page["link"][0]["url"].as_str().unwrap().to_owned();
    }
    assert_eq!(urls[0], urls[4], "the last page links to the first");
    assert_eq!(server.job(&id).unwrap().polls, 1, "pages are no polls");
}

#[tokio::test]
async fn a_partial_manifest_comes_with_202_if_it_was_allowed() {
    let server = server(Version::Stu3).await;
    let script = || Script {
        life: Life::Polls(1),
        running: Running::PartialManifest,
        manifest: Shape { page: Some(1), ..Shape::default() },
        ..Script::default()
    };
    server.script(script());
    let allowed = started(&server, "/$export?allowPartialManifests=true").await;
    let partial = get(&allowed).await;
    assert_eq!(partial.status(), 202);
    let partial: Value = partial.json().await.unwrap();
    assert!(partial.get("link").is_none());
    let last = manifest(&allowed).await;
    assert_eq!(
        (&partial["output"], &partial["transactionTime"]),
        (&last["output"], &last["transactionTime"])
    );
    assert!(last.get("link").is_some());
    server.script(script());
    let response = get(&started(&server, "/$export").await).await;
    assert!(response.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_manifest_can_be_odd() {
    let server = server(Version::Stu2).await;
    let odd = Shape {
        count: Count::Wrong(5),
        checksums: ExtensionForm::Array,
        extension: ExtensionForm::Object,
        relative_urls: true,
        expires_seconds: Some(60),
        message: Some("odd".into()),
        transaction_time: Some("yesterday".into()),
        ..Shape::default()
    };
    let (id, manifest) = run(&server, shaped(odd).made("Patient", 1, 5000)).await;
    let expected = &server.expected(&id)[0];
    let entry = &manifest["output"][0];
    assert_eq!(entry["url"], format!("/bulk-files/{id}/output/0"));
    assert_eq!(entry["count"], expected.lines + 5);
    let extension = &entry["extension"];
    assert_eq!(extension[0]["valueString"], format!("sha256:{}", expected.sha256()));
    assert_eq!(extension[1]["valueDecimal"], expected.size);
    assert!(manifest["extension"].is_object());
    assert_eq!((&manifest["message"], &manifest["transactionTime"]), (&json!("odd"), &json!("yesterday")));
    let again = get(&server.jobs()[0].status_url).await;
    assert!(again.headers()["expires"].to_str().unwrap().ends_with("GMT"));
    let (_, empty) = run(&server, Script { data: Data::Empty, ..Script::polls(0) }).await;
    assert_eq!(empty["output"], json!([]));
}

#[tokio::test]
async fn output_organized_by_patient_repeats_the_header_in_the_next_file() {
    let server = server(Version::Stu3).await;
    server.script(Script { data: Data::Patients { lines_per_file: 20 }, ..Script::polls(0) });
    let manifest = manifest(&started(&server, "/Patient/$export?organizeOutputBy=Patient").await).await;
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    let output = manifest["output"].as_array().unwrap();
    let place = output.iter().position(|entry| entry.get("continuesInFile").is_some()).unwrap();
    assert_eq!(output[place]["continuesInFile"], output[place + 1]["url"]);
    assert!(output[place].get("type").is_none());
    let text = get(&url(&manifest, place + 1)).await.text().await.unwrap();
    assert!(text.starts_with("{\"parameter\"") || text.starts_with("{\"resourceType\":\"Parameters\""));
}

#[tokio::test]
async fn since_is_exclusive_and_brings_what_was_deleted() {
    let server = server(Version::Stu2).await;
    let later = "2026-02-01T00:00:00Z".parse().unwrap();
    let id = server.patients().ids("Patient").remove(0);
    server.patients().delete("Patient", &id, later);
    let manifest = manifest(&started(&server, &format!("/$export?_since={}", bulk_fhir::LOADED)).await).await;
    assert_eq!(manifest["output"], json!([]));
    let bundle: Value = get(manifest["deleted"][0]["url"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(bundle["entry"][0]["request"]["url"], format!("Patient/{id}"));
}

#[tokio::test]
async fn the_separate_status_leaves_the_http_status_to_the_poll() {
    let quirks = bulk_fhir::Quirks { separate_status: SeparateStatus::Repeated, ..Default::default() };
    let options = Options { version: Version::Stu3, quirks, ..Options::default() };
    let server = Server::start(options).await.unwrap();
    let ask = || {
        client()
            .get(format!("{}/$export", server.url()))
            .header("Accept", "application/fhir+json")
            .header("Prefer", "respond-async, separate-export-status")
    };
    let response = ask().send().await.unwrap();
    assert_eq!(response.headers().get_all("preference-applied").iter().count(), 2);
    let status_url = location(response);
    for wanted in ["202", "200"] {
        let poll = get(&status_url).await;
        assert_eq!(
            (poll.status().as_u16(), &poll.headers()["x-export-status"]),
            (200, &wanted.parse().unwrap())
        );
    }
    server.script(Script::fails(500, "exception", "It broke."));
    let poll = get(&location(ask().send().await.unwrap())).await;
    assert_eq!((poll.status().as_u16(), &poll.headers()["x-export-status"]), (200, &"500".parse().unwrap()));
    server.script(Script::polls(0).files(FileScript::default()));
    let plain = get(&started(&server, "/$export").await).await;
    assert!(plain.headers().get("x-export-status").is_none());
}
