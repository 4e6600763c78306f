//! `create`, `cancel`, `suspend`, `resume` and `run`.

use bulk_fhir::{Options, Script};
use fhir_export_operator::api::{FhirExport, FhirExportSchedule};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::{assert_said, call, start, told};
use crate::place::Place;
use crate::site::{PATIENCE, shared};

const CREATE: [&str; 8] =
    ["create", "cohort", "--server", "clinic", "--level", "system", "--types", "Patient,Condition"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    CREATE.iter().chain(more).copied().collect()
}

#[tokio::test]
async fn an_export_is_created_from_flags() {
    let place = Place::start("kubectl-create", Options::default(), json!({})).await;
    let container = place.container();
    let into = ["--container", container.as_str()];
    let manifest = told(&place.site, &with(&[&into[..], &["--dry-run=client", "-o", "yaml"]].concat())).await;
    let parsed: Value = serde_saphyr::from_str(&manifest).unwrap();
    assert_eq!(parsed["spec"]["request"]["types"], json!(["Patient", "Condition"]));
    // What is printed is what kubectl takes.
    let file = place.site.folder.write("manifest.yaml", &manifest).unwrap();
    let kubectl =
        shared().await.kubernetes.kubectl(["create", "--dry-run=server", "-f", file.to_str().unwrap()]);
    let checked = kubectl.await.unwrap().run().await.unwrap();
    assert_eq!(place.site.told(checked.ok()), "fhirexport.fhirexport.dev/cohort created (server dry run)\n");
    let asked = told(&place.site, &with(&["--dry-run=server"])).await;
    assert_eq!(asked, "fhirexport.fhirexport.dev/cohort created (server dry run)\n");
    assert_eq!(told(&place.site, &["list", "-o", "name"]).await, "", "nothing was created");

    let created = call(&place.site, &with(&[&into[..], &["--wait"]].concat())).await;
    assert_said(&created, 0, "Complete");
    let lines: Vec<&str> = created.stdout.lines().collect();
    assert_eq!(lines[0], "fhirexport.fhirexport.dev/cohort created");
    assert!(lines[1].starts_with("fhirexport.fhirexport.dev/cohort complete: "), "{created:?}");
    assert_said(&call(&place.site, &CREATE).await, 1, "error: There is a FhirExport ");

    let invalid = ["create", "group", "--server", "clinic", "--level", "group"];
    let refused = call(&place.site, &invalid).await;
    assert_said(&refused, 1, "groupID is required when level is Group");
    let elsewhere = [&CREATE[..], &["-n", "nowhere"]].concat();
    let tool = stage::Tool::new(std::path::Path::new(super::PROGRAM), elsewhere).unwrap();
    let nowhere = tool.kubeconfig(&place.site.kubeconfig).run().await.unwrap();
    assert_said(&nowhere, 1, "error: There is no namespace nowhere: create it");
}

#[tokio::test]
async fn an_export_is_cancelled_and_kept() {
    let place = Place::start("kubectl-cancel", Options::default(), json!({})).await;
    place.fhir.script(Script::stuck());
    place.export("cohort", json!({}), json!({})).await;
    place.site.until_condition("cohort", "Reconciling", "False", "KickedOff").await;
    let cancelled = told(&place.site, &["cancel", "cohort", "--wait"]).await;
    let lines: Vec<&str> = cancelled.lines().collect();
    assert_eq!(
        lines,
        ["fhirexport.fhirexport.dev/cohort cancel requested", "fhirexport.fhirexport.dev/cohort cancelled"]
    );
    assert!(place.fhir.jobs()[0].cancelled_at.is_some());
    let again = call(&place.site, &["cancel", "cohort"]).await;
    assert_said(&again, 1, "error: The export cohort is Cancelled already, so there is nothing to cancel");
    let suspended = call(&place.site, &["suspend", "cohort"]).await;
    assert_said(&suspended, 1, "error: The export cohort is Cancelled already, so it cannot be suspended.");
}

