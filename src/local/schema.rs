//! Checks objects against the custom resource definitions, as the API server of a cluster does: the schema first, then
//! its CEL rules.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use super::key::Kind;
use crate::api::crds;
use crate::stop::Stop;

thread_local! {
    static VALIDATOR: Validator = Validator::new();
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.request.groupID`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// The definitions of all kinds.
pub struct Definitions(BTreeMap<Kind, Definition>);

struct Definition {
    /// The OpenAPI schema of the whole object.
    schema: Value,
    rules: CompiledSchema,
}

impl Definitions {
    /// The definitions of this version of the operator.
    pub fn new() -> Result<Self, Stop> {
        let broken = |e: serde_json::Error| {
            Stop::because(format!("The custom resource definitions cannot be made: {e}."))
        };
        let mut all = BTreeMap::new();
        for crd in crds().map_err(broken)? {
            let Some(kind) = Kind::named(&crd.spec.names.kind) else { continue };
            let schema = crd.spec.versions.into_iter().next().and_then(|v| v.schema?.open_api_v3_schema);
            let schema = serde_json::to_value(schema).map_err(broken)?;
            all.insert(kind, Definition { rules: compile_schema(&schema), schema });
        }
        Ok(Self(all))
    }

    /// The OpenAPI schema of a kind.
    pub fn schema(&self, kind: Kind) -> Option<&Value> {
        Some(&self.0.get(&kind)?.schema)
    }

    /// Checks an object, and its change if `old` is what it was before. The rules are checked only if the schema finds
    /// no fault. Returns at least one fault if it fails.
    pub fn check(&self, kind: Kind, object: &Value, old: Option<&Value>) -> Result<(), Vec<Fault>> {
        let Some(definition) = self.0.get(&kind) else { return Ok(()) };
        let mut faults = Vec::new();
        for (field, value) in object.as_object().into_iter().flatten() {
            match field.as_str() {
                "apiVersion" | "kind" | "metadata" | "status" => {}
                "spec" => {
                    if let Some(schema) = definition.schema.pointer("/properties/spec") {
                        check(schema, value, field, &mut faults);
                    }
                }
                _ => faults.push(unknown(field, ["apiVersion", "kind", "metadata", "spec"].into_iter())),
            }
        }
        if object.get("spec").is_none() {
            faults.push(fault("spec", "it is required"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        VALIDATOR.with(|validator| validator.validate_compiled(&definition.rules, object, old)).map_err(
            |errors| {
                errors
                    .iter()
                    .map(|error| fault(error.field_path.trim_start_matches('.'), &error.message))
                    .collect()
            },
        )
    }
}

fn fault(field: &str, message: impl Into<String>) -> Fault {
    Fault { field: field.to_owned(), message: message.into() }
}

fn unknown<'n>(field: &str, known: impl Iterator<Item = &'n str>) -> Fault {
    let known: Vec<&str> = known.collect();
    fault(field, format!("there is no such field; use one of {}", known.join(", ")))
}

fn check(schema: &Value, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    let type_ = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match (type_, value) {
        ("object", Value::Object(fields)) => check_fields(schema, fields, path, faults),
        ("array", Value::Array(items)) => {
            bounded(schema, ("minItems", "maxItems"), items.len(), "items", path, faults);
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    check(schema, item, &format!("{path}[{index}]"), faults);
                }
            }
        }
        ("string", Value::String(text)) => check_text(schema, text, path, faults),
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            check_number(schema, number.as_f64().unwrap_or(f64::MAX), path, faults);
        }
        ("number", Value::Number(number)) => {
            check_number(schema, number.as_f64().unwrap_or(f64::MAX), path, faults);
        }
        ("boolean", Value::Bool(_)) => {}
        // A field without a type takes any value.
        ("", _) => {}
        (wanted, other) => {
            faults.push(fault(path, format!("it must be of type {wanted}, not {}", type_of(other))))
        }
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let choices: Vec<String> = choices.iter().map(shown).collect();
        faults.push(fault(path, format!("{} is not supported; use {}", shown(value), choices.join(", "))));
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, path: &str, faults: &mut Vec<Fault>) {
    let known = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties").filter(|schema| schema.is_object());
    for (name, value) in fields {
        let inner = format!("{path}.{name}");
        match (known.and_then(|known| known.get(name)), others) {
            (Some(schema), _) | (None, Some(schema)) => check(schema, value, &inner, faults),
            (None, None) => {
                let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
                faults.push(unknown(&inner, names));
            }
        }
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = name.as_str().filter(|name| !fields.contains_key(*name)) {
            faults.push(fault(&format!("{path}.{name}"), "it is required"));
        }
    }
    bounded(schema, ("minProperties", "maxProperties"), fields.len(), "entries", path, faults);
}

fn check_text(schema: &Value, text: &str, path: &str, faults: &mut Vec<Fault>) {
    bounded(schema, ("minLength", "maxLength"), text.chars().count(), "characters", path, faults);
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        faults.push(fault(path, format!("{text:?} does not match {pattern}")));
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time") && text.parse::<Timestamp>().is_err()
    {
        faults.push(fault(path, format!("{text:?} is not a time such as 2026-01-31T02:00:00Z")));
    }
}

fn check_number(schema: &Value, number: f64, path: &str, faults: &mut Vec<Fault>) {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        faults.push(fault(path, format!("{number} is too small; use at least {least}")));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        faults.push(fault(path, format!("{number} is too large; use at most {most}")));
    }
}

/// Checks how many characters, items or entries there are.
fn bounded(
    schema: &Value,
    (least, most): (&str, &str),
    count: usize,
    of: &str,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    let bound = |name| schema.get(name).and_then(Value::as_u64);
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(least) = bound(least).filter(|least| count < *least) {
        faults.push(fault(path, format!("it has {count} {of}; at least {least} are needed")));
    }
    if let Some(most) = bound(most).filter(|most| count > *most) {
        faults.push(fault(path, format!("it has {count} {of}; at most {most} are allowed")));
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A scalar as people write it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    fn export(change: impl FnOnce(&mut Value)) -> Value {
        let mut export = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": { "name": "cohort", "namespace": "default" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System", "types": ["Patient"] } } });
        change(&mut export);
        export
    }

    fn faults(object: &Value) -> Vec<String> {
        let faults =
            Definitions::new().unwrap().check(Kind::FhirExport, object, None).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_export_has_no_fault() {
        assert_eq!(faults(&export(|_| {})), [""; 0]);
    }

    #[test]
    fn each_fault_names_its_field() {
        let cases: [(fn(&mut Value), &str); 9] = [
            (
                |e| e["spec"]["request"]["groupId"] = json!("a"),
                "spec.request.groupId: there is no such field",
            ),
            (|e| e["spec"]["serverRef"] = json!({}), "spec.serverRef.name: it is required"),
            (
                |e| e["spec"]["request"]["level"] = json!("Everything"),
                "spec.request.level: Everything is not",
            ),
            (|e| e["spec"]["suspend"] = json!("yes"), "spec.suspend: it must be of type boolean, not string"),
            (|e| e["spec"]["backoffLimit"] = json!(21), "spec.backoffLimit: 21 is too large; use at most 20"),
            (|e| e["spec"]["backoffLimit"] = json!(1.5), "spec.backoffLimit: it must be of type integer"),
            (|e| e["spec"]["kickOffBefore"] = json!("soon"), "spec.kickOffBefore: \"soon\" is not a time"),
            (|e| e["extra"] = json!(1), "extra: there is no such field"),
            (|e| drop(e.as_object_mut().unwrap().remove("spec")), "spec: it is required"),
        ];
        for (change, said) in cases {
            let faults = faults(&export(change));
            assert!(faults.iter().any(|fault| fault.starts_with(said)), "{said}: {faults:?}");
        }
    }

    #[test]
    fn the_rules_are_those_of_the_definitions() {
        let faults = faults(&export(|e| e["spec"]["request"]["level"] = json!("Group")));
        assert_eq!(faults, ["spec.request.groupID: groupID is required when level is Group"]);
    }

    #[test]
    fn a_change_is_held_against_what_was_there() {
        let (old, mut new) = (export(|_| {}), export(|_| {}));
        new["spec"]["request"]["types"] = json!(["Observation"]);
        let faults = Definitions::new().unwrap().check(Kind::FhirExport, &new, Some(&old)).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.message.starts_with("a request cannot be changed")),
            "{faults:?}"
        );
        new["spec"]["request"] = old["spec"]["request"].clone();
        new["spec"]["suspend"] = json!(true);
        Definitions::new().unwrap().check(Kind::FhirExport, &new, Some(&old)).unwrap();
    }
}
