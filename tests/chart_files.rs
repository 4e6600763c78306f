//! The files of the charts in the repository: copies are current, versions agree, and values are documented.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fhir_export_operator::offline::{Checked, Definitions, read as documents};
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
fn the_tables_of_values_are_current() {
    let check = Command::new(file("charts/readme")).arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

/// Appends the path and the value of each leaf.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{name}"), value, found);
            }
        }
        Value::String(text) if !text.is_empty() => found.push((path.into(), text.clone())),
        other => found.push((path.into(), other.to_string())),
    }
}

#[test]
fn the_tables_of_values_name_each_with_its_default() {
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let readme = read(&format!("charts/{chart}/README.md"));
        let (_, readme) = readme.split_once("\n## Values\n").unwrap();
        let mut all = Vec::new();
        leaves("", &yaml(&format!("charts/{chart}/values.yaml")), &mut all);
        for (path, default) in &all {
            let rows: Vec<_> = readme.lines().filter(|l| l.starts_with(&format!("| `{path}` | `"))).collect();
            assert_eq!(rows.len(), 1, "{chart}: {path}");
            let shown = rows[0].split('`').nth(3).unwrap();
            let shown: Value = serde_saphyr::from_str(shown).unwrap();
            let mut same = Vec::new();
            leaves(path, &shown, &mut same);
            assert_eq!(same, [(path.clone(), default.clone())], "{chart}");
        }
    }
}

#[test]
fn the_icon_is_the_drawing_of_the_repository() {
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let chart = yaml(&format!("charts/{chart}/Chart.yaml"));
        let icon = chart["icon"].as_str().unwrap().strip_prefix("data:image/svg+xml;base64,").unwrap();
        assert_eq!(BASE64.decode(icon).unwrap(), read("charts/icon.svg").into_bytes());
    }
}

/// The kinds and the form of the annotations are those that Artifact Hub describes (helm_annotations in the
/// documentation of its repository).
#[test]
fn the_annotations_for_artifact_hub_are_what_it_reads() {
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let chart = yaml(&format!("charts/{chart}/Chart.yaml"));
        assert_eq!(chart["annotations"]["artifacthub.io/license"], env!("CARGO_PKG_LICENSE"));
        assert_eq!(chart["annotations"]["artifacthub.io/category"], "integration-delivery");
    }
    let chart = yaml("charts/fhir-export-operator/Chart.yaml");
    let annotation = |name: &str| {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap().to_owned();
        serde_saphyr::from_str::<Vec<Value>>(&text).unwrap()
    };
    let definitions = Definitions::load().unwrap();
    let kinds: BTreeSet<String> = definitions.kinds().cloned().collect();
    let told = annotation("crds");
    assert_eq!(
        told.iter().map(|crd| crd["kind"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
        kinds
    );
    for crd in &told {
        let name = crd["name"].as_str().unwrap();
        let written = yaml(&format!("crds/{}.yaml", name.split('.').next().unwrap()));
        assert_eq!(
            (&written["metadata"]["name"], &written["spec"]["names"]["kind"]),
            (&crd["name"], &crd["kind"])
        );
        assert_eq!(written["spec"]["versions"][0]["name"], crd["version"]);
        assert!(crd["displayName"].is_string() && crd["description"].is_string(), "{name}");
    }
    let examples = annotation("crdsExamples");
    assert_eq!(
        examples.iter().map(|e| e["kind"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
        kinds
    );
    for example in examples {
        for document in documents("Chart.yaml", &example.to_string()).unwrap() {
            match definitions.check(&document) {
                Checked::Valid => {}
                Checked::Refused(problems) => panic!("{problems:?}"),
                Checked::Foreign => panic!("{example}"),
            }
        }
    }
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
    for told in [
        &notes,
        &read("charts/fhir-export-operator-crds/templates/NOTES.txt"),
        &read("charts/fhir-export-operator/README.md"),
        &read("charts/fhir-export-operator-crds/README.md"),
    ] {
        // The table says what this value is in a clone.
        let told = told.replace("docs/runbooks.md", "");
        for folder in ["examples/", "docs/", "charts/", "crds/"] {
            assert!(!told.replace("charts/readme writes", "").contains(folder), "{folder}");
        }
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
