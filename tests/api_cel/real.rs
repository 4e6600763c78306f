//! The same tables, tried on a real API server: it must say the same.

use std::time::Duration;

use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer, crds};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Client, Resource};
use serde_json::Value;
use stage::{Kubernetes, KubernetesOptions};

use crate::manifests::{accepted, changes};
use crate::offline::mismatched;
use crate::refused::refused;

#[tokio::test]
async fn the_api_server_says_the_same() {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    let client = kubernetes.client().await.unwrap();
    installed_without_a_warning(&kubernetes).await;
    established(&client).await;
    let namespace = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"fhir"}}"#;
    kubectl(&kubernetes, &["apply", "-f", "-"], namespace).await;

    let only_try = PostParams { dry_run: true, ..PostParams::default() };
    for manifest in accepted() {
        let created = api(&client, &manifest).create(&only_try, &object(&manifest)).await;
        created.unwrap_or_else(|e| panic!("{e}: {manifest}"));
    }
    for (manifest, told) in refused() {
        let refusal = api(&client, &manifest).create(&only_try, &object(&manifest)).await.err();
        says(refusal, told, &manifest);
    }
    for (manifest, field, _) in mismatched() {
        // kubectl asks for strict validation, by which the API server refuses unknown fields.
        let tool = kubernetes.kubectl(["create", "--dry-run=server", "-f", "-"]).await.unwrap();
        let said = tool.stdin(&manifest.to_string()).unwrap().run().await.unwrap();
        assert!(!said.succeeded() && said.stderr.contains(field), "{field}: {}: {manifest}", said.stderr);
    }
    for (number, (mut old, mut new, told)) in changes().into_iter().enumerate() {
        for manifest in [&mut old, &mut new] {
            manifest["metadata"]["name"] = format!("changed-{number}").into();
        }
        let api = api(&client, &old);
        let there = api.create(&PostParams::default(), &object(&old)).await.unwrap();
        new["metadata"]["resourceVersion"] = there.metadata.resource_version.unwrap().into();
        let name = there.metadata.name.unwrap();
        let answer = api.replace(&name, &PostParams::default(), &object(&new)).await;
        match told.first() {
            None => assert!(answer.is_ok(), "{answer:?}: {new}"),
            Some(told) => says(answer.err(), told, &new),
        }
    }
    for kind in [
        "fhirserver",
        "fhirexport.spec.request",
        "fexp.status.output",
        "fserver.spec.auth.entra",
        "fsched.spec.incremental",
        "fsched.status.chain",
    ] {
        let said = kubectl(&kubernetes, &["explain", kind], "").await;
        assert!(said.contains("DESCRIPTION:"), "{said}");
    }
    kubernetes.stop().await.unwrap();
}

/// `told` is `field: message`; the API server puts the kind of mistake, and for texts the value, between the two.
fn says(refusal: Option<kube::Error>, told: &str, manifest: &Value) {
    let Some(kube::Error::Api(status)) = refusal else { panic!("not refused, but {refusal:?}: {manifest}") };
    let (field, message) = told.split_once(": ").unwrap();
    // So it calls an object as a whole.
    let field = if field.is_empty() { "<nil>" } else { field };
    let causes = status.details.unwrap().causes;
    let found = causes.iter().any(|cause| cause.field == field && cause.message.ends_with(message));
    assert!(found, "{told} is not in {causes:?}: {manifest}");
    assert_eq!(causes.len(), 1, "{causes:?}: {manifest}");
}

async fn installed_without_a_warning(kubernetes: &Kubernetes) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    for arguments in
        [vec!["apply", "-f", folder], vec!["apply", "--server-side", "--force-conflicts", "-f", folder]]
    {
        let done = kubernetes.kubectl(arguments).await.unwrap().run().await.unwrap();
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    }
}

async fn established(client: &Client) {
    for crd in crds().unwrap() {
        let wait = await_condition(
            Api::all(client.clone()),
            crd.metadata.name.as_deref().unwrap(),
            is_crd_established(),
        );
        tokio::time::timeout(Duration::from_mins(1), wait).await.unwrap().unwrap();
    }
}

async fn kubectl(kubernetes: &Kubernetes, arguments: &[&str], stdin: &str) -> String {
    let tool = kubernetes.kubectl(arguments.iter().copied()).await.unwrap().stdin(stdin).unwrap();
    tool.run().await.unwrap().ok().unwrap()
}

fn api(client: &Client, manifest: &Value) -> Api<DynamicObject> {
    let resource = match manifest["kind"].as_str() {
        Some("FhirExport") => resource::<FhirExport>(),
        Some("FhirExportSchedule") => resource::<FhirExportSchedule>(),
        _ => resource::<FhirServer>(),
    };
    Api::namespaced_with(client.clone(), "fhir", &resource)
}

fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

fn object(manifest: &Value) -> DynamicObject {
    serde_json::from_value(manifest.clone()).unwrap()
}
