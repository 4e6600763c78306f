//! Objects for programs and for people: YAML, JSON or a table.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::key::Key;
use super::look::Look;
use super::visible::visible;
use crate::stop::Stop;

/// A format for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One YAML document per object.
    Yaml,
    /// A JSON object of kind List.
    Json,
}

/// The objects in this format.
pub fn objects(format: Format, objects: &[Value]) -> Result<String, Stop> {
    let failed = |e: &dyn std::fmt::Display| Stop::because(format!("The objects cannot be printed: {e}."));
    match format {
        Format::Yaml => {
            let mut text = String::new();
            for object in objects {
                let document = serde_saphyr::to_string(object).map_err(|e| failed(&e))?;
                let _ = writeln!(text, "---\n{}", document.trim_end());
            }
            Ok(text)
        }
        Format::Json => {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
            serde_json::to_string_pretty(&list).map(|text| text + "\n").map_err(|e| failed(&e))
        }
    }
}

/// A table of the objects, one line each. Control characters are replaced.
pub fn table(objects: &[Value]) -> String {
    let mut text =
        format!("{:<19} {:<12} {:<24} {:<10} {}\n", "KIND", "NAMESPACE", "NAME", "STATE", "PROGRESS");
    for object in objects {
        let Some(key) = Key::of(object) else { continue };
        let look = Look::at(&key, object);
        let (state, progress) = (look.word(), look.progress.as_deref().unwrap_or("-"));
        let Key { kind, namespace, name } = &key;
        let kind = kind.as_str();
        let line = format!("{kind:<19} {namespace:<12} {name:<24} {state:<10} {progress}");
        let _ = writeln!(text, "{}", visible(&line));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        let one = json!({ "apiVersion": "v1", "kind": "FhirExport", "metadata": { "name": "a: b", "namespace": "n" },
            "status": { "state": "Running" } });
        let all = [one.clone(), one.clone()];
        let yaml: Vec<Value> = serde_saphyr::from_multiple(&objects(Format::Yaml, &all).unwrap()).unwrap();
        assert_eq!(yaml, all);
        let json: Value = serde_json::from_str(&objects(Format::Json, &all).unwrap()).unwrap();
        assert_eq!(json.pointer("/items").unwrap(), &json!(all));
        assert!(table(&all).lines().nth(1).unwrap().contains("Running"));
    }
}
