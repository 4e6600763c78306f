#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Dialect;
use crate::core::export::tests::{azure_server, request as of_fields};
use crate::core::kick_off::request as kick_off;
use crate::core::requests::{delete, status};

const BASE: &str = "https://clinic.example";

fn planned(of: Value) -> Result<Request, String> {
    kick_off(&azure_server(), &of_fields(of), "fhir")
}

fn url(of: Value) -> String {
    planned(of).unwrap().url
}

/// The parameters as a server reads them from the URL's query, decoded independently of the code under test.
fn read(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

#[test]
fn levels() {
    for (of, wanted) in [
        (json!({"level": "System"}), "https://clinic.example/$export"),
        (json!({"level": "Patient"}), "https://clinic.example/Patient/$export"),
        (json!({"level": "Group", "groupID": "cohort-42"}), "https://clinic.example/Group/cohort-42/$export"),
        (json!({"level": "Group", "groupID": "a.B-9"}), "https://clinic.example/Group/a.B-9/$export"),
        // Objects can be older than a validation rule: no part of an id may leave its path segment.
        (
            json!({"level": "Group", "groupID": "a/b?c#d"}),
            "https://clinic.example/Group/a%2Fb%3Fc%23d/$export",
        ),
    ] {
        assert_eq!(url(of), wanted);
    }
    assert!(planned(json!({"level": "Group"})).unwrap_err().contains("groupID"));
}

#[test]
fn a_base_with_a_path_or_a_slash() {
    for (base, wanted) in [
        ("https://clinic.example/", "https://clinic.example/$export"),
        ("https://clinic.example/fhir/r4", "https://clinic.example/fhir/r4/$export"),
        ("https://clinic.example/fhir/", "https://clinic.example/fhir/$export"),
    ] {
        let mut server = azure_server();
        server.spec.url = base.into();
        assert_eq!(kick_off(&server, &of_fields(json!({"level": "System"})), "fhir").unwrap().url, wanted);
    }
}

#[test]
fn headers() {
    for (handling, prefer) in [
        (None, "respond-async"),
        (Some("Strict"), "respond-async"),
        (Some("Lenient"), "respond-async,handling=lenient"),
    ] {
        let mut of = json!({"level": "System"});
        if let Some(handling) = handling {
            of["handling"] = handling.into();
        }
        let sent = planned(of).unwrap();
        assert_eq!(
            (sent.method, sent.accept, sent.prefer, sent.with_token),
            (Method::Get, "application/fhir+json", Some(prefer), true)
        );
    }
    let asked = status("https://clinic.example/_operations/export/7");
    assert_eq!((asked.method, asked.prefer, asked.with_token), (Method::Get, None, true));
    let settled = delete("https://clinic.example/_operations/export/7");
    assert_eq!(
        (settled.method, settled.url.as_str(), settled.prefer),
        (Method::Delete, asked.url.as_str(), None)
    );
}

#[test]
fn every_parameter_as_it_goes_out() {
    for (of, wanted) in [
        (json!({"outputFormat": "application/fhir+ndjson"}), "_outputFormat=application%2Ffhir%2Bndjson"),
        (json!({"outputFormat": "ndjson"}), "_outputFormat=ndjson"),
        (json!({"since": "2026-01-01T00:00:00Z"}), "_since=2026-01-01T00%3A00%3A00Z"),
        (
            json!({"since": "2026-01-01T00:00:00.1234567+01:00"}),
            "_since=2026-01-01T00%3A00%3A00.1234567%2B01%3A00",
        ),
        (json!({"until": "2026-02-01T00:00:00-05:00"}), "_till=2026-02-01T00%3A00%3A00-05%3A00"),
        (json!({"types": ["Patient", "Observation"]}), "_type=Patient%2CObservation"),
        (json!({"types": []}), ""),
        (json!({"container": "research-lake"}), "_container=research-lake"),
        (json!({"azure": {"maxCount": 100, "parallel": false}}), "_maxCount=100&_isParallel=false"),
        (json!({"azure": {"parallel": true}}), "_isParallel=true"),
        (
            json!({"includeAssociatedData": ["_history", "_deleted"]}),
            "includeAssociatedData=_history%2C_deleted",
        ),
        (
            json!({"container": "lake", "azure": {"anonymization": {"config": "a b/deid.json", "etag": "\"0x8D\""}}}),
            "_container=lake&_anonymizationConfig=a%20b%2Fdeid.json&_anonymizationConfigEtag=%220x8D%22",
        ),
        (
            json!({"container": "lake", "azure": {"anonymization": {"config": "c.json",
                "collectionReference": "acr.example/deid:1@sha256:ab"}}}),
            "_container=lake&_anonymizationConfig=c.json\
             &_anonymizationConfigCollectionReference=acr.example%2Fdeid%3A1%40sha256%3Aab",
        ),
        (
            json!({"parameters": [{"name": "_format", "value": "a+b?c&d,e|f g%h#i=jü"}]}),
            "_format=a%2Bb%3Fc%26d%2Ce%7Cf%20g%25h%23i%3Dj%C3%BC",
        ),
        (json!({"parameters": [{"name": "a", "value": ""}, {"name": "a", "value": "2"}]}), "a=&a=2"),
        (
            json!({"types": ["Observation", "Patient"], "typeFilters": ["Observation?category=laboratory&status=final",
                "Patient?identifier=urn:a|1 2"]}),
            "_type=Observation%2CPatient\
             &_typeFilter=Observation%3Fcategory%3Dlaboratory%26status%3Dfinal\
             %2CPatient%3Fidentifier%3Durn%3Aa%7C1%202",
        ),
        // What is already encoded in a filter is meant for the filter's own parser, so it stays encoded.
        (
            json!({"types": ["Patient"], "typeFilters": ["Patient?name=M%C3%BCller"]}),
            "_type=Patient&_typeFilter=Patient%3Fname%3DM%25C3%25BCller",
        ),
    ] {
        let mut of = of;
        of["level"] = "System".into();
        let sent = url(of);
        let query = sent.strip_prefix("https://clinic.example/$export").unwrap();
        assert_eq!(query.strip_prefix('?').unwrap_or(query), wanted);
    }
}

#[test]
fn the_server_reads_what_was_written() {
    let sent = url(json!({"level": "System", "since": "2026-01-01T00:00:00+01:00", "types": ["Patient"],
        "typeFilters": ["Patient?a=b+c&d=e f"], "parameters": [{"name": "x", "value": "%2B+ü,|"}]}));
    assert_eq!(
        read(&sent),
        [
            ("_since", "2026-01-01T00:00:00+01:00"),
            ("_type", "Patient"),
            ("_typeFilter", "Patient?a=b+c&d=e f"),
            ("x", "%2B+ü,|")
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

#[test]
fn the_default_container() {
    let mut server = azure_server();
    server.spec.default_container = Some("exports".into());
    let sent = |of: Value| kick_off(&server, &of_fields(of), "fhir").unwrap().url;
    assert_eq!(sent(json!({"level": "System"})), "https://clinic.example/$export?_container=exports");
    assert_eq!(
        sent(json!({"level": "System", "container": "own"})),
        "https://clinic.example/$export?_container=own"
    );
}

#[test]
fn what_azure_cannot_do() {
    for (of, words) in [
        (json!({"bulkData": {"elements": ["Patient.id"]}}), "bulkData.elements"),
        (json!({"bulkData": {"patientsSecretRef": {"name": "a", "key": "b"}}}), "bulkData.patientsSecretRef"),
        (json!({"bulkData": {"patientsBlob": {"path": "a/b", "sha256": "0"}}}), "bulkData.patientsBlob"),
        (json!({"bulkData": {"organizeOutputBy": "Patient"}}), "bulkData.organizeOutputBy"),
        (json!({"bulkData": {"allowPartialManifests": false}}), "bulkData.allowPartialManifests"),
        (json!({"types": ["Observation"], "typeFilters": ["Observation?code=1,2"]}), "comma"),
        (json!({"types": ["Observation"], "typeFilters": ["Patient?gender=male"]}), "add Patient to types"),
        (json!({"types": ["Observation"], "typeFilters": ["Obs?gender=male"]}), "add Obs to types"),
        (json!({"includeAssociatedData": ["history"]}), "_history"),
        (json!({"level": "Patient", "includeAssociatedData": ["_history"]}), "level Patient"),
        (json!({"level": "Group", "groupID": "g", "includeAssociatedData": ["_deleted"]}), "level Group"),
        (
            json!({"types": ["Patient"], "typeFilters": ["Patient?gender=male"],
                "includeAssociatedData": ["_deleted"]}),
            "typeFilters",
        ),
    ] {
        let mut of = of;
        if of.get("level").is_none() {
            of["level"] = "System".into();
        }
        let why = planned(of.clone()).unwrap_err();
        assert!(why.contains(words), "{of}: {why}");
        assert!(!why.contains("gender=male") && !why.contains("code=1"), "a filter's values stay out: {why}");
    }
    assert!(planned(json!({"level": "System", "bulkData": {}, "includeAssociatedData": []})).is_ok());
    let mut bulk = azure_server();
    bulk.spec.dialect = Dialect::BulkData;
    let sent = kick_off(&bulk, &of_fields(json!({"level": "System"})), "fhir").unwrap();
    assert_eq!(sent.url, "https://clinic.example/$export");
}

#[test]
fn whose_request_a_manifest_names() {
    let group =
        format!("{BASE}/Group/g/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB&_container=c");
    let rows = [
        (group.as_str(), true),
        (
            "http://inside:8080/Group/g/$export?_container=c&_type=A,B&_since=2026-01-01T00:00:00%2B01:00",
            true,
        ),
        (
            "https://clinic.example/fhir/Group/g/%24export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB\
             &_container=c",
            true,
        ),
        (
            "https://clinic.example/Group/h/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB&_container=c",
            false,
        ),
        (
            "https://clinic.example/Patient/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB&_container=c",
            false,
        ),
        (
            "https://clinic.example/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB&_container=c",
            false,
        ),
        (
            "https://clinic.example/Group/g/$export?_since=2026-01-01T00%3A00%3A00%2B02%3A00&_type=A%2CB&_container=c",
            false,
        ),
        ("https://clinic.example/Group/g/$export?_type=A%2CB&_container=c", false),
        (
            "https://clinic.example/Group/g/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=A%2CB&_container=c\
             &_maxCount=1",
            false,
        ),
        (
            "https://clinic.example/Group/g/$export?_since=2026-01-01T00%3A00%3A00%2B01%3A00&_type=B%2CA&_container=c",
            false,
        ),
        ("https://clinic.example/Group/g?_type=A%2CB", false),
        ("", false),
        ("nonsense", false),
    ];
    for (theirs, same) in rows {
        assert_eq!(same_request(&group, theirs), same, "{theirs}");
        assert_eq!(same_request(theirs, &group), same, "{theirs}");
    }
    assert!(!same_request("https://x/a", "https://x/a/$export"), "what is no kick-off is nobody's");
}

proptest! {
    #[test]
    fn any_value_arrives_whole(value in "\\PC{0,60}", group in "[A-Za-z0-9.-]{1,64}") {
        prop_assume!(group != "." && group != "..");
        let sent = url(json!({"level": "Group", "groupID": group, "parameters": [{"name": "x", "value": value}]}));
        prop_assert!(sent.is_ascii() && !sent.contains([' ', '+', '"', '<']));
        let parsed = Url::parse(&sent).unwrap();
        prop_assert_eq!(parsed.path(), format!("/Group/{group}/$export"));
        prop_assert_eq!(read(&sent), vec![("x".to_owned(), value)]);
        prop_assert!(same_request(&sent, &sent));
    }
}
