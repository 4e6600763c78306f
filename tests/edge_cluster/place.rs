//! One API server for all tests of this program, with a namespace for each test.

use std::time::Duration;

use fhir_export_operator::api::{FhirExport, FhirServer, crds};
use fhir_export_operator::cluster::definitions;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use stage::{Kubernetes, KubernetesOptions};
use tokio::sync::{OnceCell, watch};

pub const SOON: Duration = Duration::from_secs(30);
/// The namespace of an export that the schema once allowed and the program cannot read.
pub const MALFORMED: &str = "malformed";

static KUBERNETES: OnceCell<Kubernetes> = OnceCell::const_new();

/// Creates a namespace, and returns a client for the API server.
pub async fn namespace(name: &str) -> Client {
    let kubernetes = kubernetes().await;
    let client = kubernetes.client().await.unwrap();
    make_namespace(&client, name).await;
    client
}

pub async fn kubernetes() -> &'static Kubernetes {
    KUBERNETES.get_or_init(start).await
}

async fn start() -> Kubernetes {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    let client = kubernetes.client().await.unwrap();
    let (tell, mut told) = watch::channel(Vec::new());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move {
            definitions::wait(&client, |missing| tell.send_modify(|told| told.push(missing.to_owned())))
                .await;
        }
    });
    // The operator waits for definitions that are not installed yet.
    tokio::time::timeout(SOON, told.wait_for(|told| !told.is_empty())).await.unwrap().unwrap();
    install(&client, |crd| {
        let level = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/request/properties/level/enum";
        if let Some(levels) = crd.pointer_mut(level).and_then(Value::as_array_mut) {
            levels.push("Everything".into());
        }
    })
    .await;
    make_namespace(&client, MALFORMED).await;
    let malformed = json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirExport",
        "metadata": { "name": "odd", "namespace": MALFORMED },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "Everything" } },
    });
    let odd: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), MALFORMED, &ApiResource::erase::<FhirExport>(&()));
    odd.create(&PostParams::default(), &serde_json::from_value(malformed).unwrap()).await.unwrap();
    install(&client, |_| {}).await;

    // The wait for the definitions reported once what to do, and has ended.
    tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    let told = told.borrow().clone();
    assert!(
        told.first().is_some_and(|t| t.contains("fhir-export-operator crds | kubectl apply")),
        "{told:?}"
    );
    kubernetes
}

/// Installs the definitions, each after `change`.
pub async fn install(client: &Client, change: impl Fn(&mut Value)) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds().unwrap() {
        let name = crd.name_any();
        let mut body = serde_json::to_value(crd).unwrap();
        change(&mut body);
        body["apiVersion"] = "apiextensions.k8s.io/v1".into();
        body["kind"] = "CustomResourceDefinition".into();
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&body)).await.unwrap();
        let established = await_condition(api.clone(), &name, is_crd_established());
        tokio::time::timeout(SOON, established).await.unwrap().unwrap();
    }
}

pub async fn make_namespace(client: &Client, name: &str) {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let body = json!({ "metadata": { "name": name, "labels": { "team": name } } });
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
}

/// Creates an export of the server `clinic`.
pub async fn make_export(client: &Client, namespace: &str, name: &str) -> FhirExport {
    make_export_on(client, namespace, name, "clinic").await
}

/// Creates an export of the server `server`.
pub async fn make_export_on(client: &Client, namespace: &str, name: &str, server: &str) -> FhirExport {
    let body = json!({
        "metadata": { "name": name },
        "spec": { "serverRef": { "name": server }, "request": { "level": "System" } },
    });
    let body: FhirExport = serde_json::from_value(body).unwrap();
    exports(client, namespace).create(&PostParams::default(), &body).await.unwrap()
}

/// Creates the server `clinic`.
pub async fn make_server(client: &Client, namespace: &str) -> FhirServer {
    make_server_at(client, namespace, "clinic", "https://clinic.example.org").await
}

/// Creates a server with this base URL, on which up to 1000 exports may run at once.
pub async fn make_server_at(client: &Client, namespace: &str, name: &str, url: &str) -> FhirServer {
    let body = json!({
        "metadata": { "name": name },
        "spec": {
            "url": url,
            "dialect": "Azure",
            "auth": { "type": "None" },
            "limits": { "maxConcurrentExports": 1000 },
        },
    });
    let body: FhirServer = serde_json::from_value(body).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &body).await.unwrap()
}

pub fn exports(client: &Client, namespace: &str) -> Api<FhirExport> {
    Api::namespaced(client.clone(), namespace)
}
