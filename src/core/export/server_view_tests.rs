#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::core::export::tests::azure_server;

const OWN: &str = "https://clinic.example/fhir/_operations/export/7";

fn view(of: &FhirServer) -> ServerView<'_> {
    ServerView::new(of)
}

fn server() -> FhirServer {
    let mut server = azure_server();
    server.spec.url = "https://clinic.example/fhir".into();
    server
}

#[test]
fn where_a_job_is_asked_for() {
    let long = "7".repeat(129);
    for (location, wanted) in [
        (OWN, Some((OWN, Some("7")))),
        (" https://clinic.example/fhir/_operations/export/7 ", Some((OWN, Some("7")))),
        ("_operations/export/7", Some((OWN, Some("7")))),
        ("/fhir/_operations/export/7", Some((OWN, Some("7")))),
        ("https://clinic.example:443/fhir/_operations/export/7", Some((OWN, Some("7")))),
        ("https://clinic.example/fhir/_operations/export/7#x", Some((OWN, Some("7")))),
        (
            "https://clinic.example/fhir/_operations/export/7?sig=a",
            Some(("https://clinic.example/fhir/_operations/export/7?sig=a", Some("7"))),
        ),
        // The internal name behind a proxy: the id is kept, and the token goes to url only.
        ("http://clinic.example/fhir/_operations/export/7", Some((OWN, Some("7")))),
        ("http://inside:8080/_operations/export/7?x=y", Some((OWN, Some("7")))),
        ("https://evil.example/_operations/export/7/", Some((OWN, Some("7")))),
        ("https://u:p@clinic.example/fhir/_operations/export/7", Some((OWN, Some("7")))),
        ("https://clinic.example/jobs/7", Some(("https://clinic.example/jobs/7", None))),
        ("https://evil.example/_operations/export/a%2Fb", None),
        ("https://evil.example/jobs/7", None),
        ("https://u:p@clinic.example/jobs/7", None),
        ("https://clinic.example/fhir/", None),
        ("", None),
        ("https://", None),
    ] {
        let got = view(&server()).status_url(location);
        let got = got.as_ref().map(|(url, id)| (url.as_str(), id.as_deref()));
        assert_eq!(got, wanted, "{location}");
    }
    assert_eq!(view(&server()).status_url(&format!("http://inside/_operations/export/{long}")), None);
    assert_eq!(view(&server()).status_url(&format!("/jobs/{}", "7".repeat(3000))), None);
}

#[test]
fn other_dialects_follow_trusted_origins_only() {
    let mut server = server();
    server.spec.dialect = Dialect::BulkData;
    server.spec.trusted_origins = Some(vec!["https://jobs.example".into()]);
    let at = |location: &str| view(&server).status_url(location).map(|(url, _)| url);
    assert_eq!(at("https://jobs.example/7").as_deref(), Some("https://jobs.example/7"));
    assert_eq!(at("https://jobs.example:444/7"), None);
    assert_eq!(at("http://jobs.example/7"), None);
    assert_eq!(at("https://other.example/_operations/export/7"), None, "nothing is rebuilt there");
}

#[test]
fn the_url_of_a_job_that_was_found() {
    for (id, plain) in
        [("7", true), ("0aF-9", true), ("", false), ("a/b", false), ("..", false), ("a?b", false)]
    {
        assert_eq!(view(&server()).job_url(id).is_some(), plain, "{id}");
    }
}

#[test]
fn bounds_within_the_operators_own() {
    let tuning = Tuning {
        poll_floor: Duration::from_secs(5),
        poll_ceiling: Duration::from_secs(1000),
        ..Tuning::default()
    };
    for (limits, min, max, asked) in [
        (json!({}), 10, 300, 1000),
        (json!({"minPollSeconds": 1}), 5, 300, 1000),
        (json!({"minPollSeconds": 2000, "maxPollSeconds": 3000}), 1000, 1000, 1000),
        (json!({"minPollSeconds": 60, "maxPollSeconds": 30}), 60, 60, 1000),
        (json!({"maxPollSeconds": 7}), 7, 7, 1000),
        (json!({"maxPollSeconds": 400}), 10, 400, 1000),
        (json!({"minPollSeconds": 400}), 400, 400, 1000),
        (json!({"maxRetryAfterSeconds": 1}), 10, 300, 5),
        (json!({"maxRetryAfterSeconds": 500}), 10, 300, 500),
    ] {
        let mut server = server();
        server.spec.limits = serde_json::from_value(limits.clone()).unwrap();
        let bounds = view(&server).bounds(&tuning);
        let seconds = [bounds.min, bounds.max, bounds.max_retry_after].map(|d| d.as_secs());
        assert_eq!(seconds, [min, max, asked], "{limits}");
    }
}

#[test]
fn defaults() {
    let mut server = server();
    let limits =
        |server: &FhirServer| (view(server).max_concurrent(), view(server).max_concurrent_per_group());
    assert_eq!((limits(&server), view(&server).verify_max_bytes()), ((4, 1), 1 << 30));
    server.spec.limits =
        serde_json::from_value(json!({"maxConcurrentExports": 9, "maxConcurrentPerGroup": 3})).unwrap();
    assert_eq!(limits(&server), (9, 3));
    let tuning = Tuning::default();
    assert_eq!(view(&server).deadline(&tuning), tuning.default_deadline);
    server.spec.defaults = serde_json::from_value(json!({"activeDeadlineSeconds": 60})).unwrap();
    assert_eq!(view(&server).deadline(&tuning), Duration::from_secs(60));
}
