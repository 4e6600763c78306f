//! An API server that was restored from a backup, without the operator's last writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use kube::Client;
use serde_json::Value;
use stage::wait_until;
use tokio::net::TcpListener;

use crate::fake::FakeServer;
use crate::operate::start;
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
