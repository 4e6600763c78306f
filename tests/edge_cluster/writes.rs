//! Writes of statuses and finalizers, deletions, and events.

use std::time::{Duration, Instant};

use fhir_export_operator::api::{
    CANCEL_FINALIZER, Condition, ConditionStatus, FhirExport, FhirExportStatus, IN_USE_FINALIZER, Job,
    Reason, RunState,
};
use fhir_export_operator::cluster::KubeCluster;
use fhir_export_operator::core::effect::{Note, NoteType};
use fhir_export_operator::metrics::Metrics;
use fhir_export_operator::ports::{Cluster, ClusterFailure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use stage::wait_until;

use crate::place::{SOON, exports, kubernetes, make_export, make_server, namespace};

fn cluster(client: &Client) -> KubeCluster {
    KubeCluster::new(client.clone(), Metrics::new())
}

fn condition(type_: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: ConditionStatus::True,
        observed_generation: Some(1),
        last_transition_time: "2026-01-01T00:00:00Z".parse().unwrap(),
        reason: "Reachable".into(),
        message: "it is".into(),
    }
}

fn running() -> FhirExportStatus {
    FhirExportStatus {
        observed_generation: Some(1),
        state: Some(RunState::Running),
        conditions: vec![condition("Accepted"), condition("ServerReachable")],
        job: Some(Job {
            id: Some("7".into()),
            status_url: None,
            intent_time: "2026-01-01T00:00:00Z".parse().unwrap(),
            kick_off_time: None,
            progress: None,
            separate_status: None,
            destination: None,
        }),
        ..FhirExportStatus::default()
    }
}

#[tokio::test]
async fn what_is_no_longer_said_vanishes_from_status() {
    let client = namespace("vanishes").await;
    let read = make_export(&client, "vanishes", "one").await;
    assert_eq!(read.status.as_ref().and_then(|s| s.observed_generation), Some(-1));
    let cluster = cluster(&client);
    let written = cluster.write_export_status(&read, &running()).await.unwrap();
    assert_eq!(written.status, Some(running()));
    assert!(written.managed_fields().is_empty());

    let less = FhirExportStatus { conditions: vec![condition("Complete")], job: None, ..running() };
    let written = cluster.write_export_status(&written, &less).await.unwrap();
    assert_eq!(written.status, Some(less.clone()));
    let there = exports(&client, "vanishes").get("one").await.unwrap();
    assert_eq!(there.status, Some(less.clone()));
    assert_eq!(there.spec, read.spec);

    let again = cluster.write_export_status(&written, &less).await.unwrap();
    assert_eq!(again.resource_version(), written.resource_version(), "the same says nothing new");
}

#[tokio::test]
async fn a_stale_write_is_a_conflict_even_if_it_would_change_nothing() {
    let client = namespace("stale-same").await;
    let read = make_export(&client, "stale-same", "one").await;
    let cluster = cluster(&client);
    let written = cluster.write_export_status(&read, &running()).await.unwrap();
    let touch = Patch::Merge(json!({ "metadata": { "labels": { "touched": "yes" } } }));
    let touched = exports(&client, "stale-same").patch("one", &PatchParams::default(), &touch).await.unwrap();

    assert_eq!(
        cluster.write_export_status(&written, &running()).await.unwrap_err(),
        ClusterFailure::Conflict
    );
    let again = cluster.write_export_status(&touched, &running()).await.unwrap();
    assert_eq!(again.resource_version(), touched.resource_version());
}

#[tokio::test]
async fn a_stale_write_is_a_conflict_and_changes_nothing() {
    let client = namespace("stale").await;
    let read = make_export(&client, "stale", "one").await;
    let cluster = cluster(&client);
    let touch = Patch::Merge(json!({ "metadata": { "labels": { "touched": "yes" } } }));
    let api = exports(&client, "stale");
    let touched = api.patch("one", &PatchParams::default(), &touch).await.unwrap();

    assert_eq!(cluster.write_export_status(&read, &running()).await.unwrap_err(), ClusterFailure::Conflict);
    assert_eq!(cluster.set_export_finalizer(&read, true).await.unwrap_err(), ClusterFailure::Conflict);
    assert_eq!(cluster.delete_export(&read).await.unwrap_err(), ClusterFailure::Conflict);
    let there = api.get("one").await.unwrap();
    assert_eq!(there.resource_version(), touched.resource_version());

    let mut another = touched.clone();
    another.metadata.uid = Some("another".into());
    assert_eq!(cluster.delete_export(&another).await.unwrap_err(), ClusterFailure::Conflict);
    let mut unversioned = touched.clone();
    unversioned.metadata.resource_version = None;
    let failure = cluster.write_export_status(&unversioned, &running()).await.unwrap_err();
    assert!(matches!(failure, ClusterFailure::Other(_)), "it would win over anything");

    cluster.delete_export(&touched).await.unwrap();
    cluster.delete_export(&touched).await.unwrap();
    assert_eq!(
        cluster.write_export_status(&touched, &running()).await.unwrap_err(),
        ClusterFailure::NotFound
    );
    assert_eq!(cluster.set_export_finalizer(&touched, true).await.unwrap_err(), ClusterFailure::NotFound);
}

