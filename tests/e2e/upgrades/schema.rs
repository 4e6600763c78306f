//! The schemas of statuses in the definitions of an earlier version, and what they would lose of a status.

use serde_json::{Map, Value};

/// The schemas of the statuses in these definitions, by the plural of the kind, without descriptions.
pub fn of_statuses(crds: &str) -> Map<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(crds).unwrap();
    let schemas = documents.into_iter().map(|crd| {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
        let mut schema = crd.pointer(path).unwrap().clone();
        without_texts(&mut schema);
        (crd["spec"]["names"]["plural"].as_str().unwrap().to_owned(), schema)
    });
    schemas.collect()
}

fn without_texts(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("description").is_some_and(Value::is_string) {
                members.remove("description");
            }
            members.values_mut().for_each(without_texts);
        }
        Value::Array(items) => items.iter_mut().for_each(without_texts),
        _ => {}
    }
}

/// What an API server with this schema would not store of a value: the paths of fields that it drops, and of values
/// that it rejects.
pub fn lost(schema: &Value, value: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    look(schema, value, "status", &mut lost);
    lost
}

fn look(schema: &Value, value: &Value, path: &str, lost: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        lost.push(format!("{path} {value}"));
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                let known = schema["properties"].get(name);
                match known.or_else(|| schema.get("additionalProperties").filter(|of| of.is_object())) {
                    Some(schema) => look(schema, member, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                look(&schema["items"], item, &format!("{path}[]"), lost);
            }
        }
        _ => {}
    }
}

#[test]
fn what_a_schema_does_not_know_is_lost() {
    use serde_json::json;
    let schema =
        json!({"properties": {"state": {"enum": ["A"]}, "jobs": {"items": {"properties": {"id": {}}}}}});
    assert_eq!(lost(&schema, &json!({"state": "A", "jobs": [{"id": "1"}]})), Vec::<String>::new());
    let later = json!({"state": "B", "jobs": [{"id": "1", "at": 1}], "new": {}});
    assert_eq!(lost(&schema, &later), ["status.jobs[].at", "status.new", "status.state \"B\""]);
}
