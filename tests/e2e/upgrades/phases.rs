//! One export in each phase that an operator can leave behind.

use std::path::Path;

use azure_fhir::Fault;
use bulk_fhir::{Cancel, FileScript, Options, Script};
use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer};
use fhir_export_operator::core::schedule::name_of_token;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use stage::wait_for;

use crate::place::Place;
use crate::site::{PATIENCE, Site, condition};

pub const SCHEDULE: &str = "nightly";
/// Exports of a Bulk Data server with a job that has not ended.
pub const BULK_JOBS: [&str; 4] = ["running", "landing", "cancelling", "deleting"];
/// Exports of Azure's service with a job that has not ended.
pub const AZURE_JOBS: [&str; 2] = ["intended", "service"];
/// Exports that end as `Complete` when nothing holds them up any more.
pub const COMPLETING: [&str; 7] = ["running", "landing", "intended", "service", "held", "waits", "retry"];

/// The name of the schedule's run.
pub fn run() -> String {
    name_of_token(SCHEDULE, "1")
}

/// Starts a world with two servers but no operator: the `FhirServer` `clinic` has dialect BulkData, `azure` has dialect
/// Azure.
pub async fn world(name: &str) -> Place {
    let limits = json!({"limits": {"maxConcurrentExports": 50}});
    let mut place = Place::without_operator(name, Options::default(), limits).await;
    place.site.flags = vec![
        "--retry-base-seconds=20".into(),
        "--retry-max-seconds=20".into(),
        "--cancel-grace-seconds=600".into(),
        "--cancel-tries=1000".into(),
    ];
    let azure = place.site.server_spec(json!({})).await;
    place.site.apply_server_named("azure", azure).await;
    place
}

/// The script for the job of an export in [`BULK_JOBS`], or of the schedule's run.
pub fn bulk_script(name: &str) -> Script {
    let refused = Cancel { running: 503, ..Cancel::default() };
    match name {
        "landing" => Script::polls(0).made("Observation", 6, 20_000).files(slow()),
        "cancelling" | "deleting" => Script { cancel: refused, ..Script::stuck() },
        _ => Script::stuck(),
    }
}

/// The script for the job of an export in [`AZURE_JOBS`].
pub fn azure_script(name: &str) -> azure_fhir::Script {
    match name {
        "intended" => azure_fhir::Script {
            kick_off: azure_fhir::KickOffAnswer::LostTo(Fault::Hang),
            ..azure_fhir::Script::polls(1)
        },
        _ => azure_fhir::Script::stuck(),
    }
}

/// The container of an export in [`AZURE_JOBS`]. It must hold no landed files: the operator searches for a lost job
/// by its folder, and the folders of landings look like those of jobs.
pub fn container(name: &str, namespace: &str) -> String {
    format!("{namespace}-{name}")
}

fn slow() -> FileScript {
    FileScript { gzip: false, trickle: Some(2_000), ..FileScript::default() }
}

/// Brings an export into each phase with the operator `program`, and then kills the operator.
pub async fn reach(place: &mut Place, program: &Path) {
    program.clone_into(&mut place.site.program);
    place.site.start_operator().await;
    place.fhir.script(Script::polls(1));
    place.export("done", json!({}), json!({})).await;
    place.site.complete("done").await;
    place.site.until("done", "let go", |o| o.finalizers().is_empty()).await;
    place.fhir.script(Script::fails(400, "invalid", "the job failed on purpose"));
    place.export("failed", json!({}), json!({})).await;
    place.site.ended("failed").await;
    place.site.until("failed", "let go", |o| o.finalizers().is_empty()).await;

    place.fhir.script(bulk_script(&run()));
    start_schedule(place).await;
    place.site.until(&run(), "running", has_url).await;
    for name in BULK_JOBS {
        place.fhir.script(bulk_script(name));
        place.export(name, json!({}), json!({})).await;
        place.site.until(name, "started", has_url).await;
    }
    place.site.until("landing", "landing", |o| state(o) == Some("Landing")).await;
    place.site.change("cancelling", json!({"cancel": true})).await;
    place.site.delete("deleting").await;
    for name in ["cancelling", "deleting"] {
        place.site.until(name, "refused the cancel", is_cancelling).await;
    }
    azure_jobs(&place.site).await;
    place.export("held", json!({}), json!({"suspend": true})).await;
    place.site.until_condition("held", "Suspended", "True", "Suspended").await;
    place.export("waits", json!({}), json!({"serverRef": {"name": "later"}})).await;
    place.site.until_condition("waits", "Reconciling", "True", "ServerNotFound").await;
    place.fhir.script(Script::refuses(Fault::Internal { outcome: true }));
    place.export("retry", json!({}), json!({})).await;
    place.site.until_condition("retry", "Reconciling", "True", "WaitingToRetry").await;
    place.site.kill_operator().await;
}

