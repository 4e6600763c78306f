//! Schedules run for as long as the command does.

use serde_json::{Value, json};

use crate::place::{CONTAINER, Place};

#[tokio::test]
async fn a_schedule_exports_until_ctrl_c_and_its_deletion_takes_its_runs_along() {
    let mut place = Place::start().await;
    let template = json!({ "spec": { "serverRef": { "name": "clinic" },
        "request": { "level": "System", "container": CONTAINER } } });
    let schedule = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
        "metadata": { "name": "nightly", "annotations": { "fhirexport.dev/run-now": "first" } },
        "spec": { "schedule": "0 2 1 1 *", "template": template } });
    place.write("all.yaml", &[place.secret(), place.server(), schedule]);
    let mut program = place.start_local(&["-o", "json"]);
    program.wait_for_log("schedules run until Ctrl-C", crate::place::PATIENCE).await.unwrap();
    program.wait_for_log("  Complete", crate::place::PATIENCE).await.unwrap();
    program.must_run().unwrap();
    program.sigint().unwrap();
    let ended = place.ended(program).await;
    assert_eq!(ended.code, 0, "every run is complete: {}", ended.said);
    place.assert_whole();
    let list: Value = serde_json::from_str(&ended.stdout).unwrap();
    let kinds: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["FhirServer", "FhirExport", "FhirExportSchedule"]);
    let run = list["items"][1]["metadata"]["name"].as_str().unwrap();
    assert!(run.starts_with("nightly-"), "{run}");
    let deleted = place.call(&["local", "delete", "nightly", "-f", "all.yaml"]).await;
    assert_eq!(deleted.code, 0, "{}", deleted.said);
    assert!(place.stored(run).is_none(), "the run is gone with its schedule");
    place.assert_whole();
}
