//! Cancels by `spec.cancel` and by deletion, with each generation of the server.

use azure_fhir::{CancelProfile, Fault, Life, Script, State, Step};
use fhir_export_operator::api::{FhirExport, FhirExportStatus, FhirServer};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use stage::wait_for;

use crate::site::{PATIENCE, Site, condition, shared};

const GENERATIONS: [(&str, CancelProfile); 5] = [
    ("b2026", CancelProfile::Build2026),
    ("b2022", CancelProfile::Build2022),
    ("b2025", CancelProfile::Build2025),
    ("buggy", CancelProfile::Buggy),
    ("slow", CancelProfile::Slow { polls: 2 }),
];

fn stopped(state: &State) -> bool {
    matches!(state, State::Gone | State::CancelledEmpty | State::Stopping { .. })
}

#[tokio::test]
async fn a_running_job_is_cancelled_by_spec_on_every_generation() {
    let site = Site::start("cancel").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 20}})).await;
    for (name, profile) in GENERATIONS {
        let container = format!("cancel-{name}");
        site.fhir.script(Script { cancel: profile, ..Script::stuck() }.container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
    }
    for (name, _) in GENERATIONS {
        site.until(name, "running", |o| {
            o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
        })
        .await;
        site.change(name, json!({"cancel": true})).await;
        let object = site.failed(name, "Cancelled").await;
        let status = object.status.clone().unwrap();
        assert_eq!(status.state_word(), Some("Cancelled"), "{name}");
        assert!(condition(&object, "Complete").is_none(), "{name}");
        let job = site.fhir.job(status.job.unwrap().id.as_deref().unwrap()).unwrap();
        assert!(stopped(&job.state), "{name}: {:?}", job.state);
        assert_eq!(job.cancel_requests, 1, "{name}");
        site.until(name, "let go", |o| o.finalizers().is_empty()).await;
    }
}

#[tokio::test]
async fn a_running_job_is_cancelled_by_deletion_on_every_generation() {
    let site = Site::start("delete").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 20}})).await;
    for (name, profile) in GENERATIONS {
        let container = format!("delete-{name}");
        site.fhir.script(Script { cancel: profile, ..Script::stuck() }.container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
    }
    for (name, _) in GENERATIONS {
        site.until(name, "running", |o| {
            o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
        })
        .await;
        site.delete(name).await;
        site.gone(name).await;
        let events = site.events(name).await;
        assert!(events.iter().any(|(r, note)| r == "Cancelled" && note.contains("confirmed")), "{events:?}");
    }
    assert!(site.fhir.jobs().iter().all(|j| stopped(&j.state)));
    assert_eq!(site.cancels(), GENERATIONS.len());
}

#[tokio::test]
async fn a_finished_job_is_told_as_what_it_is_and_never_deleted_on_the_server() {
    let site = Site::start("finished").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 20}})).await;
    for (name, profile) in GENERATIONS {
        let container = format!("finished-{name}");
        site.fhir.script(Script { cancel: profile, ..Script::stuck() }.container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
        let object = site
            .until(name, "running", |o| {
                o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
            })
            .await;
        let id = object.status.unwrap().job.unwrap().id.unwrap();
        // The job ends while the cancel is on its way.
        site.change(name, json!({"suspend": true})).await;
        site.until_condition(name, "Suspended", "True", "Suspended").await;
        site.fhir.rescript(&id, |script| script.life = Life::Polls(0));
        site.change(name, json!({"cancel": true})).await;
        site.complete(name).await;
    }
    assert_eq!(site.cancels(), 0);
}

#[tokio::test]
async fn before_the_start_there_is_nothing_to_cancel() {
    let site = Site::start("before").await;
    let elsewhere = json!({"serverRef": {"name": "later"}});
    site.export("spec", json!({"level": "System", "container": "before"}), elsewhere.clone()).await;
    site.until_condition("spec", "Reconciling", "True", "ServerNotFound").await;
    site.change("spec", json!({"cancel": true})).await;
    site.failed("spec", "Cancelled").await;
    site.export("gone", json!({"level": "System", "container": "before"}), elsewhere).await;
    let object = site.until_condition("gone", "Reconciling", "True", "ServerNotFound").await;
    assert!(object.finalizers().is_empty());
    site.delete("gone").await;
    site.gone("gone").await;
    assert_eq!((site.kick_offs(), site.cancels()), (0, 0));
}

