//! Objects that no longer fit the schema, or fit no schema at all, beside objects that do.

use azure_fhir::{Access, KnownToken, Options, Script, Server};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::world::{shared, values};
use crate::release::{NAMESPACE, PATIENCE, Release, export, namespace, secret, server, start};

fn untyped(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("fhirexport.dev", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), "lab", &ApiResource::from_gvk(&kind))
}

/// Removes the validation from a definition, as an older or foreign definition may lack it.
async fn loosen(client: &Client, plural: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("{plural}.fhirexport.dev");
    let mut definition = serde_json::to_value(api.get(&name).await.unwrap()).unwrap();
    let version = definition["spec"]["versions"][0].as_object_mut().unwrap();
    version["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version.remove("selectableFields");
    let loose = serde_json::from_value(definition).unwrap();
    api.replace(&name, &PostParams::default(), &loose).await.unwrap();
}

/// Creates an object as soon as the API server accepts it.
async fn create(client: &Client, object: &Value) {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let api = untyped(client, &object.types.as_ref().unwrap().kind);
    let created = stage::wait_for("the API server to take anything", PATIENCE, || async {
        api.create(&PostParams::default(), &object).await.map_err(|e| e.to_string())
    });
    created.await.unwrap();
}

fn broken(name: &str, kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "lab"},
        "spec": spec})
}

/// A newer operator wrote a value that this one does not know, and a user deletes the export. The export stays, and the
/// operator sends no request about its job, until the status can be read again.
async fn a_status_of_tomorrow_is_left_alone(release: &Release, fhir: &Server, api: &Api<DynamicObject>) {
    fhir.script(Script::stuck().container("newer"));
    let request = json!({"level": "System", "container": "newer"});
    release.apply(&export("lab", "newer", "clinic", &request, &json!({}))).await;
    release.until("fexp/newer", "lab", "Reconciling=False KickedOff").await;
    let cancels = || fhir.requests().iter().filter(|r| r.is_cancel()).count();
    let before = cancels();
    let write = async |cancellation: Value| {
        let patch = Patch::Merge(json!({"status": {"cancellation": cancellation}}));
        api.patch_status("newer", &PatchParams::default(), &patch).await.unwrap()
    };
    write(json!({"requestTime": "2026-01-01T00:00:00Z", "reason": "OfTomorrow", "tries": 0})).await;
    release.kubectl("delete fexp newer -n lab --wait=false").await;
    let run = json!({"level": "System"});
    release.apply(&export("lab", "beside", "clinic", &run, &json!({}))).await;
    release.until("fexp/beside", "lab", "Complete=True Exported").await;
    release.kubectl("delete fexp beside -n lab --timeout=60s").await;
    let held = api.get("newer").await.unwrap();
    assert_eq!(held.data["status"]["cancellation"]["reason"], "OfTomorrow");
    assert_eq!((cancels(), held.metadata.finalizers.unwrap_or_default().len()), (before, 1));
    write(Value::Null).await;
    release.kubectl("wait --for=delete fexp/newer -n lab --timeout=90s").await;
    assert!(cancels() > before);
}

#[tokio::test]
async fn one_bad_object_never_stops_the_others() {
    let mut release = Release::install(&[namespace(NAMESPACE, &json!({}))], &values()).await;
    let client = release.kubernetes.client().await.unwrap();
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    release.apply(&namespace("lab", &json!({}))).await;
    release.apply(&secret("lab", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("lab")).await;
    release.apply(&server("lab", "clinic", &shared(&release, &fhir.url(), &json!({})))).await;
    loosen(&client, "fhirexports").await;
    loosen(&client, "fhirservers").await;

    let system = json!({"level": "System"});
    let odd = json!({"serverRef": {"name": "clinic"}, "request": {"level": "Everything"}});
    let deep = serde_json::from_str::<Value>(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).unwrap();
    for object in [
        broken("odd-level", "FhirExport", &odd),
        broken("no-spec", "FhirExport", &json!({})),
        broken("numbers", "FhirExport", &json!({"serverRef": 7, "request": "x", "suspend": "maybe"})),
        broken("deep", "FhirExport", &json!({"serverRef": {"name": deep}, "request": system})),
        broken("no-url", "FhirServer", &json!({"url": 7, "dialect": "Carrier pigeon"})),
        export("lab", "long", "clinic", &system, &json!({"suspend": true})),
    ] {
        create(&client, &object).await;
    }
    // One status is nearly as long as etcd accepts, and one has the wrong form.
    let api = untyped(&client, "FhirExport");
    for (name, status) in
        [("long", json!({"state": "x".repeat(1 << 20)})), ("no-spec", json!({"conditions": "none"}))]
    {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    // The running watch must handle these objects, and so must a new one, which begins with a list.
    release.apply(&export("lab", "watched", "clinic", &system, &json!({}))).await;
    release.until("fexp/watched", "lab", "Complete=True Exported").await;
    release.kubectl("patch fexp long -n lab --type=merge -p {\"spec\":{\"suspend\":false}}").await;
    release.until("fexp/long", "lab", "Complete=True Exported").await;
    release.operator.sigkill().await.unwrap();
    release.operator = start(&release.kubernetes, &release.folder).await;
    release.apply(&export("lab", "listed", "clinic", &system, &json!({}))).await;
    release.until("fexp/listed", "lab", "Complete=True Exported").await;
    let size = api.get("long").await.unwrap().data["status"].to_string().len();
    assert!(size < 16 * 1024, "{size}");

    a_status_of_tomorrow_is_left_alone(&release, &fhir, &api).await;

    // The operator continues repaired objects, and deleted ones are removed.
    let repaired = Patch::Merge(json!({"spec": {"request": {"level": "System"}}}));
    api.patch("odd-level", &PatchParams::default(), &repaired).await.unwrap();
    release.until("fexp/odd-level", "lab", "Complete=True Exported").await;
    release.kubectl("delete fexp no-spec numbers deep -n lab --timeout=60s").await;
    let left = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 4, "{:?}", left.items.iter().map(|o| &o.metadata.name).collect::<Vec<_>>());
}
