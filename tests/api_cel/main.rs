//! Every rule of the schema, each way: what it lets pass, and what it refuses with which words at which field;
//! in this process, and by a real API server.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod manifests;
mod offline;
mod real;
mod refused;

use std::collections::BTreeSet;

use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer, crds};
use serde_json::Value;

use manifests::{accepted, changes};
use refused::refused;

/// `field: message` of each rule that refuses.
fn refusals(manifest: &Value) -> Vec<String> {
    let errors = match manifest["kind"].as_str().unwrap() {
        "FhirExport" => parsed::<FhirExport>(manifest).validate_cel().err(),
        "FhirExportSchedule" => parsed::<FhirExportSchedule>(manifest).validate_cel().err(),
        _ => parsed::<FhirServer>(manifest).validate_cel().err(),
    };
    told(errors)
}

fn told(errors: Option<kube::core::cel::ValidationErrors>) -> Vec<String> {
    let errors = errors.into_iter().flat_map(|errors| errors.into_iter().collect::<Vec<_>>());
    errors.map(|e| format!("{}: {}", e.field_path, e.message)).collect()
}

fn parsed<K: serde::de::DeserializeOwned>(manifest: &Value) -> K {
    serde_json::from_value(manifest.clone()).unwrap_or_else(|e| panic!("{e}: {manifest}"))
}

#[test]
fn what_breaks_a_rule_is_refused_at_the_field_in_its_words() {
    for (manifest, told) in refused() {
        assert_eq!(refusals(&manifest), [told], "{manifest}");
    }
}

#[test]
fn what_keeps_the_rules_passes() {
    for manifest in accepted() {
        assert_eq!(refusals(&manifest), Vec::<String>::new(), "{manifest}");
    }
}

#[test]
fn what_may_not_change_is_refused() {
    for (old, new, expected) in changes() {
        let errors = match new["kind"].as_str().unwrap() {
            "FhirExport" => parsed::<FhirExport>(&new).validate_cel_update(&parsed(&old)).err(),
            "FhirExportSchedule" => {
                parsed::<FhirExportSchedule>(&new).validate_cel_update(&parsed(&old)).err()
            }
            _ => parsed::<FhirServer>(&new).validate_cel_update(&parsed(&old)).err(),
        };
        assert_eq!(told(errors), expected, "{old} -> {new}");
    }
}

#[test]
fn every_rule_is_in_the_tables() {
    fn messages(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for rule in
                    map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
                {
                    found.insert(rule["message"].as_str().unwrap().to_string());
                    assert!(rule["reason"].is_string(), "{rule}");
                }
                map.values().for_each(|inner| messages(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| messages(inner, found)),
            _ => {}
        }
    }
    let mut rules = BTreeSet::new();
    for crd in crds().unwrap() {
        messages(&serde_json::to_value(crd).unwrap(), &mut rules);
    }
    let told = refused().into_iter().map(|(_, told)| told);
    let changed = changes().into_iter().flat_map(|(_, _, told)| told);
    let tried: BTreeSet<String> =
        told.chain(changed).map(|told| told.split_once(": ").unwrap().1.to_string()).collect();
    assert_eq!(rules, tried);
}
