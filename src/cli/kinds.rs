//! The page of kinds, docs/reference/kinds.md: every field of the definitions, as `kubectl explain` tells it.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::generate::cell;
use crate::api::crds;

/// The template of a schedule, and the field whose table it would repeat.
const REPEATED: (&str, &str) = ("spec.template.spec.request", "`spec.request` of a FhirExport");

/// The page of kinds, as Markdown.
///
/// # Errors
///
/// Fails if a definition cannot be written as JSON, which is a mistake in the program.
pub fn kinds_markdown() -> Result<String, serde_json::Error> {
    let mut text = String::from(
        "# Kinds\n\n\
         Every field of the three kinds, in the words of `kubectl explain`. A field in **bold** is required. This page\n\
         is written by `fhir-export-operator kinds`.\n",
    );
    for crd in crds()? {
        of_kind(&mut text, &crd)?;
    }
    Ok(text)
}

fn of_kind(text: &mut String, crd: &CustomResourceDefinition) -> Result<(), serde_json::Error> {
    let names = &crd.spec.names;
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    for version in &crd.spec.versions {
        let schema =
            serde_json::to_value(version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()))?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n## {}\n\n{}\n\n`apiVersion: {}/{}`; for kubectl `{}`, or in short {}.\n\n\
             | Column | Shows | |\n|---|---|---|",
            names.kind,
            words(&schema),
            crd.spec.group,
            version.name,
            names.plural,
            short.join(", "),
        );
        for column in version.additional_printer_columns.iter().flatten() {
            let wide = if column.priority.unwrap_or(0) > 0 { "with `-o wide`" } else { "" };
            let _ = writeln!(text, "| {} | `{}` | {wide} |", column.name.to_uppercase(), column.json_path);
        }
        for part in ["spec", "status"] {
            let Some(schema) = schema.pointer(&format!("/properties/{part}")) else { continue };
            let _ = writeln!(text, "\n### {} {part}\n\n| Field | Type | |\n|---|---|---|", names.kind);
            fields(text, part, schema);
        }
    }
    Ok(())
}

/// Appends one row for each field below `path`, with those of its own fields behind it.
fn fields(text: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let bold = if required.contains(&name.as_str()) { "**" } else { "" };
        let (repeated, as_what) = REPEATED;
        let same = path == repeated;
        let also = if same { format!(" Fields: as {as_what}.") } else { String::new() };
        let _ =
            writeln!(text, "| {bold}`{path}`{bold} | {} | {}{also} |", type_of(field), cell(words(field)));
        if !same {
            fields(text, &path, field);
            fields(text, &format!("{path}[]"), &field["items"]);
        }
    }
}

fn words(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// The type of a field, with its bounds if they are numbers of the user's.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|v| format!("`{v}`")).collect();
        return values.join(", ");
    }
    let bounds = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", {least} or more"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    };
    match schema["type"].as_str().unwrap_or_default() {
        "array" => {
            let most =
                schema["maxItems"].as_u64().map(|most| format!(", at most {most}")).unwrap_or_default();
            format!("list of {}{most}", type_of(&schema["items"]))
        }
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        "string" if schema["format"] == "date-time" => "instant".to_owned(),
        other => format!("{other}{bounds}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_says_what_may_be_written() {
        for (schema, wanted) in [
            (json!({"type": "string", "enum": ["A", "B"]}), "`A`, `B`"),
            (json!({"type": "integer", "minimum": 1, "maximum": 20}), "integer, 1 to 20"),
            (json!({"type": "integer", "minimum": 0}), "integer, 0 or more"),
            (
                json!({"type": "array", "items": {"type": "string"}, "maxItems": 3}),
                "list of string, at most 3",
            ),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "map of string"),
            (json!({"type": "string", "format": "date-time"}), "instant"),
            (json!({"type": "boolean"}), "boolean"),
        ] {
            assert_eq!(type_of(&schema), wanted);
        }
    }

    #[test]
    fn every_field_has_a_row_and_what_is_required_is_bold() {
        let page = kinds_markdown().unwrap();
        for row in [
            "| **`spec.request.level`** | `System`, `Patient`, `Group` | System (every resource)",
            "| `spec.limits.maxConcurrentExports` | integer, 1 to 1000 | How many exports",
            "| **`spec.headers[].secretRef.key`** |",
            "| `status.output.types[].resources` |",
            "| MESSAGE | `.status.message` | with `-o wide` |",
        ] {
            assert!(page.contains(row), "{row}");
        }
        assert!(!page.contains("`spec.template.spec.request.level`"), "the request is told once");
    }
}
