//! Whole exports, and what is kept of them.

use std::os::unix::fs::PermissionsExt;

use bulk_fhir::Script;
use serde_json::{Value, json};

use crate::place::{Place, TOKEN, export};

#[tokio::test]
async fn an_export_lands_in_a_directory_and_its_status_is_that_of_a_cluster() {
    let mut place = Place::start().await;
    place.fhir.script(Script::polls(2).made("Observation", 8, 20_000));
    let ended = place.local(&["-o", "yaml"]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&ended.stdout).unwrap();
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["FhirServer", "FhirExport"]);
    let status = &objects[1]["status"];
    assert_eq!((&status["state"], &status["output"]["files"]), (&json!("Complete"), &json!(8)));
    let lake = place.path("lake").canonicalize().unwrap();
    assert_eq!(status["job"]["destination"]["endpoint"], format!("file://{}", lake.display()));
    let last = ended.said.lines().last().unwrap();
    assert!(last.starts_with("FhirExport cohort: complete: 160 resources in 8 files in file:///"), "{last}");
}

#[tokio::test]
async fn no_secret_is_kept_or_told() {
    let mut place = Place::start().await;
    let ended = place.local(&["-v", "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    let list: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
    let encoded = "c2VzYW1lLTQ3MTEtb3Blbg";
    let state = place.state();
    assert!(state.contains("\"FhirExport\"") && ended.said.contains("the operator is ready"));
    for (place, text) in [("state file", &state), ("output", &ended.stdout), ("log", &ended.said)] {
        assert!(!text.contains(TOKEN) && !text.contains(encoded), "the token is in the {place}");
    }
    for (name, bytes) in place.files_in("lake").into_iter().chain(place.files_in(".fhir-export")) {
        assert!(!String::from_utf8_lossy(&bytes).contains(TOKEN), "{name}");
    }
    let mode = |name: &str| place.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".fhir-export"), mode(".fhir-export/state.json")), (0o700, 0o600));
    assert!(place.fhir.leaked_tokens().is_empty());
}

#[tokio::test]
async fn secrets_come_from_a_directory_as_well() {
    let mut place = Place::start().await;
    place.write("all.yaml", &[place.server(), export("cohort", json!({}))]);
    std::fs::create_dir_all(place.path("secrets/clinic")).unwrap();
    std::fs::write(place.path("secrets/clinic/token"), format!("{TOKEN}\n")).unwrap();
    let ended = place.local(&["--secret-dir", "secrets"]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
}

#[tokio::test]
async fn a_second_call_says_what_became_of_the_export_and_does_not_repeat_it() {
    let mut place = Place::start().await;
    assert_eq!(place.local(&[]).await.code, 0);
    let again = place.local(&[]).await;
    assert_eq!(again.code, 0, "{}", again.said);
    assert!(again.said.contains("FhirExport cohort unchanged"), "{}", again.said);
    assert!(again.said.contains("FhirExport cohort: complete: "), "{}", again.said);
    assert_eq!(place.fhir.kick_offs(), 1);
    let listed = place.call(&["local", "get"]).await;
    let line = listed.stdout.lines().find(|line| line.contains("cohort")).unwrap();
    assert!(line.starts_with("FhirExport") && line.contains("Complete"), "{line}");
    let deleted = place.call(&["local", "delete", "cohort"]).await;
    assert_eq!((deleted.code, &*deleted.stdout), (0, "FhirExport cohort deleted\n"), "{}", deleted.said);
    assert_eq!(place.local(&[]).await.code, 0);
    assert_eq!(place.fhir.kick_offs(), 2, "what was deleted is exported anew");
}

#[tokio::test]
async fn exports_of_other_files_rest() {
    let mut place = Place::start().await;
    place.fhir.script(Script::stuck());
    let first = place.start_local(&["--on-interrupt", "leave"]);
    place.until_running().await;
    let mut first = first;
    first.sigint().unwrap();
    assert_eq!(place.ended(first).await.code, 130);
    place.write("all.yaml", &[place.secret(), place.server(), export("second", json!({}))]);
    let polls = place.fhir.jobs()[0].polls;
    let ended = place.local(&["-o", "yaml"]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(!ended.stdout.contains("cohort"), "{}", ended.stdout);
    let jobs = place.fhir.jobs();
    assert_eq!((jobs.len(), jobs[0].polls), (2, polls), "the first job is neither polled nor cancelled");
    assert_eq!(jobs[0].cancel_requests, 0);
}
