//! Measures how much memory a running export takes, as the watch delivers it and as this process writes it.
//! The figure is that of the whole process, so the test runs in a process of its own: this program with only
//! that test.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::*;
use crate::cluster::client_within;
use crate::cluster::watch::{Change, Watches};

const NAME: &str = "controller::runs::footprint::running_exports_are_in_memory_once";
const EXPORTS: u64 = 2000;
/// The number of exports before the first measurement, so that one-time costs do not count.
const FIRST: u64 = 500;
/// The most memory that an export may take, in bytes.
const MOST: u64 = 6144;

/// The memory of this process, in bytes.
fn memory() -> u64 {
    stage::memory(std::process::id(), "VmRSS").unwrap()
}

/// A running export as the API server shows it.
fn export(number: u64, version: u64) -> Value {
    let time = "2026-11-24T02:00:00Z";
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time,
            "observedGeneration": 1 })
    };
    let url = "https://fhir.hospital-north.example.org/fhir";
    let conditions = json!({ "f:a": {}, "f:b": {}, "f:c": {} });
    let fields = json!({ "f:status": { "f:conditions": conditions, "f:job": { "f:id": {} } } });
    json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": {
            "name": format!("nightly-diabetes-cohort-{number}"), "namespace": format!("research-{}", number % 50),
            "uid": format!("6f1c2f5e-8a51-4c55-9d5e-{number:012}"), "resourceVersion": version.to_string(),
            "generation": 1, "creationTimestamp": time, "finalizers": ["fhirexport.dev/cancel-job"],
            "managedFields": [
                { "manager": "fhir-export-operator", "operation": "Apply", "apiVersion": "fhirexport.dev/v1alpha1",
                    "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": "status" },
                { "manager": "kubectl-client-side-apply", "operation": "Update", "time": time,
                    "apiVersion": "fhirexport.dev/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": fields },
            ],
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": fields.to_string().repeat(4) },
        },
        "spec": {
            "serverRef": { "name": format!("clinic-{}", number % 20), "namespace": "fhir" },
            "request": { "level": "Group", "groupId": format!("cohort-{}", number % 500),
                "types": ["Patient", "Observation", "Condition"], "container": "lake" },
            "activeDeadlineSeconds": 86400, "ttlSecondsAfterFinished": 3600,
        },
        "status": {
            "observedGeneration": 1, "state": "Running", "attempts": 1,
            "acceptedTime": time, "startTime": time,
            "server": { "uid": "0b2c7f80-0d6a-41a4-8f3e-2f3c1f3b9a10", "url": url },
            "job": { "id": number.to_string(), "statusURL": format!("{url}/_operations/export/{number}"),
                "intentTime": time, "container": "lake",
                "progress": { "summary": format!("{version}%"), "percent": version } },
            "conditions": [
                condition("Accepted", "True", "Allowed", "FhirServer fhir/clinic allows this export (FHIR 4.0.1); a \
                    Group export may hold a resource more than once and does not hold the Group itself"),
                condition("Reconciling", "True", "Running", "the server works on the job"),
                condition("ServerReachable", "True", "Answered", "the server answers"),
                condition("Suspended", "False", "NotSuspended", "not held"),
            ],
        },
    })
}

type Events = mpsc::Receiver<String>;

/// Starts an API server that lists nothing, and whose watch of exports shows what comes from a channel.
async fn api_server(exports: Events, tasks: &mut JoinSet<()>) -> kube::Client {
    let exports = Arc::new(Mutex::new(Some(exports)));
    let answer = async |State(exports): State<Arc<Mutex<Option<Events>>>>, request: Request| {
        let (uri, json) = (request.uri().to_string(), [("content-type", "application/json")]);
        if !uri.contains("watch=") {
            let list = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "List", "items": [],
                "metadata": { "resourceVersion": "1" } });
            return (json, Body::from(list.to_string()));
        }
        let shown = if uri.contains("/fhirexports?") { locked(&exports).take() } else { None };
        let nothing_more = futures::stream::pending();
        let lines = futures::stream::unfold(shown, async |shown| {
            let mut shown = shown?;
            Some((shown.recv().await?, Some(shown)))
        });
        let lines = lines.chain(nothing_more).map(Ok::<_, std::convert::Infallible>);
        (json, Body::from_stream(lines))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().fallback(any(answer)).with_state(exports);
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    client_within(kube::Config::new(url), Duration::from_secs(60)).unwrap()
}

fn event(kind: &str, number: u64, version: u64) -> String {
    format!("{}\n", json!({ "type": kind, "object": export(number, version) }))
}

#[tokio::test]
async fn running_exports_are_in_memory_once() {
    if !stage::runs_alone(NAME).unwrap() {
        return;
    }
    let (events, shows) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let client = api_server(shows, &mut tasks).await;
    let (runs, watches) = (Arc::new(Runs::default()), Watches::new(client, &BTreeSet::new()));
    let stores = watches.stores();
    let (count, mut counted) = watch::channel(0);
    let told = Arc::clone(&runs);
    let shown = move |change: Change<FhirExport>| {
        told.shown(&change);
        count.send_modify(|count| *count += 1);
    };
    for watching in watches.start(shown, |_| {}, |_| {}) {
        tasks.spawn(watching.work);
    }
    let mut before = 0;
    for number in 0..FIRST + EXPORTS {
        if number == FIRST {
            before = memory();
        }
        events.send(event("ADDED", number, 10)).await.unwrap();
        counted.wait_for(|count| *count == 2 * number + 1).await.unwrap();
        // The reconcile writes the status, and the watch shows what it wrote.
        let uid = format!("6f1c2f5e-8a51-4c55-9d5e-{number:012}");
        runs.keep(&uid, runs.recall(&uid).unwrap(), false);
        runs.wrote(&serde_json::from_value(export(number, 11)).unwrap());
        runs.note_place(&uid, true);
        events.send(event("MODIFIED", number, 11)).await.unwrap();
        counted.wait_for(|count| *count == 2 * number + 2).await.unwrap();
    }
    let each = memory().saturating_sub(before) / EXPORTS;
    eprintln!("{each} bytes for each export; {} for what is remembered of a run", size_of::<Run>());
    let all = crate::ports::Stores::exports(&stores);
    assert_eq!(all.len() as u64, FIRST + EXPORTS);
    assert!(all.iter().all(|export| Arc::ptr_eq(export, &runs.newest(export))), "one object");
    assert!(each < MOST, "{each} bytes for each export");
    tasks.shutdown().await;
}
