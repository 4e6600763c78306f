//! What the service takes and refuses at the kick-off.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use azure_fhir::{KickOffAnswer, Options, Script, Server, TestCa};
use common::{get, issue, kick_off, with_headers};

async fn server() -> Server {
    Server::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn every_level_is_accepted_even_a_group_that_is_not_there() {
    let server = server().await;
    for path in ["/$export", "/Patient/$export", "/Group/123456/$export"] {
        let response = kick_off(&server, path).await;
        assert_eq!(response.status(), 202);
        let location = response.headers()["content-location"].to_str().unwrap().to_owned();
        assert!(location.starts_with(&format!("{}/_operations/export/", server.url())));
        assert!(response.headers().get("location").is_none());
        assert!(response.bytes().await.unwrap().is_empty());
    }
    assert_eq!(server.jobs().len(), 3);
}

#[tokio::test]
async fn other_types_have_no_export() {
    let server = server().await;
    for (path, kind) in [("/Observation/$export", "Observation"), ("/Patient/id/$export", "Patient")] {
        let (status, code, text) = issue(kick_off(&server, path).await).await;
        assert_eq!((status, code.as_str()), (400, "invalid"));
        assert_eq!(text, format!("Requested operation does not support resource type: {kind}."));
    }
}

#[tokio::test]
async fn accept_is_exact() {
    let server = server().await;
    for accept in ["application/json", "application/fhir+jso", "*/*", "", "application/fhir+json;q=0.9"] {
        let (status, _, text) =
            issue(with_headers(&server, "/$export", Some(accept), Some("respond-async")).await).await;
        assert_eq!(status, 400);
        assert_eq!(text, format!("Value supplied, {accept},  for the \"Accept\" header is not supported."));
    }
    let response =
        with_headers(&server, "/$export", Some("Application/FHIR+json"), Some("respond-async")).await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn prefer_is_exact() {
    let server = server().await;
    let accept = Some("application/fhir+json");
    for (prefer, item) in
        [("respond-async, wait=10", "wait=10"), ("respond-status", "respond-status"), ("*", "*"), ("", "")]
    {
        let (status, _, text) = issue(with_headers(&server, "/$export", accept, Some(prefer)).await).await;
        assert_eq!(status, 400);
        assert_eq!(text, format!("Value supplied, {item},  for the \"Prefer\" header is not supported."));
    }
    let (_, _, text) = issue(with_headers(&server, "/$export", accept, None).await).await;
    assert_eq!(text, "Missing required header; Prefer");
    let (_, _, text) = issue(with_headers(&server, "/$export", accept, Some("handling=strict")).await).await;
    assert_eq!(text, "Missing required header value; header=Prefer,value=respond-async.");
    for prefer in ["handling = lenient, RESPOND-ASYNC", "respond-async,handling=strict"] {
        assert_eq!(with_headers(&server, "/$export", accept, Some(prefer)).await.status(), 202);
    }
}

#[tokio::test]
async fn wrong_parameters_are_told_in_the_service_s_words() {
    let server = server().await;
    let cases = [
        ("_typefilter=x", "The \"_typefilter\" parameter is not supported."),
        ("_elements=id", "The \"_elements\" parameter is not supported."),
        ("_since=2026-13-01", "'_since' The date time string '2026-13-01' is not in a correct format."),
        ("_till=2026-01-01%20", "'_till' The date time string '2026-01-01 ' is not in a correct format."),
        (
            "_typeFilter=Patient%3Fgender%3Dmale",
            "The _type parameter must be included when using the _typeFilter parameter. ",
        ),
        (
            "_outputFormat=application/fhir+ndjson",
            "The output format 'application/fhir ndjson' is not supported.",
        ),
        ("_outputFormat=csv", "The output format 'csv' is not supported."),
        ("_container=a/../b", "The value 'a/../b' is not valid. Path traversal characters are not allowed."),
        (
            "_container=..%255Cb",
            "The value '..%5Cb' is not valid. Path traversal characters are not allowed.",
        ),
        ("_format=mine", "The format 'mine' could not be found."),
        ("_anonymizationConfig=a.json", "Missing '_container' for anonymized export"),
        ("_anonymizationConfigEtag=1", "Missing '_anonymizationConfig' for anonymized export"),
        (
            "includeAssociatedData=history,_deleted",
            "The export parameter \"includeAssociatedData\" contains an invalid value. Supported values are: history. ",
        ),
        (
            "_type=Observation&_typeFilter=Observation%3Fcode%3Da,b",
            "The _typeFilter segment 'b' could not be parsed.",
        ),
        (
            "_type=Patient&_typeFilter=Patient%3Fshoe%3D44",
            "1 invalid search parameter(s) found:\n[type: Patient, parameter: shoe]",
        ),
    ];
    for (query, expected) in cases {
        for path in ["/$export", "/Patient/$export", "/Group/all/$export"] {
            if query.starts_with("include") && path != "/$export" {
                continue;
            }
            let (status, code, text) = issue(kick_off(&server, &format!("{path}?{query}")).await).await;
            assert_eq!((status, code.as_str(), text.as_str()), (400, "invalid", expected));
        }
    }
    let (_, _, text) = issue(kick_off(&server, "/$export?_maxCount=10001").await).await;
    assert!(text.starts_with("Export operation parameter 'MaximumNumberOfResourcesPerQuery'"));
    assert!(server.jobs().is_empty(), "a refused kick-off makes no job");
}

#[tokio::test]
async fn right_parameters_are_accepted() {
    let server = server().await;
    for query in [
        "_since=2026&_type=Patient&_container=lake",
        "_since=2026-01-01T00:00:00.1234567%2B00:00&_till=2026-02",
        "_outputFormat=application/fhir%2Bndjson&_isParallel=false&_maxCount=0",
        "_type=Patient,Observation&_typeFilter=Patient%3Fgender%3Dfemale%26active%3Dtrue,Observation%3Fstatus%3Dfinal",
        "includeAssociatedData=_history,_deleted",
        "_container=lake&_anonymizationConfig=a.json&_anonymizationConfigEtag=%221%22",
        "_type=NoSuchType",
    ] {
        assert_eq!(kick_off(&server, &format!("/$export?{query}")).await.status(), 202, "{query}");
    }
    let lenient = "respond-async,handling=lenient";
    let path = "/$export?_type=Patient&_typeFilter=Patient%3Fshoe%3D44";
    let response = with_headers(&server, path, Some("application/fhir+json"), Some(lenient)).await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn content_location_has_its_odd_forms() {
    let ca = TestCa::new().unwrap().into();
    let server = Server::start(Options { tls: Some(ca), ..Options::default() }).await.unwrap();
    let cases = [
        (KickOffAnswer::Relative, Some("/_operations/export/".to_owned())),
        (KickOffAnswer::ForeignHost, Some(server.foreign_url())),
        (KickOffAnswer::HttpScheme, Some(server.url())),
        (KickOffAnswer::NoContentLocation, None),
    ];
    for (kick_off_answer, expected) in cases {
        server.script(Script { kick_off: kick_off_answer, ..Script::default() });
        let response = kick_off(&server, "/$export").await;
        assert_eq!(response.status(), 202);
        let location = response.headers().get("content-location").map(|value| value.to_str().unwrap());
        match expected {
            Some(start) => assert!(location.unwrap().starts_with(&start)),
            None => assert_eq!(location, None),
        }
    }
    assert_eq!(server.jobs().len(), 4);
    assert!(server.tls_url().unwrap().starts_with("https://localhost:"));
}

#[tokio::test]
async fn metadata_names_the_software() {
    let server = server().await;
    let body: serde_json::Value = get(&format!("{}/metadata", server.url())).await.json().await.unwrap();
    assert_eq!(body["software"]["name"], "Microsoft FHIR Server");
    assert_eq!(body["fhirVersion"], "4.0.1");
}
