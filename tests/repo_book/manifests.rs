//! The YAML in the pages: whole objects pass the offline check, and parts of them name fields that exist.

use fhir_export_operator::offline::{Checked, Document, read as documents};
use serde_json::{Value, json};

use crate::known::{DEFINITIONS, has_value, wrong_fragment};
use crate::nothing;
use crate::pages::{Block, blocks_in, read};

/// What is wrong with one document of a block.
fn wrong(document: &Document) -> Option<String> {
    let object = document.object();
    if object.get("kind").is_some() {
        return match DEFINITIONS.check(document) {
            Checked::Valid => None,
            Checked::Foreign if object["apiVersion"].is_string() => None,
            Checked::Foreign => Some("has no apiVersion".to_owned()),
            Checked::Refused(problems) => {
                Some(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        };
    }
    let fields = object.as_object()?;
    if let Some(spec) = fields.get("spec") {
        return wrong_fragment(spec);
    }
    if let Some(repositories) = fields.get("repos") {
        return wrong_hooks(repositories);
    }
    if fields.keys().all(|name| has_value(name)) {
        return wrong_values("", &object);
    }
    wrong_fragment(&object)
}

/// What the chart does not have of these values.
fn wrong_values(path: &str, values: &Value) -> Option<String> {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match values {
        Value::Object(fields) => fields.iter().find_map(|(name, inner)| wrong_values(&below(name), inner)),
        Value::Array(items) => items.iter().find_map(|item| wrong_values(&format!("{path}[0]"), item)),
        _ => (!has_value(path)).then(|| format!("the chart has no value {path}")),
    }
}

fn wrong_hooks(repositories: &Value) -> Option<String> {
    let hooks: Vec<Value> = serde_saphyr::from_str(&read(".pre-commit-hooks.yaml")).unwrap();
    let used = repositories.as_array()?.iter().flat_map(|r| r["hooks"].as_array().into_iter().flatten());
    used.filter_map(|hook| hook["id"].as_str())
        .find(|id| !hooks.iter().any(|hook| hook["id"] == *id))
        .map(|id| format!("there is no hook {id}"))
}

fn wrong_in(block: &Block) -> Vec<String> {
    match documents(&block.place, &block.text) {
        Ok(documents) if documents.is_empty() => vec![format!("{}: nothing is in it", block.place)],
        Ok(documents) => {
            documents.iter().filter_map(wrong).map(|problem| format!("{}: {problem}", block.place)).collect()
        }
        Err(problem) => vec![problem.to_string()],
    }
}

#[test]
fn every_manifest_in_the_pages_is_valid() {
    let blocks = blocks_in(&["yaml"]);
    assert!(!blocks.is_empty());
    nothing(&blocks.iter().flat_map(wrong_in).collect::<Vec<_>>());
}

#[test]
fn a_mistake_is_found_in_each_form() {
    let problems = |text: &str| {
        let text = text.to_owned();
        wrong_in(&Block { place: "p:1".into(), language: "yaml".into(), text }).len()
    };
    let export = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport", "metadata": { "name": "a" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } });
    assert_eq!(problems(&export.to_string()), 0);
    assert_eq!(problems(&export.to_string().replace("System", "Everything")), 1);
    for (right, wrong) in [
        ("spec: {suspend: true}", "spec: {suspended: true}"),
        ("storage: {type: Volume}", "storage: {type: Tape}"),
        ("volumes: [{claimName: lake}]", "volumes: [{claim: lake}]"),
        ("repos: [{hooks: [{id: fhir-export-plan}]}]", "repos: [{hooks: [{id: fhir-export-play}]}]"),
    ] {
        assert_eq!((problems(right), problems(wrong)), (0, 1), "{wrong}");
    }
}
