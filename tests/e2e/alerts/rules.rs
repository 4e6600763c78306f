//! The alerts as the chart renders them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stage::{Folder, Output, Tool};

/// The path of a file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs `helm template` on the chart with `settings` as `metrics.prometheusRule`.
pub async fn template(settings: Value) -> Output {
    template_of("templates/alerts.yaml", json!({ "prometheusRule": settings })).await
}

/// Runs `helm template` for one template of the chart, with `settings` as `metrics`.
pub async fn template_of(path: &str, settings: Value) -> Output {
    let folder = Folder::new("alerts").unwrap();
    let args = [
        "template",
        "export",
        "charts/fhir-export-operator",
        "--kube-version",
        "1.33.0",
        "--show-only",
        path,
        "--values",
        "-",
    ];
    Tool::new(stage::helm().await.unwrap().program("HELM").unwrap(), args)
        .unwrap()
        .directory(&file(""))
        .env("HELM_CACHE_HOME", folder.path())
        .env("HELM_CONFIG_HOME", folder.path())
        .env("HELM_DATA_HOME", folder.path())
        .stdin(
            &json!({"image": {"repository": "registry.example/fhir-export-operator"},
            "metrics": settings})
            .to_string(),
        )
        .unwrap()
        .run()
        .await
        .unwrap()
}

/// The `PrometheusRule` that the chart renders with these settings.
pub async fn rendered(settings: Value) -> Value {
    let output = template(settings).await;
    assert_eq!(output.stderr, "");
    serde_saphyr::from_str(&output.ok().unwrap()).unwrap()
}

/// The rules of all groups.
pub fn rules(object: &Value) -> Vec<Value> {
    let groups = object["spec"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The names of the alerts among the rules.
pub fn names(rules: &[Value]) -> BTreeSet<String> {
    rules.iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

/// Runs promtool in a folder with the rules as `rules.yaml` and `tests` as `tests.yaml`.
pub async fn promtool(object: &Value, tests: &str, args: [&str; 3]) -> Output {
    let folder = Folder::new("promtool").unwrap();
    folder.write("rules.yaml", serde_json::to_string(&object["spec"]).unwrap()).unwrap();
    folder.write("tests.yaml", tests).unwrap();
    let program = stage::promtool().await.unwrap();
    let tool = Tool::new(program.program("PROMTOOL").unwrap(), args).unwrap();
    tool.directory(folder.path()).run().await.unwrap()
}

/// A selector of an expression: the name of a metric, and the values that its labels may have.
pub type Selector = (String, BTreeMap<String, Vec<String>>);

/// The selectors of the operator's metrics in an expression, without their negative matchers.
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find("fhir_export_") {
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = after.strip_prefix('{') {
            let inside = inside.split('}').next().unwrap();
            for matcher in inside.split("\",").map(|m| m.trim_end_matches('"')) {
                let (label, value) = matcher.split_once('"').unwrap_or_else(|| panic!("{expression}"));
                if let Some(label) = label.strip_suffix("=~") {
                    labels.insert(label.to_owned(), value.split('|').map(str::to_owned).collect());
                } else if let Some(label) = label.strip_suffix('=').filter(|l| !l.ends_with('!')) {
                    labels.insert(label.to_owned(), vec![value.to_owned()]);
                }
            }
        }
        found.push((name.to_owned(), labels));
        rest = after;
    }
    found
}
