//! A schedule with Azure's FHIR service, whose data change all the time. The service names deleted resources in lines
//! among the others, and leaves out of a run what changed after the run began.

use std::cell::Cell;

use azure_fhir::{Failure, Script};
use fhir_export_operator::api::{ChainedRun, FhirExportSchedule, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use replay::{Mode, Run, State};
use serde_json::json;
use stage::wait_for;

use super::replayed::change;
use crate::site::{PATIENCE, Site, shared};

const RUNS: usize = 10;

/// Requests a run, waits until the schedule has recorded it, and appends its new runs to `chain`.
async fn run(site: &Site, number: usize, chain: &mut Vec<ChainedRun>) {
    let api: Api<FhirExportSchedule> = site.api();
    let patch = json!({"metadata": {"annotations": {"fhirexport.dev/run-now": number.to_string()}}});
    api.patch("azure", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let name = name_of_token("azure", &number.to_string());
    let done = wait_for(&format!("{name} to be taken in"), PATIENCE, || async {
        let status = api.get("azure").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let over = status.active.is_empty() && status.last_run_now.as_ref() == Some(&name);
        if over { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await;
    let history = site.told(done).chain.unwrap_or_default().history;
    let new = history.into_iter().filter(|run| chain.iter().all(|known| known.uid != run.uid));
    let new: Vec<ChainedRun> = new.collect();
    chain.extend(new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_azures_service_loses_nothing_either() {
    let mut site = Site::start("azure").await;
    let object: FhirExportSchedule = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": "azure"},
        "spec": {
            "schedule": "0 0 29 2 *",
            "incremental": {"overlapSeconds": 0},
            "template": {"spec": {"serverRef": {"name": "clinic"}, "request": {"level": "System",
                "container": site.namespace, "includeAssociatedData": ["_deleted"]}}}}}))
    .unwrap();
    site.api().create(&PostParams::default(), &object).await.unwrap();

    let (stop, mut chain) = (Cell::new(false), Vec::new());
    let Site { fhir, .. } = &site;
    let patients = || fhir.patients();
    let (journal, ()) = tokio::join!(change(patients, 9, &stop), async {
        for number in 0..RUNS - 2 {
            if number == 4 {
                site.fhir.script(Script::fails(Failure::StorageAccessDenied));
            }
            run(&site, number, &mut chain).await;
        }
        stop.set(true);
    });
    site.kill_operator().await;
    site.start_operator().await;
    run(&site, RUNS - 2, &mut chain).await;
    run(&site, RUNS - 1, &mut chain).await;

    assert_eq!(chain.len(), RUNS - 1, "one failed, and one had nothing to bring: {chain:?}");
    let container = blobs::container(&shared().await.azurite, &site.namespace).await.unwrap();
    let mut state = State::default();
    for run in &chain {
        // A run without changes has no folder.
        let Some(folder) = run.folder.as_deref() else { continue };
        let landed = Run::of(&blobs::folder(&container, folder).await.unwrap()).unwrap();
        state.load(if run.mode == RunMode::Full { Mode::Full } else { Mode::Incremental }, &landed);
    }
    let server = State::of(site.fhir.patients().latest().filter_map(|latest| latest.resource.cloned()));
    let told = journal.compare(&state, &server);
    println!("{RUNS} runs: {} changes made, {} landed", told.made, told.landed);
    assert!(told.none() && told.made > 100, "{told:?}");
}
