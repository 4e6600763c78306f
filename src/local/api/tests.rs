#![allow(clippy::unwrap_used)]

use futures::{StreamExt, TryStreamExt};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::super::state::StateFile;
use super::*;
use crate::api::{FhirExport, FhirServer};
use crate::offline::Definitions;

struct Place {
    _folder: tempfile::TempDir,
    client: Client,
    exports: Api<FhirExport>,
}

fn place(secrets: Secrets) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (file, contents) = StateFile::open(&folder.path().join("state.json")).unwrap();
    let objects = Arc::new(Objects::new(file, contents, Definitions::load().unwrap()));
    let named = |kind, name: &str| Key { kind, namespace: "ns".into(), name: name.into() };
    objects.work_on([named(Kind::FhirExport, "one"), named(Kind::FhirExport, "two")]);
    let client = client(objects, Arc::new(secrets));
    Place { _folder: folder, exports: Api::namespaced(client.clone(), "ns"), client }
}

fn export(name: &str) -> FhirExport {
    serde_json::from_value(json!({ "metadata": { "name": name },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } }))
    .unwrap()
}

fn status(version: Option<&str>, state: &str) -> Patch<Value> {
    Patch::Apply(json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": { "name": "one", "resourceVersion": version }, "status": { "state": state } }))
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn an_object_lives_as_in_a_cluster() {
    let Place { exports, client, _folder } = place(Secrets::default());
    let made = exports.create(&PostParams::default(), &export("one")).await.unwrap();
    assert_eq!((made.namespace().as_deref(), made.metadata.generation), (Some("ns"), Some(1)));
    assert_eq!(code(&exports.create(&PostParams::default(), &export("one")).await.unwrap_err()), 409);
    let version = made.resource_version();
    let apply = PatchParams::apply("test").force();
    let written = exports.patch_status("one", &apply, &status(version.as_deref(), "Running")).await.unwrap();
    assert_eq!(written.status.as_ref().unwrap().state_word(), Some("Running"));
    let stale = exports.patch_status("one", &apply, &status(version.as_deref(), "Failed")).await.unwrap_err();
    assert_eq!(code(&stale), 409);
    let finalizer = |version: Option<String>, on: &Value| {
        let operations = json!([{ "op": "replace", "path": "/metadata/resourceVersion", "value": version },
            { "op": "add", "path": "/metadata/finalizers", "value": on }]);
        Patch::Json::<()>(serde_json::from_value(operations).unwrap())
    };
    let parameters = PatchParams::default();
    let stale = exports.patch("one", &parameters, &finalizer(version, &json!(["a.b/c"]))).await.unwrap_err();
    assert_eq!(code(&stale), 409);
    let current = written.resource_version();
    let held = exports.patch("one", &parameters, &finalizer(current, &json!(["a.b/c"]))).await.unwrap();
    let annotation = Patch::Merge(json!({ "metadata": { "annotations": { "a.b/c": "d" } } }));
    let annotated = exports.patch("one", &parameters, &annotation).await.unwrap();
    assert_eq!((annotated.finalizers(), annotated.annotations().len()), (held.finalizers(), 1));
    exports.delete("one", &DeleteParams::background()).await.unwrap();
    let waits = exports.get("one").await.unwrap();
    assert!(waits.metadata.deletion_timestamp.is_some());
    exports.patch("one", &parameters, &finalizer(waits.resource_version(), &json!([]))).await.unwrap();
    assert!(exports.get_opt("one").await.unwrap().is_none());
    let servers: Api<FhirServer> = Api::all(client);
    assert!(servers.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_watch_tells_what_happens_after_the_list() {
    let Place { exports, _folder, .. } = place(Secrets::default());
    exports.create(&PostParams::default(), &export("one")).await.unwrap();
    let listed = exports.list(&ListParams::default()).await.unwrap();
    let version = listed.metadata.resource_version.unwrap();
    let changes = exports.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    exports.create(&PostParams::default(), &export("two")).await.unwrap();
    exports.delete("two", &DeleteParams::default()).await.unwrap();
    exports.create(&PostParams::default(), &export("other")).await.unwrap();
    exports.delete("one", &DeleteParams::default()).await.unwrap();
    let seen: Vec<WatchEvent<FhirExport>> = changes.take(3).try_collect().await.unwrap();
    let seen: Vec<String> = seen
        .iter()
        .map(|event| match event {
            WatchEvent::Added(export) => format!("added {}", export.name_any()),
            WatchEvent::Deleted(export) => format!("deleted {}", export.name_any()),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["added two", "deleted two", "deleted one"]);
    let ends = exports.watch(&WatchParams::default().timeout(1), &version).await.unwrap();
    assert_eq!(ends.count().await, 3, "it ends with its time");
}

#[tokio::test]
async fn a_version_of_an_earlier_process_has_to_list_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let (file, _) = StateFile::open(&path).unwrap();
    file.save(5, std::iter::empty()).unwrap();
    drop(file);
    let (file, contents) = StateFile::open(&path).unwrap();
    let objects = Arc::new(Objects::new(file, contents, Definitions::load().unwrap()));
    let exports: Api<FhirExport> = Api::all(client(objects, Arc::default()));
    let mut changes = exports.watch(&WatchParams::default(), "4").await.unwrap().boxed();
    let first = changes.next().await.unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Error(status) if status.code == 410), "the one event is Gone");
}

#[tokio::test]
async fn the_definitions_are_there_and_what_only_a_cluster_has_is_not() {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

    let mut secrets = Secrets::default();
    let secret =
        json!({ "metadata": { "name": "token", "namespace": "ns" }, "stringData": { "key": "t0ken" } });
    secrets.add_secret("ns", "token", secret).unwrap();
    let Place { client, _folder, .. } = place(secrets);
    let served = client.list_api_group_resources("fhirexport.dev/v1alpha1").await.unwrap();
    assert_eq!(served.resources.len(), 6);
    let read: Api<Secret> = Api::namespaced(client.clone(), "ns");
    let data = read.get("token").await.unwrap().data.unwrap();
    assert_eq!(data.get("key").unwrap().0, b"t0ken");
    assert!(read.get_opt("other").await.unwrap().is_none());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "ns");
    assert!(maps.get_opt("other").await.unwrap().is_none());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "ns");
    assert!(accounts.get_opt("exporter").await.unwrap().is_none());
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    let labels = namespaces.get_metadata("ns").await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels.get("kubernetes.io/metadata.name").unwrap(), "ns");
}
