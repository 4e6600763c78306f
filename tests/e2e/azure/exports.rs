//! Exports that succeed: all levels, all parameters, and the number of requests and writes that they take.

use azure_fhir::{Options, Script};
use kube::ResourceExt;
use serde_json::json;

use crate::site::{Site, condition, shared};

#[tokio::test]
async fn system_patient_and_group_end_complete() {
    let site = Site::start("levels").await;
    for (name, request) in [
        ("system", json!({"level": "System", "container": "levels"})),
        ("patient", json!({"level": "Patient", "container": "levels", "types": ["Patient", "Observation"]})),
        ("group", json!({"level": "Group", "groupID": "cohort-42"})),
    ] {
        site.export(name, request, json!({})).await;
        let object = site.complete(name).await;
        let status = object.status.clone().unwrap();
        let output = status.output.clone().unwrap();
        assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch", "{name}");
        let job = site.fhir.job(status.job.unwrap().id.as_deref().unwrap()).unwrap();
        let written: usize = job.files.iter().map(|f| f.count).sum();
        let bytes: usize = job.files.iter().map(|f| f.bytes).sum();
        assert_eq!(output.resources, Some(i64::try_from(written).unwrap()), "{name}");
        assert_eq!(output.bytes, Some(i64::try_from(bytes).unwrap()), "{name}");
        assert_eq!(output.files, Some(i64::try_from(job.files.len()).unwrap()), "{name}");
        assert!(output.manifest.is_some(), "{name}");
        site.until(name, "let go", |o| o.finalizers().is_empty()).await;
    }
    assert_eq!(site.kick_offs(), 3);
    let table = shared().await.kubernetes.kubectl(["get", "fexp", "-n", &site.namespace]).await.unwrap();
    let table = table.run().await.unwrap().ok().unwrap();
    assert!(table.starts_with("NAME"), "{table}");
    println!("{table}");
}

#[tokio::test]
async fn a_run_that_goes_well_costs_few_writes_and_events() {
    let mut site = Site::without_server("cost", Options::default()).await;
    site.apply_server(json!({})).await;
    site.flags = vec!["--progress-interval-seconds=300".into()];
    site.start_operator().await;
    site.fhir.script(Script::polls(8));
    site.export("cheap", json!({"level": "System", "container": "cost"}), json!({})).await;
    site.complete("cheap").await;
    site.until("cheap", "let go", |o| o.finalizers().is_empty()).await;
    let events = site.events("cheap").await;
    assert!(events.len() <= 3, "{events:?}");
    let reasons: Vec<&str> = events.iter().map(|e| e.0.as_str()).collect();
    assert_eq!(reasons, ["KickedOff", "Exported"]);
    let writes = site.writes("cheap").await;
    assert!((3..=6).contains(&writes), "{writes} writes");
}
