//! The objects of kinds of other projects, compared with what their definitions say (`foreign.yaml`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// What is known of a kind of another project.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Known {
    kind: String,
    api_version: String,
    repository: String,
    version: String,
    file: String,
    /// The fields that must be there if their parent is, with `[]` for each item of a list.
    required: Vec<String>,
    fields: BTreeMap<String, Shape>,
}

/// What a field may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    OneOf(Vec<String>),
    Type(Type),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Any,
    Array,
    Boolean,
    Integer,
    Object,
    String,
}

fn kinds() -> Vec<Kind> {
    serde_saphyr::from_str(include_str!("foreign.yaml")).unwrap()
}

impl Shape {
    fn permits(&self, value: &Value) -> bool {
        match self {
            Self::OneOf(words) => value.as_str().is_some_and(|word| words.iter().any(|w| w == word)),
            Self::Type(Type::Any) => true,
            Self::Type(Type::Array) => value.is_array(),
            Self::Type(Type::Boolean) => value.is_boolean(),
            Self::Type(Type::Integer) => value.is_i64(),
            Self::Type(Type::Object) => value.is_object(),
            Self::Type(Type::String) => value.is_string(),
        }
    }
}

impl Kind {
    /// What is wrong with a value at `path`, and with what is below it.
    fn problems(&self, path: &str, value: &Value, found: &mut Vec<String>) {
        let Some(shape) = self.fields.get(path) else {
            found.push(format!("{path} is unknown"));
            return;
        };
        if !shape.permits(value) {
            found.push(format!("{path} may not be {value}"));
        }
        if matches!(shape, Shape::Type(Type::Any)) {
            return;
        }
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(name, v)| (format!("{path}.{name}"), v)).collect(),
            Value::Array(items) => items.iter().map(|item| (format!("{path}[]"), item)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        let parent = format!("{path}.");
        let wanted = self.required.iter().filter_map(|name| name.strip_prefix(&parent));
        for name in wanted.filter(|name| value.is_object() && !name.contains(['.', '['])) {
            if value.get(name).is_none() {
                found.push(format!("{path}.{name} is missing"));
            }
        }
        for (path, value) in members {
            self.problems(&path, value, found);
        }
    }

    fn check(&self, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.problems("spec", &object["spec"], &mut found);
        let known = ["apiVersion", "kind", "metadata", "spec"];
        let members = object.as_object().unwrap().keys();
        found.extend(
            members.filter(|name| !known.contains(&name.as_str())).map(|n| format!("{n} is unknown")),
        );
        found
    }
}

/// The APIs of Kubernetes itself and of Kustomize. tests/chart_install.rs applies their objects to a real API server.
const OF_KUBERNETES: [&str; 3] = ["v1", "rbac.authorization.k8s.io/v1", "kustomize.config.k8s.io/v1beta1"];

#[test]
fn every_foreign_object_is_as_its_definition_says() {
    let kinds = kinds();
    let mut seen = BTreeSet::new();
    for file in super::files() {
        for object in super::objects(&file) {
            let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            if OF_KUBERNETES.contains(&version) || version.starts_with("fhirexport.dev/") {
                continue;
            }
            let known = kinds.iter().find(|known| known.kind == kind && known.api_version == version);
            let known = known.unwrap_or_else(|| panic!("{file}: {version} {kind} is not in foreign.yaml"));
            assert_eq!(
                known.check(&object),
                Vec::<String>::new(),
                "{file}: {kind} {}",
                object["metadata"]["name"]
            );
            seen.insert(known.kind.as_str());
        }
    }
    assert_eq!(seen, kinds.iter().map(|kind| kind.kind.as_str()).collect(), "foreign.yaml has unused kinds");
}

#[test]
fn what_is_known_of_others_says_where_it_stands() {
    for kind in kinds() {
        assert!(kind.repository.split('/').count() == 2 && kind.version.starts_with('v'), "{}", kind.kind);
        assert_eq!(Path::new(&kind.file).extension(), Some(OsStr::new("yaml")), "{}", kind.file);
        for path in &kind.required {
            assert!(kind.fields.contains_key(path), "{}: {path} is required and has no type", kind.kind);
        }
    }
}

#[test]
fn a_mistake_is_found() {
    let kinds = kinds();
    let release = kinds.iter().find(|kind| kind.kind == "HelmRelease").unwrap();
    for (spec, problem) in [
        (json!({"interval": "1h", "chartReference": {}}), "spec.chartReference is unknown"),
        (json!({"interval": 5}), "spec.interval may not be 5"),
        (json!({}), "spec.interval is missing"),
        (json!({"interval": "1h", "dependsOn": [{}]}), "spec.dependsOn[].name is missing"),
        (
            json!({"interval": "1h", "driftDetection": {"mode": "on"}}),
            "spec.driftDetection.mode may not be \"on\"",
        ),
    ] {
        assert_eq!(release.check(&json!({ "spec": spec })), [problem]);
    }
    assert!(release.check(&json!({"spec": {"interval": "1h", "values": {"whatever": 1}}})).is_empty());
}
