//! An API server that was restored from a backup, without the operator's last writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use fhir_export_operator::api::FhirExport;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use stage::wait_until;
use tokio::net::TcpListener;

use crate::fake::FakeServer;
use crate::operate::{Running, start};
use crate::place::{SOON, exports, make_export, make_server, namespace};

/// A resource version that is higher than every version in the restored API server.
const LATER: u64 = 1_000_000_000;

struct Between {
    client: Client,
    /// Whether the first write of a status was answered.
    restored: AtomicBool,
}

/// Forwards requests to the API server. The answer to the first write of an export's status carries a resource version
/// from before the restore, which no object in the API server has any more.
async fn between(State(between): State<Arc<Between>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let writes = parts.method == "PATCH" && parts.uri.path().ends_with("/fhirexports/one/status");
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut passed_on = axum::http::Request::builder().method(parts.method).uri(parts.uri);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            passed_on = passed_on.header(name, value);
        }
    }
    let answer = between.client.send(passed_on.body(body.to_vec().into()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = Body::new(body);
    if !writes || between.restored.swap(true, Ordering::SeqCst) {
        return Response::from_parts(parts, body);
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut object: Value = serde_json::from_slice(&body).unwrap();
    object["metadata"]["resourceVersion"] = LATER.to_string().into();
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&object).unwrap()))
        .unwrap()
}

#[tokio::test]
async fn an_export_goes_on_after_the_api_server_was_restored_to_an_earlier_version() {
    let admin = namespace("restored").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new(Between { client: admin.clone(), restored: AtomicBool::new(false) });
    let router = Router::new().fallback(between).with_state(state.clone());
    let way = tokio::spawn(async { axum::serve(listener, router).await });
    let mut settings = kube::Config::new(url.parse().unwrap());
    settings.default_retry = false;
    let client = Client::try_from(settings).unwrap();

    let server = FakeServer::new();
    server.answer(10);
    make_server(&admin, "restored").await;
    make_export(&admin, "restored", "one").await;
    let running = start(&client, "restored", &server).await;
    wait_until("the export to have a job", SOON, || async {
        let one = exports(&admin, "restored").get("one").await.unwrap();
        one.status.and_then(|status| status.job?.status_url).is_some()
    })
    .await
    .unwrap();
    assert!(state.restored.load(Ordering::SeqCst));
    assert_eq!(*server.kick_offs().borrow(), 1);
    running.stop.send(()).unwrap();
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
    way.abort();
}

async fn stop(running: Running) {
    running.stop.send(()).unwrap();
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
}

/// Waits until an export shows this state.
async fn until(all: &Api<FhirExport>, name: &str, state: &str) -> FhirExport {
    wait_until(&format!("{name} to be {state}"), SOON, || async {
        all.get(name).await.unwrap().status.and_then(|status| status.state_word()) == Some(state)
    })
    .await
    .unwrap();
    all.get(name).await.unwrap()
}

/// Deletes an export for good, as if the cluster were lost.
async fn lose(all: &Api<FhirExport>, name: &str) {
    let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    all.patch(name, &PatchParams::default(), &released).await.unwrap();
    all.delete(name, &DeleteParams::default()).await.unwrap();
    wait_until("the export to be gone", SOON, || async { all.get_opt(name).await.unwrap().is_none() })
        .await
        .unwrap();
}

/// Creates an export as it was saved, and then writes its status if `with_status` says so: a creation drops it.
async fn restore(all: &Api<FhirExport>, saved: &FhirExport, with_status: bool) {
    let mut object = saved.clone();
    (object.metadata.uid, object.metadata.resource_version) = (None, None);
    let mut created = all.create(&PostParams::default(), &object).await.unwrap();
    assert!(created.status.as_ref().is_none_or(|status| status.job.is_none()), "a creation keeps no status");
    if with_status {
        created.status.clone_from(&saved.status);
        all.replace_status(&saved.name_any(), &PostParams::default(), &created).await.unwrap();
    }
}

#[tokio::test]
async fn a_saved_export_goes_on_with_its_status_and_exports_again_without_it() {
    let client = namespace("saved").await;
    let all = exports(&client, "saved");
    let server = FakeServer::new();
    server.answer(10);
    make_server(&client, "saved").await;
    for name in ["followed", "ended", "anew", "late"] {
        make_export(&client, "saved", name).await;
    }
    let running = start(&client, "saved", &server).await;
    for name in ["followed", "ended", "anew", "late"] {
        until(&all, name, "Running").await;
    }
    let cancel = Patch::Merge(json!({ "spec": { "cancel": true } }));
    all.patch("ended", &PatchParams::default(), &cancel).await.unwrap();
    until(&all, "ended", "Cancelled").await;
    stop(running).await;
    assert_eq!(*server.kick_offs().borrow(), 4);

    let mut saved = all.list(&ListParams::default()).await.unwrap().items;
    for object in &mut saved {
        lose(&all, &object.name_any()).await;
        if object.name_any() == "late" {
            object.spec.kick_off_before = Some("2026-01-01T00:00:00Z".parse().unwrap());
        }
        restore(&all, object, matches!(object.name_any().as_str(), "followed" | "ended")).await;
    }

    let running = start(&client, "saved", &server).await;
    until(&all, "anew", "Running").await;
    let late = until(&all, "late", "Failed").await.status.unwrap();
    assert_eq!(late.reason.as_deref(), Some("StartWindowMissed"));
    let url = |export: &FhirExport| export.status.as_ref()?.job.as_ref()?.status_url.clone();
    let was = |name: &str| saved.iter().find(|object| object.name_any() == name).unwrap();
    assert_ne!(url(&all.get("anew").await.unwrap()), url(was("anew")), "it is another job");
    // The job that the restored export follows is still its own to cancel.
    all.patch("followed", &PatchParams::default(), &cancel).await.unwrap();
    let followed = until(&all, "followed", "Cancelled").await;
    assert_eq!(url(&followed), url(was("followed")));
    let ended = all.get("ended").await.unwrap().status;
    assert_eq!(ended.and_then(|s| s.completion_time), was("ended").status.as_ref().unwrap().completion_time);
    assert_eq!(*server.kick_offs().borrow(), 5, "only the export without a status was started again");
    stop(running).await;
}
