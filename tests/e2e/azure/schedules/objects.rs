//! The objects of a schedule: the owner of its runs, the runs that it keeps, and the output of kubectl.

use azure_fhir::{Failure, Script};
use fhir_export_operator::api::FhirExport;
use fhir_export_operator::core::schedule::name_of_token;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use stage::{ProcessOptions, wait_until};

use super::{Scheduled, covered, kicked_off};
use crate::site::{PATIENCE, Site, shared};

#[tokio::test]
async fn runs_belong_to_their_schedule_and_go_with_it() {
    let site = Site::start("owner").await;
    let scheduled = Scheduled::create(&site, "owner", json!({})).await;
    let done = scheduled.run_now("done").await;
    scheduled.settled(&done).await;
    site.fhir.script(Script::stuck().container("owner"));
    let running = scheduled.run_now("running").await;
    let object = site.until(&running, "running", kicked_off).await;
    let schedule = scheduled.api().get("owner").await.unwrap();
    let owner = &object.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), Some(&owner.uid), owner.controller),
        ("FhirExportSchedule", schedule.uid().as_ref(), Some(true))
    );
    assert!(object.spec.kick_off_before.is_some_and(|end| end > Timestamp::now()));
    scheduled.api().delete("owner", &DeleteParams::default()).await.unwrap();
    site.gone(&running).await;
    site.gone(&done).await;
    assert_eq!(site.cancels(), 1);
}

#[tokio::test]
async fn what_it_did_not_make_it_never_takes() {
    let site = Site::start("foreign").await;
    let foreign = name_of_token("foreign", "now");
    let request = json!({"level": "System", "container": "foreign"});
    let before = site.export(&foreign, request, json!({"suspend": true})).await;
    site.until_condition(&foreign, "Suspended", "True", "").await;
    let scheduled = Scheduled::create(&site, "foreign", json!({"incremental": {}})).await;
    scheduled.run_now("now").await;
    let message = scheduled.until_condition("LastRunSucceeded", "False", "AdoptionRefused").await;
    assert!(message.contains(&foreign), "{message}");
    let result =
        wait_until("the event", PATIENCE, || async { scheduled.events("AdoptionRefused").await == 1 }).await;
    site.told(result);
    let after: FhirExport = site.api().get(&foreign).await.unwrap();
    assert_eq!((after.uid(), after.owner_references().len()), (before.uid(), 0));
    let run = scheduled.run_now("another").await;
    let schedule = scheduled.settled(&run).await;
    assert!(covered(&schedule).is_some());
}

#[tokio::test]
async fn what_is_wrong_is_told_at_once() {
    let site = Site::start("wrong").await;
    for (name, spec, reason, words) in [
        ("words", json!({"schedule": "every night"}), "InvalidSchedule", "fields"),
        ("never", json!({"schedule": "0 2 30 2 *"}), "InvalidSchedule", "never"),
        ("zone", json!({"timeZone": "Europe/Atlantis"}), "InvalidSchedule", "Atlantis"),
        ("full", json!({"incremental": {"fullSchedule": "0 2 * *"}}), "InvalidSchedule", "fullSchedule"),
        (
            "loses",
            json!({"incremental": {}, "template": {"spec": {"request": {"level": "Patient"}}}}),
            "IncrementalLosesData",
            "level System with types",
        ),
        (
            "server",
            json!({"template": {"spec": {"serverRef": {"name": "later"}}}}),
            "ServerNotFound",
            "later",
        ),
    ] {
        let scheduled = Scheduled::create(&site, name, spec).await;
        let message = scheduled.until_condition("Ready", "False", reason).await;
        assert!(message.contains(words), "{message}");
    }
    // A repaired schedule becomes ready.
    let scheduled = Scheduled { site: &site, name: "never" };
    scheduled.patch(json!({"spec": {"schedule": "0 2 29 2 *"}})).await;
    scheduled.until_condition("Ready", "True", "Scheduled").await;
    let spec = site.server_spec(json!({})).await;
    site.apply_server_named("later", spec).await;
    Scheduled { site: &site, name: "server" }.until_condition("Ready", "True", "Scheduled").await;
}

#[tokio::test]
async fn objects_are_kept_by_outcome_and_files_stay() {
    let site = Site::start("history").await;
    let limits = json!({"successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 1});
    let scheduled = Scheduled::create(&site, "history", limits).await;
    let mut kept = Vec::new();
    for (token, fails) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        if fails {
            site.fhir.script(Script::fails(Failure::RecordTooLarge).container("history"));
        }
        let run = scheduled.run_now(token).await;
        scheduled.settled(&run).await;
        kept.push(run);
    }
    let mut newest = kept.split_off(2);
    newest.sort();
    assert_eq!(scheduled.count(2).await, newest);
    assert!(site.fhir.jobs().iter().flat_map(|job| &job.files).all(|file| file.written));
    // The time to live deletes the remaining runs.
    scheduled.patch(json!({"spec": {"template": {"spec": {"ttlSecondsAfterFinished": 1}}}})).await;
    scheduled.count(0).await;
}

#[tokio::test]
async fn a_command_asks_for_a_run() {
    let site = Site::start("command").await;
    let scheduled = Scheduled::create(&site, "command", json!({"incremental": {"overlapSeconds": 0}})).await;
    for (n, more) in [None, None, Some("--full")].into_iter().enumerate() {
        let log = site.folder.path().join(format!("command-{n}.log"));
        let mut options = ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), &log)
            .env("KUBECONFIG", &site.kubeconfig);
        for word in ["schedule", "run", "command", "-n", &site.namespace].into_iter().chain(more) {
            options = options.arg(word);
        }
        let mut command = stage::Process::start(&options).unwrap();
        assert_eq!(command.wait_at_most(PATIENCE).await.unwrap(), Some(0));
        let said = std::fs::read_to_string(&log).unwrap();
        let run = said
            .trim()
            .strip_prefix("fhirexport.fhirexport.dev/")
            .unwrap_or_else(|| panic!("{said}"))
            .to_owned();
        let before = scheduled.api().get("command").await.unwrap();
        scheduled.settled(&run).await;
        let since = site.complete(&run).await.spec.request.since;
        assert_eq!(since, covered(&before).filter(|_| more.is_none()));
    }
}

#[tokio::test]
async fn kubectl_shows_at_a_glance_how_it_stands() {
    let site = Site::start("glance").await;
    let scheduled =
        Scheduled::create(&site, "glance", json!({"incremental": {}, "schedule": "30 1 1 1 *"})).await;
    let run = scheduled.run_now("one").await;
    let covered = covered(&scheduled.settled(&run).await).unwrap();
    site.fhir.script(Script::stuck().container("glance"));
    let running = scheduled.run_now("two").await;
    site.until(&running, "running", kicked_off).await;
    let tool =
        shared().await.kubernetes.kubectl(["get", "fsched", "-n", site.namespace.as_str()]).await.unwrap();
    let table = tool.run().await.unwrap().stdout;
    let lines: Vec<&str> = table.lines().collect();
    for column in ["NAME", "SCHEDULE", "LAST SUCCESS", "NEXT RUN", "COVERED UNTIL", "RUNNING", "READY"] {
        assert!(lines[0].contains(column), "{table}");
    }
    for cell in ["glance", "30 1 1 1 *", "-01-01T01:30:00Z", covered.as_str(), running.as_str(), "True"] {
        assert!(lines[1].contains(cell), "{cell}: {table}");
    }
}