async fn azure_jobs(site: &Site) {
    for name in AZURE_JOBS {
        site.fhir.script(azure_script(name));
        let before = site.kick_offs();
        let request = json!({"level": "System", "container": container(name, &site.namespace)});
        site.export(name, request, json!({"serverRef": {"name": "azure"}})).await;
        let sent = wait_for("the kick-off", PATIENCE, || async {
            if site.kick_offs() > before { Ok(()) } else { Err("not yet") }
        });
        site.told(sent.await);
    }
    site.until("service", "running", |o| has_url(o) && state(o) == Some("Running")).await;
}

async fn start_schedule(place: &Place) {
    let object: FhirExportSchedule = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": SCHEDULE},
        "spec": {"schedule": "0 0 29 2 *", "incremental": {}, "template": {"spec": {"serverRef": {"name": "clinic"},
            "request": {"level": "System", "container": place.container()}}}}}))
    .unwrap();
    let api: Api<FhirExportSchedule> = place.site.api();
    api.create(&PostParams::default(), &object).await.unwrap();
    let patch = json!({"metadata": {"annotations": {"fhirexport.dev/run-now": "1"}}});
    api.patch(SCHEDULE, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Lets everything continue that [`reach`] holds up.
pub async fn release(place: &Place, jobs: &dyn Fn(&str) -> String) {
    for name in [run().as_str(), "running"] {
        place.fhir.rescript(&jobs(name), |script| script.life = bulk_fhir::Life::Polls(1));
    }
    place.fhir.rescript_files(&jobs("landing"), |files| files.trickle = None);
    for name in ["cancelling", "deleting"] {
        place.fhir.rescript(&jobs(name), |script| script.cancel = Cancel::default());
    }
    place.site.fhir.rescript(&jobs("service"), |script| script.life = azure_fhir::Life::Polls(1));
    place.site.change("held", json!({"suspend": false})).await;
    let servers: Api<FhirServer> = place.site.api();
    let spec = serde_json::to_value(servers.get("clinic").await.unwrap().spec).unwrap();
    place.site.apply_server_named("later", spec).await;
}

/// Asserts that all exports end as they would have without the change of versions.
pub async fn end_well(place: &Place, jobs: &dyn Fn(&str) -> String) {
    for name in COMPLETING {
        let object = place.site.complete(name).await;
        if BULK_JOBS.contains(&name) {
            place.assert_same(&object, &jobs(name)).await;
        }
    }
    let cancelled = place.site.ended("cancelling").await;
    assert_eq!(state(&cancelled), Some("Cancelled"));
    place.site.gone("deleting").await;
    for name in ["cancelling", "deleting"] {
        let job = place.fhir.job(&jobs(name)).unwrap();
        assert!(job.cancelled_at.is_some(), "{name}");
    }
    let api: Api<FhirExportSchedule> = place.site.api();
    let chain = wait_for("the chain to move", PATIENCE, || async {
        let status = api.get(SCHEDULE).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let moved =
            status.active.is_empty() && status.chain.as_ref().is_some_and(|c| c.covered_until.is_some());
        if moved { Ok(status.chain.unwrap()) } else { Err(format!("{status:?}")) }
    });
    let chain = place.site.told(chain.await);
    let taken_in: Vec<&str> = chain.history.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(taken_in, [run()]);
    assert_eq!(condition(&place.site.complete("done").await, "Failed").map(|c| c.0), None);
    assert_eq!(state(&place.site.ended("failed").await), Some("Failed"));
}

pub fn state(object: &FhirExport) -> Option<&str> {
    object.status.as_ref()?.state_word()
}

pub fn has_url(object: &FhirExport) -> bool {
    object.status.as_ref().is_some_and(|s| s.job.as_ref().is_some_and(|job| job.status_url.is_some()))
}

fn is_cancelling(object: &FhirExport) -> bool {
    let status = object.status.as_ref();
    status.and_then(|s| s.cancellation.as_ref()).is_some_and(|cancellation| cancellation.tries > 0)
}
