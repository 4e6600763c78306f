//! An API server within the process: what the operator asks of one, for the objects of a state file.
//!
//! It has the paths, answers and rules of a cluster's API server as far as the operator uses them, so that the
//! operator's own client and watches work on it unchanged. It listens on no port: the client calls it directly. Lists
//! have one page. There are no Leases, because the lock of the state file admits one process only.

mod patch;
mod watch;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch as patch_route, post};
use axum::{Json, Router};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::objects::{Objects, Preconditions, meta};
use super::refusal::Refusal;
use super::secrets::Secrets;
use crate::api::{GROUP, VERSION};
use crate::show::{Key, ObjectKind};

/// The namespace of objects that name none.
pub const NAMESPACE: &str = "default";

type Answer = Result<Json<Value>, Refusal>;

/// What requests are answered from.
#[derive(Clone)]
struct Server {
    objects: Arc<Objects>,
    secrets: Arc<Secrets>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.code(), Json(self.status())).into_response()
    }
}

/// A client of an API server for these objects and Secrets. Must be called in a runtime, which serves the requests.
pub fn client(objects: Arc<Objects>, secrets: Arc<Secrets>) -> Client {
    Client::new(router(Server { objects, secrets }), NAMESPACE)
}

fn router(server: Server) -> Router {
    let group = format!("/apis/{GROUP}/{VERSION}");
    let kinds = Router::new()
        .route("/", get(resources))
        .route("/{plural}", get(list_all))
        .route("/namespaces/{namespace}/{plural}", get(list).post(create))
        .route("/namespaces/{namespace}/{plural}/{name}", get(read).patch(change).delete(delete))
        .route("/namespaces/{namespace}/{plural}/{name}/status", patch_route(write_status));
    Router::new()
        .nest(&group, kinds)
        .route(&format!("/openapi/v3/apis/{GROUP}/{VERSION}"), get(schemas))
        .route("/api/v1/namespaces/{namespace}", get(namespace))
        .route("/api/v1/namespaces/{namespace}/secrets/{name}", get(secret))
        .route("/api/v1/namespaces/{namespace}/configmaps/{name}", get(config_map))
        .route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(event))
        .fallback(nothing)
        .with_state(server)
}

/// The operator logs what it publishes as events, so they are not kept. A repeated event is one to create anew.
async fn event(Json(event): Json<Value>) -> Json<Value> {
    Json(event)
}

async fn nothing(uri: axum::http::Uri) -> Refusal {
    Refusal::NotFound(format!("{} (it exists only in a cluster)", uri.path()))
}

async fn resources() -> Json<Value> {
    let resource = |name: String, kind: ObjectKind| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind.as_str(), "verbs": [] });
    let resources: Vec<Value> = ObjectKind::ALL
        .into_iter()
        .flat_map(|kind| {
            [resource(kind.plural().into(), kind), resource(format!("{}/status", kind.plural()), kind)]
        })
        .collect();
    let version = format!("{GROUP}/{VERSION}");
    Json(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources }),
    )
}

async fn schemas(State(server): State<Server>) -> Json<Value> {
    let schema = |kind: ObjectKind| {
        let mut schema = server.objects.definitions().find(kind.as_str(), VERSION)?.schema().clone();
        let named = json!([{ "group": GROUP, "version": VERSION, "kind": kind.as_str() }]);
        schema.as_object_mut()?.insert("x-kubernetes-group-version-kind".into(), named);
        Some((kind.as_str().to_owned(), schema))
    };
    let all: serde_json::Map<String, Value> = ObjectKind::ALL.into_iter().filter_map(schema).collect();
    Json(json!({ "components": { "schemas": all } }))
}

/// A namespace has the label that every namespace of a cluster has.
async fn namespace(Path(namespace): Path<String>) -> Json<Value> {
    Json(json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {
        "name": namespace, "labels": { "kubernetes.io/metadata.name": namespace } } }))
}

async fn secret(State(server): State<Server>, Path((namespace, name)): Path<(String, String)>) -> Answer {
    server.secrets.secret(&namespace, &name).map(Json)
}

