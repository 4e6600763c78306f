#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use serde_json::{Value, json};

use super::*;

fn server(bulk: Value) -> FhirServer {
    serde_json::from_value(json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
        "metadata": {"name": "s", "namespace": "fhir"},
        "spec": {"url": "https://x.example/fhir/", "dialect": "BulkData", "auth": {"type": "None"}, "bulkData": bulk}}))
    .unwrap()
}

fn ask(bulk: Value, export: Value) -> Result<Request, String> {
    request(&server(bulk), &serde_json::from_value(export).unwrap(), "research")
}

fn everything(level: &str) -> Value {
    json!({"level": level, "outputFormat": "application/fhir+ndjson", "since": "2026-01-01T00:00:00+01:00",
        "until": "2026-02-01T00:00:00Z", "types": ["Patient", "Observation"],
        "typeFilters": ["Observation?code=a,b&status=final", "Patient?active=true"], "handling": "Lenient",
        "includeAssociatedData": ["LatestProvenanceResources", "_custom"],
        "bulkData": {"elements": ["id", "Patient.name"], "organizeOutputBy": "Patient", "allowPartialManifests": true},
        "parameters": [{"name": "_x", "value": "1 2"}]})
}

#[test]
fn a_query_with_commas() {
    let sent = ask(json!({}), everything("System")).unwrap();
    assert_eq!((sent.method, &sent.body), (Method::Get, &None));
    assert_eq!(
        sent.url,
        "https://x.example/fhir/$export?_outputFormat=application%2Ffhir%2Bndjson\
         &_since=2026-01-01T00%3A00%3A00%2B01%3A00&_until=2026-02-01T00%3A00%3A00Z&_type=Patient%2CObservation\
         &_typeFilter=Observation%3Fcode%3Da%252Cb%26status%3Dfinal%2CPatient%3Factive%3Dtrue\
         &_elements=id%2CPatient.name&includeAssociatedData=LatestProvenanceResources%2C_custom\
         &organizeOutputBy=Patient&allowPartialManifests=true&_x=1%202"
    );
    assert_eq!(sent.prefer, Some("respond-async, handling=lenient"));
    let epic = json!({"preset": "Epic", "supportsSince": "Yes"});
    assert!(ask(epic, everything("System")).unwrap().url.contains("code%3Da%5C%2Cb"));
}

#[test]
fn a_query_that_repeats() {
    let sent = ask(json!({"version": "STU3"}), everything("Patient")).unwrap();
    assert!(sent.url.starts_with("https://x.example/fhir/Patient/$export?"));
    assert!(sent.url.contains("&_type=Patient&_type=Observation&"));
    assert!(
        sent.url.contains("&_typeFilter=Observation%3Fcode%3Da%2Cb%26status%3Dfinal&_typeFilter=Patient")
    );
    assert_eq!(sent.prefer, Some("respond-async, separate-export-status, handling=lenient"));
}

#[test]
fn a_body() {
    let sent = ask(json!({"version": "STU4"}), everything("System")).unwrap();
    assert_eq!((sent.method, sent.url.as_str()), (Method::Post, "https://x.example/fhir/$export"));
    let body = sent.body.unwrap();
    let of = |name: &str| -> Vec<Value> {
        let all = body["parameter"].as_array().unwrap().iter();
        all.filter(|p| p["name"] == name).cloned().collect()
    };
    assert_eq!(body["resourceType"], "Parameters");
    assert_eq!(of("_since")[0]["valueInstant"], "2026-01-01T00:00:00+01:00");
    assert_eq!(of("_type").len(), 2);
    assert_eq!(of("_type")[1]["valueString"], "Observation");
    assert_eq!(of("_typeFilter")[0]["valueString"], "Observation?code=a,b&status=final");
    assert_eq!(of("includeAssociatedData")[0]["valueCoding"]["code"], "LatestProvenanceResources");
    assert_eq!(of("allowPartialManifests")[0]["valueBoolean"], true);
    let older = ask(
        json!({"version": "STU2", "kickOffMethod": "Post"}),
        json!({"level": "System", "types": ["A", "B"]}),
    );
    assert_eq!(older.unwrap().body.unwrap()["parameter"], json!([{"name": "_type", "valueString": "A,B"}]));
}

#[test]
fn patients_go_in_a_body_and_are_read_by_the_edge() {
    let listed = |level: &str| {
        json!({"level": level, "groupID": "g",
        "bulkData": {"patientsSecretRef": {"name": "cohort", "key": "ids"}}})
    };
    let sent = ask(json!({}), listed("Group")).unwrap();
    assert_eq!((sent.method, sent.url.as_str()), (Method::Post, "https://x.example/fhir/Group/g/$export"));
    let Some(Patients::Secret { namespace, key }) = sent.patients else { panic!("no patients") };
    assert_eq!((namespace.as_str(), key.name.as_str()), ("research", "cohort"));
    let blob = json!({"level": "Patient", "bulkData": {"patientsBlob": {"path": "cohorts/a/b.txt",
        "sha256": "0".repeat(64)}}});
    let Some(Patients::Blob { container, path, .. }) = ask(json!({}), blob).unwrap().patients else {
        panic!("no blob")
    };
    assert_eq!((container.as_str(), path.as_str()), ("cohorts", "a/b.txt"));
    assert!(ask(json!({}), listed("System")).is_err());
    assert!(ask(json!({"kickOffMethod": "Get"}), listed("Group")).unwrap_err().contains("POST"));
}

#[test]
fn what_the_server_cannot_do_is_refused_before_it_is_asked() {
    for (bulk, export, said) in [
        (json!({}), json!({"level": "System", "azure": {"maxCount": 5}}), "request.azure"),
        (json!({"preset": "Epic"}), json!({"level": "System", "since": "2026-01-01T00:00:00Z"}), "_since"),
        (json!({"version": "STU2"}), json!({"level": "System", "until": "2026-01-01T00:00:00Z"}), "until"),
        (json!({"version": "STU1"}), json!({"level": "System", "handling": "Lenient"}), "handling Lenient"),
        (
            json!({"version": "STU1"}),
            json!({"level": "System", "bulkData": {"elements": ["id"]}}),
            "elements",
        ),
        (
            json!({"version": "STU2"}),
            json!({"level": "System", "bulkData": {"organizeOutputBy": "Patient"}}),
            "organizeOutputBy",
        ),
    ] {
        let refusal = ask(bulk, export).unwrap_err();
        assert!(refusal.contains(said), "{refusal}");
    }
}
