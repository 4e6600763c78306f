//! The files of the charts in the repository: copies are current, versions agree, and values are documented.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

fn schema(chart: &str) -> Value {
    let whole: Value = serde_json::from_str(&read(&format!("charts/{chart}/values.schema.json"))).unwrap();
    resolved(&whole, &whole)
}

/// Replaces each reference to another part of the schema by that part.
fn resolved(whole: &Value, part: &Value) -> Value {
    if let Some(reference) = part["$ref"].as_str() {
        return resolved(whole, whole.pointer(reference.trim_start_matches('#')).unwrap());
    }
    match part {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), resolved(whole, value))).collect()
        }
        Value::Array(items) => items.iter().map(|item| resolved(whole, item)).collect(),
        plain => plain.clone(),
    }
}

#[test]
fn the_copies_in_the_charts_are_current() {
    let check = Command::new(file("charts/sync")).arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

#[test]
fn there_is_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let chart = yaml(&format!("charts/{chart}/Chart.yaml"));
        assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
        if let Some(dependency) = chart["dependencies"].get(0) {
            assert_eq!(dependency["version"], version);
        }
    }
}

/// Appends each schema of an object to `found`, with its path.
fn objects<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if schema["type"] == "object" {
        found.push((path.into(), schema));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        objects(&format!("{path}.{name}"), inner, found);
    }
    if let Some(items) = schema.get("items") {
        objects(&format!("{path}[]"), items, found);
    }
}

#[test]
fn the_schemas_are_closed_but_for_types_of_kubernetes() {
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let schema = schema(chart);
        let mut found = Vec::new();
        objects("", &schema, &mut found);
        let open = found.iter().filter(|(_, s)| s["additionalProperties"].as_bool() != Some(false));
        for (path, schema) in open {
            let typed = schema["additionalProperties"].is_object();
            let of_others = ["of Kubernetes.", "of the Prometheus Operator."];
            let foreign = schema["description"]
                .as_str()
                .is_some_and(|told| of_others.iter().any(|other| told.ends_with(other)));
            assert!(typed || foreign || path.ends_with(".global"), "{chart} {path} takes anything");
        }
    }
}

fn compare(path: &str, values: &Value, schema: &Value) {
    if schema["additionalProperties"].is_object() {
        return;
    }
    for name in values.as_object().into_iter().flatten().map(|(name, _)| name) {
        let known = schema["properties"].get(name).is_some();
        assert!(known, "{path}.{name} is in values.yaml and not in the schema");
        compare(&format!("{path}.{name}"), &values[name], &schema["properties"][name]);
    }
}

#[test]
fn every_value_is_in_the_schema_and_in_the_documented_file() {
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let (text, schema) = (read(&format!("charts/{chart}/values.yaml")), schema(chart));
        compare("", &yaml(&format!("charts/{chart}/values.yaml")), &schema);
        let mut found = Vec::new();
        objects("", &schema, &mut found);
        let within = found.iter().filter(|(path, _)| !path.contains("[]"));
        for name in within.filter_map(|(_, s)| s["properties"].as_object()).flatten().map(|(name, _)| name) {
            let written = text
                .lines()
                .any(|line| line.trim_start().trim_start_matches("# ").starts_with(&format!("{name}:")));
            assert!(written || name == "global", "{chart}: {name} is not in values.yaml");
        }
    }
}

/// A user who installs from a registry has the chart's notes and README, but no other file of the repository.
#[test]
fn the_notes_point_to_nothing_that_only_a_clone_has() {
    let notes = read("charts/fhir-export-operator/templates/NOTES.txt");
    for folder in ["examples/", "docs/", "charts/", "crds/"] {
        assert!(!notes.contains(folder), "{folder}");
    }
    assert!(
        notes.contains("helm show readme")
            && read("charts/fhir-export-operator/README.md").contains("```yaml")
    );
}

#[test]
fn the_command_that_uninstalls_is_in_the_readme_and_in_the_notes() {
    let command = "kubectl delete fsched,fexp --all -A && kubectl delete fserver --all -A && helm uninstall";
    for path in ["README.md", "charts/fhir-export-operator/templates/NOTES.txt"] {
        assert!(read(path).contains(command), "{path}");
    }
}
