//! The charts as Helm renders them: the rights of the operator, the confinement of its pod, the rejected values, and
//! the notes.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod notes;
mod pod;
mod published;
mod rights;
mod values;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stage::{Output, Tool};

const OPERATOR: &str = "charts/fhir-export-operator";
const CRDS: &str = "charts/fhir-export-operator-crds";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// Renders a chart with these values, and with an image if they name none.
async fn template(chart: &str, values: &Value) -> Output {
    let mut values = values.clone();
    if chart == OPERATOR {
        let image = || json!({ "repository": "registry.example/fhir-export-operator" });
        values.as_object_mut().unwrap().entry("image").or_insert_with(image);
    }
    template_as_it_is(chart, &values).await
}

async fn template_as_it_is(chart: &str, values: &Value) -> Output {
    template_for(&[], chart, values).await
}

/// Renders a chart for a cluster that serves these APIs besides those of Kubernetes.
async fn template_for(apis: &[&str], chart: &str, values: &Value) -> Output {
    let parts = stage::helm().await.unwrap();
    let folder = stage::Folder::new("charts").unwrap();
    let args =
        ["template", "export", chart, "--namespace", "ops", "--kube-version", "1.33.0", "--values", "-"];
    let args = args.into_iter().chain(apis.iter().flat_map(|api| ["--api-versions", api]));
    Tool::new(parts.program("HELM").unwrap(), args)
        .unwrap()
        .directory(&file(""))
        .env("HELM_CACHE_HOME", folder.path())
        .env("HELM_CONFIG_HOME", folder.path())
        .env("HELM_DATA_HOME", folder.path())
        .stdin(&values.to_string())
        .unwrap()
        .run()
        .await
        .unwrap()
}

async fn rendered(chart: &str, values: Value) -> Vec<Value> {
    let output = template(chart, &values).await;
    // Helm prints warnings to standard error, for example about symbolic links.
    assert_eq!(output.stderr, "", "{values}");
    yaml(&output.ok().unwrap())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|o| o["kind"] == kind).collect()
}

/// The image of the operator's container.
fn image(objects: &[Value]) -> &str {
    let deployment = of_kind(objects, "Deployment")[0];
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

/// Whether the rules of a role grant `verb` on `resource`.
fn gives(role: &Value, resource: &str, verb: &str) -> bool {
    let has = |rule: &Value, list: &str, word: &str| {
        rule[list].as_array().unwrap().iter().any(|w| w == word || w == "*")
    };
    role["rules"].as_array().unwrap().iter().any(|r| has(r, "resources", resource) && has(r, "verbs", verb))
}

fn namespaces(roles: &[&Value], resource: &str, verb: &str) -> Vec<String> {
    let at = |r: &&&Value| gives(r, resource, verb);
    roles.iter().filter(at).map(|r| r["metadata"]["namespace"].as_str().unwrap().into()).collect()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let deployment = of_kind(objects, "Deployment")[0];
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    args.iter().map(|a| a.as_str().unwrap().into()).collect()
}