#[tokio::test]
async fn what_is_suspended_goes_on_when_it_is_resumed() {
    let place = Place::start("kubectl-suspend", Options::default(), json!({})).await;
    assert_eq!(
        told(&place.site, &["suspend", "server/clinic"]).await,
        "fhirserver.fhirexport.dev/clinic suspended\n"
    );
    place.export("cohort", json!({"types": ["Patient"]}), json!({})).await;
    place.site.until_condition("cohort", "Suspended", "True", "ServerSuspended").await;
    assert_eq!(
        told(&place.site, &["suspend", "cohort"]).await,
        "fhirexport.fhirexport.dev/cohort suspended\n"
    );
    let again = told(&place.site, &["suspend", "fexp/cohort"]).await;
    assert_eq!(again, "fhirexport.fhirexport.dev/cohort unchanged: it is suspended already\n");
    told(&place.site, &["resume", "server/clinic"]).await;
    assert_eq!(told(&place.site, &["resume", "cohort"]).await, "fhirexport.fhirexport.dev/cohort resumed\n");
    place.site.complete("cohort").await;
}

/// Creates a schedule named `yearly`.
async fn schedule(place: &Place) -> Api<FhirExportSchedule> {
    let schedule = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
        "metadata": {"name": "yearly"}, "spec": {"schedule": "0 2 1 1 *", "template": {"spec": {
            "serverRef": {"name": "clinic"},
            "request": {"level": "System", "types": ["Patient"], "container": place.container()}}}}});
    let api: Api<FhirExportSchedule> = place.site.api();
    api.create(&PostParams::default(), &serde_json::from_value(schedule).unwrap()).await.unwrap();
    api
}

/// No operator takes the requests up, so the second replaces the first, and the deletion both.
#[tokio::test]
async fn a_run_that_cannot_start_any_more_is_not_waited_for() {
    let place = Place::without_operator("kubectl-run-lost", Options::default(), json!({})).await;
    let api = schedule(&place).await;
    let mut first = start(&place.site, &["run", "yearly", "--wait"]);
    first.wait_for_log("fhirexport.fhirexport.dev/yearly-manual-", PATIENCE).await.unwrap();
    let mut second = start(&place.site, &["run", "yearly", "--wait", "--timeout=1h"]);
    assert_eq!(first.wait_at_most(PATIENCE).await.unwrap(), Some(1), "{}", first.log_end());
    let said = "does not start: another run of its schedule was requested before it had begun";
    assert!(first.log_end().contains(said), "{}", first.log_end());
    second.wait_for_log("fhirexport.fhirexport.dev/yearly-manual-", PATIENCE).await.unwrap();
    api.delete("yearly", &DeleteParams::default()).await.unwrap();
    assert_eq!(second.wait_at_most(PATIENCE).await.unwrap(), Some(1), "{}", second.log_end());
    assert!(second.log_end().contains("its schedule was deleted"), "{}", second.log_end());
}

#[tokio::test]
async fn a_schedule_runs_on_request() {
    let place = Place::start("kubectl-run", Options::default(), json!({})).await;
    schedule(&place).await;
    let ran = told(&place.site, &["run", "yearly", "--wait"]).await;
    let lines: Vec<&str> = ran.lines().collect();
    assert!(lines[1].starts_with(&format!("{} complete: ", lines[0])), "{ran}");
    let name = lines[0].strip_prefix("fhirexport.fhirexport.dev/").unwrap();
    let run: FhirExport = place.site.api().get(name).await.unwrap();
    assert_eq!(run.metadata.labels.unwrap()["fhirexport.dev/schedule"], "yearly");
    let wrong = call(&place.site, &["run", "yeraly"]).await;
    assert_said(&wrong, 1, "did you mean yearly?");
    assert_eq!(
        told(&place.site, &["suspend", "schedule/yearly"]).await,
        "fhirexportschedule.fhirexport.dev/yearly suspended\n"
    );
}