async fn config_map(State(server): State<Server>, Path((namespace, name)): Path<(String, String)>) -> Answer {
    server.secrets.config_map(&namespace, &name).map(Json)
}

/// The parameters of a list or watch that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default)]
    watch: bool,
    resource_version: Option<String>,
    timeout_seconds: Option<u64>,
}

async fn list_all(
    server: State<Server>,
    Path(plural): Path<String>,
    asked: Query<Asked>,
) -> Result<Response, Refusal> {
    listed(&server.objects, None, &plural, &asked)
}

async fn list(
    server: State<Server>,
    Path((namespace, plural)): Path<(String, String)>,
    asked: Query<Asked>,
) -> Result<Response, Refusal> {
    listed(&server.objects, Some(namespace), &plural, &asked)
}

fn listed(
    objects: &Arc<Objects>,
    namespace: Option<String>,
    plural: &str,
    asked: &Asked,
) -> Result<Response, Refusal> {
    let kind = kind(plural)?;
    if asked.watch {
        let from = asked.resource_version.as_deref().unwrap_or_default();
        let from = from.parse().map_err(|_| Refusal::BadRequest("a watch needs a resourceVersion".into()))?;
        let changes = watch::lines(objects.clone(), kind, namespace, from, asked.timeout_seconds);
        let type_ = [(header::CONTENT_TYPE, "application/json")];
        return Ok((type_, Body::from_stream(changes)).into_response());
    }
    let (version, items) = objects.list(kind, namespace.as_deref());
    let list = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": format!("{kind}List"),
        "metadata": { "resourceVersion": version.to_string() }, "items": items });
    Ok(Json(list).into_response())
}

async fn read(server: State<Server>, Path(path): Path<(String, String, String)>) -> Answer {
    server.objects.get(&key(path)?).map(Json)
}

async fn create(
    server: State<Server>,
    Path((namespace, plural)): Path<(String, String)>,
    Json(mut object): Json<Value>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let name = meta(&object, "name").unwrap_or_default().to_owned();
    let key = Key { kind: kind(&plural)?, namespace, name };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".into(), json!(key.namespace));
    }
    let made = stored(&server, move |objects| objects.create(&key, object)).await?;
    Ok((StatusCode::CREATED, made))
}

async fn change(
    server: State<Server>,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let key = key(path)?;
    let change = patch::Change::read(&headers, &body)?;
    stored(&server, move |objects| objects.update(&key, |old| change.apply(old))).await
}

async fn write_status(
    server: State<Server>,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let key = key(path)?;
    let patch::AppliedStatus { version, status } = patch::AppliedStatus::read(&headers, &body)?;
    stored(&server, move |objects| objects.write_status(&key, version.as_deref(), status)).await
}

async fn delete(server: State<Server>, Path(path): Path<(String, String, String)>, body: Bytes) -> Answer {
    let key = key(path)?;
    let options: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = |member: &str| options.get("preconditions")?.get(member)?.as_str().map(str::to_owned);
    let preconditions = Preconditions { uid: asked("uid"), resource_version: asked("resourceVersion") };
    stored(&server, move |objects| objects.delete(&key, &preconditions)).await
}

/// Makes a change on a thread that may wait for the disk.
async fn stored(
    server: &Server,
    change: impl FnOnce(&Objects) -> Result<Value, Refusal> + Send + 'static,
) -> Answer {
    let objects = server.objects.clone();
    let done = tokio::task::spawn_blocking(move || change(&objects)).await;
    done.unwrap_or_else(|e| Err(Refusal::NotWritten(e.to_string()))).map(Json)
}

fn kind(plural: &str) -> Result<ObjectKind, Refusal> {
    ObjectKind::of_plural(plural).ok_or_else(|| Refusal::NotFound(plural.to_owned()))
}

fn key((namespace, plural, name): (String, String, String)) -> Result<Key, Refusal> {
    Ok(Key { kind: kind(&plural)?, namespace, name })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
