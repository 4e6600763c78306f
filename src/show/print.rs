//! Objects for programs and for people: YAML, JSON or a table.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::key::Key;
use super::look::Look;
use super::page::{Line, Page};
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
pub fn objects(format: Format, objects: &[Value]) -> Result<Page, Stop> {
    match format {
        Format::Yaml => {
            let mut page = Page::default();
            for object in objects {
                page.push(&Line::of("---"));
                page.append(&Page::yaml(object)?);
            }
            Ok(page)
        }
        Format::Json => Page::json(&json!({ "apiVersion": "v1", "kind": "List", "items": objects })),
    }
}

/// A table of the objects, one line each.
pub fn table(objects: &[Value]) -> Page {
    let headings =
        format!("{:<19} {:<12} {:<24} {:<10} {}", "KIND", "NAMESPACE", "NAME", "STATE", "PROGRESS");
    let mut page = Page::from(Line::of(&headings));
    for object in objects {
        let Some(key) = Key::of(object) else { continue };
        let look = Look::at(&key, object);
        let (state, progress) = (look.word(), look.progress.as_deref().unwrap_or("-"));
        let Key { kind, namespace, name } = &key;
        let kind = kind.as_str();
        page.push(&Line::of(&format!("{kind:<19} {namespace:<12} {name:<24} {state:<10} {progress}")));
    }
    page
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
        let yaml: Vec<Value> =
            serde_saphyr::from_multiple(objects(Format::Yaml, &all).unwrap().as_str()).unwrap();
        assert_eq!(yaml, all);
        let json: Value = serde_json::from_str(objects(Format::Json, &all).unwrap().as_str()).unwrap();
        assert_eq!(json.pointer("/items").unwrap(), &json!(all));
        assert!(table(&all).as_str().lines().nth(1).unwrap().contains("Running"));
    }
}
