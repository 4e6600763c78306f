//! The custom resource definitions, as installed in a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::{AddNullable, RecursiveTransform};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::{FhirExport, FhirExportSchedule, FhirServer};

/// The definitions of all kinds, in installation order.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    Ok(vec![definition::<FhirServer>()?, definition::<FhirExport>()?, definition::<FhirExportSchedule>()?])
}

/// The definitions as YAML documents, each paired with the plural name of its kind.
pub fn crds_yaml() -> Result<Vec<(String, String)>, Box<dyn std::error::Error + Send + Sync>> {
    crds()?
        .into_iter()
        .map(|crd| {
            let name = crd.spec.names.plural.clone();
            Ok((name, serde_saphyr::to_string(&crd)?))
        })
        .collect()
}

fn definition<K: CustomResourceExt + JsonSchema>() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(K::crd())?;
    if let Some(schema) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        *schema = schema_of::<K>()?;
    }
    serde_json::from_value(crd)
}

/// The schema that kube's derive generates for a type, with four adjustments that the derive cannot express:
/// a field's own description wins over that of its type, line breaks in descriptions are removed, nothing is
/// nullable, and an object that the operator has not seen yet has `status.observedGeneration` -1.
fn schema_of<K: JsonSchema>() -> Result<Value, serde_json::Error> {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(RecursiveTransform(keep_the_fields_words))
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    let mut schema = serde_json::to_value(generator.into_root_schema_for::<K>())?;
    tidy(&mut schema);
    if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
        // kstatus compares this with metadata.generation, which starts at 1.
        status.insert("default".into(), json!({ "observedGeneration": -1 }));
    }
    Ok(schema)
}

/// Keeps a field's own description. For an optional field, kube would show the description of its type instead.
fn keep_the_fields_words(schema: &mut Schema) {
    if schema.get("description").is_none() {
        return;
    }
    for member in schema.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(member) = member.as_object_mut() {
            member.remove("description");
        }
    }
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                // A line break in the source is not meant for the reader.
                *text = text.split("\n\n").map(|p| p.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn walk(value: &Value, path: &str, look: &mut dyn FnMut(&str, &serde_json::Map<String, Value>)) {
        if let Value::Object(map) = value {
            look(path, map);
            map.iter().for_each(|(key, inner)| walk(inner, &format!("{path}/{key}"), look));
        }
    }

    fn schemas() -> Vec<Value> {
        vec![
            schema_of::<FhirServer>().unwrap(),
            schema_of::<FhirExport>().unwrap(),
            schema_of::<FhirExportSchedule>().unwrap(),
        ]
    }

    #[test]
    fn a_field_is_explained_by_its_own_words() {
        let schema = schema_of::<FhirExport>().unwrap();
        let handling = "/properties/spec/properties/request/properties/handling/description";
        let text = schema.pointer(handling).and_then(Value::as_str).unwrap();
        assert!(text.starts_with("Whether the server must reject parameters"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn entra_offers_only_types_that_the_operator_can_use() {
        let schema = schema_of::<FhirServer>().unwrap();
        let types = "/properties/spec/properties/auth/properties/entra/properties/type/enum";
        let offered = schema.pointer(types).unwrap();
        assert_eq!(*offered, json!(["WorkloadIdentity", "ManagedIdentity", "ClientSecret"]));
    }

    #[test]
    fn nothing_is_nullable_and_every_spec_field_is_bounded_and_explained() {
        for schema in schemas() {
            let mut wrong = Vec::new();
            walk(&schema, "", &mut |path, map| {
                if map.contains_key("nullable") {
                    wrong.push(format!("{path} is nullable"));
                }
                if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                    wrong.push(format!("{path} has a format that the API server does not know"));
                }
                if !path.starts_with("/properties/spec") {
                    return;
                }
                let bounded = match map.get("type").and_then(Value::as_str) {
                    Some("string") => ["maxLength", "enum", "format"].iter().any(|k| map.contains_key(*k)),
                    Some("array") => map.contains_key("maxItems"),
                    Some("integer") => map.contains_key("minimum"),
                    Some("object") if map.contains_key("additionalProperties") => {
                        map.contains_key("maxProperties")
                    }
                    _ => true,
                };
                if !bounded {
                    wrong.push(format!("{path} is not bounded"));
                }
                let a_field = path.rsplit('/').nth(1) == Some("properties");
                if a_field && map.contains_key("type") && !map.contains_key("description") {
                    wrong.push(format!("{path} is not explained"));
                }
            });
            assert_eq!(wrong, Vec::<String>::new());
        }
    }

    /// The words by which the explanation of an optional field says what happens without it.
    const WITHOUT_IT: [&str; 6] =
        ["Default: ", "(default)", "Required ", "; required with ", "; only with ", "Settings for type "];

    /// Adds the optional fields below `schema` whose explanation does not say what happens without them.
    fn untold(schema: &Value, path: &str, found: &mut Vec<String>) {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let words = field["description"].as_str().unwrap_or_default();
            let told = required.contains(&name.as_str()) || WITHOUT_IT.iter().any(|way| words.contains(way));
            if !told {
                found.push(path.clone());
            }
            untold(field, &path, found);
            untold(&field["items"], &format!("{path}[]"), found);
        }
    }

    #[test]
    fn every_optional_field_of_a_spec_says_what_happens_without_it() {
        for schema in schemas() {
            let mut found = Vec::new();
            untold(&schema["properties"]["spec"], "spec", &mut found);
            assert_eq!(found, Vec::<String>::new(), "add `Default: …` to the explanation");
        }
    }

    #[test]
    fn an_unseen_object_says_so() {
        for schema in schemas() {
            let default = schema.pointer("/properties/status/default/observedGeneration");
            assert_eq!(default, Some(&json!(-1)));
        }
    }
}