#[tokio::test]
async fn finalizers_of_others_stay() {
    let client = namespace("finalizers").await;
    let read = make_export(&client, "finalizers", "one").await;
    let cluster = cluster(&client);
    let ours = cluster.set_export_finalizer(&read, true).await.unwrap();
    assert_eq!(ours.finalizers(), [CANCEL_FINALIZER]);
    let same = cluster.set_export_finalizer(&ours, true).await.unwrap();
    assert_eq!(same.resource_version(), ours.resource_version());

    let api = exports(&client, "finalizers");
    let both = Patch::Merge(json!({ "metadata": { "finalizers": ["example.org/x", CANCEL_FINALIZER] } }));
    let both = api.patch("one", &PatchParams::default(), &both).await.unwrap();
    let theirs = cluster.set_export_finalizer(&both, false).await.unwrap();
    assert_eq!(theirs.finalizers(), ["example.org/x"]);
    let back = cluster.set_export_finalizer(&theirs, true).await.unwrap();
    assert_eq!(back.finalizers(), ["example.org/x", CANCEL_FINALIZER]);

    let server = make_server(&client, "finalizers").await;
    let held = cluster.set_server_finalizer(&server, true).await.unwrap();
    assert_eq!(held.finalizers(), [IN_USE_FINALIZER]);
    assert!(cluster.set_server_finalizer(&held, false).await.unwrap().finalizers().is_empty());
}

fn note(message: &str) -> Note {
    Note {
        type_: NoteType::Warning,
        reason: Reason::CancelUnconfirmed,
        action: "Cancel",
        message: message.into(),
        folder: None,
    }
}

async fn events(client: &Client, about: &FhirExport) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), &about.namespace().unwrap());
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.into_iter()
        .filter(|e| e.regarding.as_ref().and_then(|r| r.uid.as_deref()) == about.metadata.uid.as_deref())
        .collect()
}

#[tokio::test]
async fn events_are_folded_and_cut() {
    let client = namespace("events").await;
    let one = make_export(&client, "events", "one").await;
    let cluster = cluster(&client);
    cluster.publish(&one, &note(&"long ".repeat(400))).await;
    // The version of the object changes between the two events, which must still count as events of one object.
    let changed = cluster.write_export_status(&one, &running()).await.unwrap();
    cluster.publish(&changed, &note("again")).await;
    cluster.events_posted().await;
    let published = events(&client, &one).await;
    assert_eq!(published.len(), 1, "{published:?}");
    let event = published.first().unwrap();
    assert_eq!(event.series.as_ref().map(|s| s.count), Some(2));
    assert_eq!(event.reporting_controller.as_deref(), Some("fhir-export-operator"));
    assert_eq!(event.reason.as_deref(), Some("CancelUnconfirmed"));
    assert!(event.note.as_ref().is_some_and(|n| n.len() <= 1024 && n.ends_with('…')));
}

#[tokio::test]
async fn in_a_namespace_that_goes_events_are_no_hindrance() {
    let client = namespace("goes").await;
    let read = make_export(&client, "goes", "one").await;
    let cluster = cluster(&client);
    let held = cluster.set_export_finalizer(&read, true).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete("goes", &DeleteParams::default()).await.unwrap();
    let api = exports(&client, "goes");
    wait_until("the export to be deleted with its namespace", SOON, || async {
        api.get("one").await.is_ok_and(|e| e.metadata.deletion_timestamp.is_some())
    })
    .await
    .unwrap();

    let started = Instant::now();
    cluster.publish(&held, &note("nobody reads this")).await;
    cluster.events_posted().await;
    assert!(started.elapsed() < Duration::from_secs(2), "it was not tried again");
    let now = api.get("one").await.unwrap();
    let written = cluster.write_export_status(&now, &running()).await.unwrap();
    cluster.set_export_finalizer(&written, false).await.unwrap();
    wait_until("the namespace to go", SOON, || async { namespaces.get_opt("goes").await.unwrap().is_none() })
        .await
        .unwrap();
}

#[tokio::test]
async fn labels_of_namespaces_are_read() {
    let client = namespace("labelled").await;
    let cluster = cluster(&client);
    let labels = cluster.namespace_labels("labelled").await.unwrap();
    assert_eq!(labels.get("team").map(String::as_str), Some("labelled"));
    assert_eq!(labels.get("kubernetes.io/metadata.name").map(String::as_str), Some("labelled"));
    assert_eq!(cluster.namespace_labels("nowhere").await.unwrap_err(), ClusterFailure::NotFound);
}

#[tokio::test]
async fn a_missing_right_is_told_in_one_sentence() {
    let client = namespace("rights").await;
    let read = make_export(&client, "rights", "one").await;
    let stranger = kubernetes().await.client_for("default", "rights").await.unwrap();
    let failure = cluster(&stranger).write_export_status(&read, &running()).await.unwrap_err();
    let text = failure.to_string();
    assert!(
        text.starts_with(
            "The API server does not let the operator write the status of FhirExport rights/one"
        ),
        "{text}"
    );
    assert!(text.ends_with("check the operator's Role."), "{text}");
}