#[tokio::test]
async fn a_server_that_never_agrees_is_given_up_and_told() {
    let site = Site::start("refuses").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 20}})).await;
    for (name, fault) in [
        ("internal", Fault::Internal { outcome: true }),
        ("forbidden", Fault::Forbidden),
        ("unavailable", Fault::Unavailable { outcome: false }),
        ("reset", Fault::Reset),
    ] {
        let container = format!("refuses-{name}");
        let script = Script { cancel_faults: vec![Step::times(1000, fault)], ..Script::stuck() };
        site.fhir.script(script.clone().container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
        site.until(name, "running", |o| {
            o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
        })
        .await;
        site.change(name, json!({"cancel": true})).await;
    }
    for name in ["internal", "forbidden", "unavailable", "reset"] {
        let object = site.failed(name, "CancelUnconfirmed").await;
        assert_eq!(object.status.unwrap().unsettled_jobs.len(), 1, "{name}");
    }
    let script = Script { cancel_faults: vec![Step::times(1000, Fault::Forbidden)], ..Script::stuck() };
    site.fhir.script(script.container("refuses-deleted"));
    site.export("deleted", json!({"level": "System", "container": "refuses-deleted"}), json!({})).await;
    site.until("deleted", "running", |o| {
        o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
    })
    .await;
    site.delete("deleted").await;
    site.gone("deleted").await;
    let events = site.events("deleted").await;
    assert!(events.iter().any(|(reason, _)| reason == "CancelUnconfirmed"), "{events:?}");
}

#[tokio::test]
async fn abandon_leaves_the_job_alone() {
    let site = Site::start("abandon").await;
    site.fhir.script(Script::stuck());
    site.export(
        "abandon",
        json!({"level": "System", "container": "abandon"}),
        json!({"deletionPolicy": "Abandon"}),
    )
    .await;
    site.until("abandon", "running", |o| {
        o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
    })
    .await;
    site.delete("abandon").await;
    site.gone("abandon").await;
    assert_eq!((site.cancels(), &site.fhir.jobs()[0].state), (0, &State::Running));
}

/// The Secret and the FhirServer are deleted first. The token in memory and the finalizer of the FhirServer suffice for
/// the cancel.
#[tokio::test]
async fn the_secret_and_the_server_may_go_first() {
    let options = azure_fhir::Options {
        access: azure_fhir::Access::Tokens(vec![azure_fhir::KnownToken::exporter("first-token")]),
        ..azure_fhir::Options::default()
    };
    let mut site = Site::without_server("first", options).await;
    site.secret("token", json!({"token": "first-token"}), true).await;
    let auth = json!({"auth": {"type": "BearerToken",
        "bearerToken": {"secretRef": {"name": "token", "key": "token"}}}});
    site.apply_server(auth).await;
    site.start_operator().await;
    site.fhir.script(Script::stuck());
    site.export("first", json!({"level": "System", "container": "first"}), json!({})).await;
    site.until("first", "running", |o| {
        o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
    })
    .await;
    let secrets: Api<Secret> = site.api();
    secrets.delete("token", &DeleteParams::default()).await.unwrap();
    let servers: Api<FhirServer> = site.api();
    servers.delete("clinic", &DeleteParams::default()).await.unwrap();
    assert!(servers.get("clinic").await.unwrap().metadata.deletion_timestamp.is_some());
    site.delete("first").await;
    site.gone("first").await;
    assert_eq!(site.cancels(), 1);
    let result = wait_for("the server to be gone", PATIENCE, || async {
        match servers.get_opt("clinic").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    site.told(result);
}

#[tokio::test]
async fn a_namespace_with_running_exports_can_be_deleted() {
    let site = Site::start("namespace").await;
    for name in ["one", "two", "three"] {
        site.fhir.script(Script::stuck());
        site.export(name, json!({"level": "System", "container": "namespace"}), json!({})).await;
    }
    for name in ["one", "two", "three"] {
        site.until(name, "running", |o| {
            o.status.as_ref().and_then(FhirExportStatus::state_word) == Some("Running")
        })
        .await;
    }
    let namespaces: Api<Namespace> = Api::all(shared().await.kubernetes.client().await.unwrap());
    namespaces.delete(&site.namespace, &DeleteParams::default()).await.unwrap();
    let exports: Api<FhirExport> = site.api();
    let result = wait_for("the namespace to be gone", PATIENCE, || async {
        match namespaces.get_opt(&site.namespace).await {
            Ok(None) => Ok(()),
            _ => Err(format!("{:?}", exports.list(&ListParams::default()).await.map(|l| l.items.len()))),
        }
    })
    .await;
    site.told(result);
    assert_eq!(site.cancels(), 3);
    assert!(site.fhir.jobs().iter().all(|j| stopped(&j.state)));
}
