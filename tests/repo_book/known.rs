//! What commands and manifests may name: kinds, fields, conditions, values of the chart.

use std::sync::LazyLock;

use fhir_export_operator::api::{ConditionType, crds};
use fhir_export_operator::offline::Definitions;
use serde_json::{Value, json};

use crate::pages::read;

/// One of our kinds, by all names that kubectl knows it by.
pub struct Known {
    pub kind: String,
    names: Vec<String>,
    pub schema: Value,
}

pub static KINDS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let all = crds().unwrap().into_iter();
    all.map(|crd| {
        let names = crd.spec.names;
        let schema = crd.spec.versions.into_iter().next().unwrap().schema.unwrap().open_api_v3_schema;
        let mut known = vec![names.plural.clone(), names.kind.to_lowercase()];
        known.push(format!("{}.{}", names.plural, crd.spec.group));
        known.extend(names.short_names.into_iter().flatten());
        Known { kind: names.kind, names: known, schema: serde_json::to_value(schema).unwrap() }
    })
    .collect()
});

pub static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| Definitions::load().unwrap());

/// The values of the chart.
static VALUES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&read("charts/fhir-export-operator/values.schema.json")).unwrap());

/// The condition types that the operator writes.
pub fn conditions() -> impl Iterator<Item = String> {
    let all = [
        ConditionType::Accepted,
        ConditionType::Reconciling,
        ConditionType::Suspended,
        ConditionType::ServerReachable,
        ConditionType::KickOffUncertain,
        ConditionType::Verified,
        ConditionType::Complete,
        ConditionType::Failed,
        ConditionType::Stalled,
        ConditionType::Ready,
        ConditionType::Authenticated,
        ConditionType::StorageAccessible,
        ConditionType::ChainIntact,
        ConditionType::LastRunSucceeded,
        ConditionType::OldFilesDeleted,
    ];
    all.into_iter().map(|type_| type_.to_string())
}

/// Our kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.names.iter().any(|known| known == name))
}

/// What is wrong with the spec of an object of which only a part is shown; `None` if it is right for one of our kinds.
pub fn wrong_fragment(spec: &Value) -> Option<String> {
    let of = |kind: &Kind| {
        let object = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": kind.kind, "spec": spec });
        let definition = DEFINITIONS.find(&kind.kind, DEFINITIONS.version()).unwrap();
        let faults = definition.faults(&object, None);
        let wrong: Vec<String> = faults
            .into_iter()
            .filter(|fault| fault.rule.is_none() && fault.message != "is required")
            .map(|fault| fault.to_string())
            .collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    };
    let wrong: Vec<Option<String>> = KINDS.iter().map(of).collect();
    if wrong.iter().any(Option::is_none) { None } else { wrong.into_iter().flatten().min_by_key(String::len) }
}

/// Whether the path leads to a field of a schema. Names are separated by dots; `[…]` stands for any item.
pub fn has_field(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, index) = part.split_once('[').map_or((part, false), |(name, _)| (name, true));
        if at["additionalProperties"].is_object() || at["x-kubernetes-preserve-unknown-fields"] == true {
            return true;
        }
        at = &at["properties"][name];
        if index {
            at = &at["items"];
        }
    }
    at.is_object()
}

/// Whether the chart has a value of this name, such as `volumes[0].claimName`.
pub fn has_value(path: &str) -> bool {
    has_field(&VALUES, path)
}

#[test]
fn what_does_not_exist_is_not_known() {
    let export = kind("fexp").unwrap();
    assert!(kind("fhirexports").is_some() && kind("fexps").is_none());
    assert!(has_field(&export.schema, ".status.output.types[0].type"));
    assert!(!has_field(&export.schema, ".status.output.kinds"));
    assert!(has_value("metrics.serviceMonitor.enabled") && !has_value("metrics.monitor"));
    assert_eq!(wrong_fragment(&json!({ "retention": { "fullChains": 4 } })), None);
    assert!(wrong_fragment(&json!({ "retention": { "chains": 4 } })).is_some());
}
