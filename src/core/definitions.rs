//! Compares the installed custom resource definitions with those that this version of the operator was built with.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::api::GROUP;

/// How the installed definitions differ from those of this version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Fields of this version, and values that it writes into statuses, that the installed definitions lack.
    pub lacking: BTreeSet<String>,
    /// Fields and values of the installed definitions that this version does not know.
    pub unknown: BTreeSet<String>,
}

impl Differences {
    /// Adds the differences of one kind, given by the plural of its name and its two schemas in `OpenAPI` form.
    pub fn add(&mut self, plural: &str, own: &Value, installed: &Value) {
        for part in ["spec", "status"] {
            let of = |schema: &'_ Value| schema.pointer(&format!("/properties/{part}")).cloned();
            let (Some(own), Some(installed)) = (of(own), of(installed)) else { continue };
            let mut walk = Walk { plural, writes: part == "status", found: self };
            walk.compare(part, &own, &installed);
        }
    }

    /// A sentence that says what to wait for, if the installed definitions are older than this version: the
    /// API server would drop or reject what they do not know, including what a run must remember.
    pub fn too_old(&self) -> Option<String> {
        let lacking = summary(&self.lacking)?;
        Some(format!(
            "Waiting for newer custom resource definitions: the installed ones lack {lacking}, without which runs lose \
             their state. Upgrade the chart fhir-export-operator-crds, or run `fhir-export-operator crds | kubectl \
             apply --server-side -f -`."
        ))
    }

    /// A sentence for the log, if the installed definitions are newer than this version. It works with them.
    pub fn newer(&self) -> Option<String> {
        let unknown = summary(&self.unknown)?;
        Some(format!(
            "the installed custom resource definitions are newer than this version of the operator and have {unknown}. \
             It leaves alone whatever it cannot read (fhir_export_unreadable_objects); upgrade the operator to let \
             that go on, and keep the newer definitions until then"
        ))
    }
}

/// The first entry and the number of the others.
fn summary(all: &BTreeSet<String>) -> Option<String> {
    let first = all.first()?;
    Some(match all.len() - 1 {
        0 => first.clone(),
        others => format!("{first} and {others} more"),
    })
}

/// A comparison of two schemas, beginning at their roots.
struct Walk<'a> {
    plural: &'a str,
    /// Whether the operator writes this part of the schema, so that each of its values must be allowed.
    writes: bool,
    found: &'a mut Differences,
}

impl Walk<'_> {
    fn compare(&mut self, path: &str, own: &Value, installed: &Value) {
        if installed.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
            return;
        }
        self.compare_words(path, own, installed);
        if let Some((own, installed)) = both(own, installed, "items") {
            self.compare(&format!("{path}[]"), own, installed);
        }
        if let Some((own, installed)) = both(own, installed, "additionalProperties") {
            self.compare(&format!("{path}.*"), own, installed);
        }
        let none = Map::new();
        let fields = |schema: &'_ Value| schema.get("properties").and_then(Value::as_object).cloned();
        let (own, installed) = (fields(own), fields(installed));
        let (own, installed) = (own.as_ref().unwrap_or(&none), installed.as_ref().unwrap_or(&none));
        for (name, field) in own {
            let path = format!("{path}.{name}");
            match installed.get(name) {
                Some(there) => self.compare(&path, field, there),
                None => {
                    self.found.lacking.insert(self.named(&path));
                }
            }
        }
        for name in installed.keys().filter(|name| !own.contains_key(*name)) {
            let path = format!("{path}.{name}");
            self.found.unknown.insert(self.named(&path));
        }
    }

    /// Compares the values of two enums. A schema without an enum allows every value.
    fn compare_words(&mut self, path: &str, own: &Value, installed: &Value) {
        let Some((own, installed)) = both(own, installed, "enum") else { return };
        let words = |list: &Value| -> BTreeSet<String> {
            list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (own, installed) = (words(own), words(installed));
        let named = |word: &String| self.named(&format!("{path} {word}"));
        let unknown: Vec<String> = installed.difference(&own).map(named).collect();
        // No spec can hold a value that the installed definitions do not allow, so nothing is lost by its absence.
        let lacking: Vec<String> = own.difference(&installed).filter(|_| self.writes).map(named).collect();
        self.found.unknown.extend(unknown);
        self.found.lacking.extend(lacking);
    }

    fn named(&self, path: &str) -> String {
        format!("{path} of {}.{GROUP}", self.plural)
    }
}

fn both<'v>(own: &'v Value, installed: &'v Value, key: &str) -> Option<(&'v Value, &'v Value)> {
    Some((own.get(key)?, installed.get(key)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use serde_json::json;

    use super::*;
    use crate::api::crds;

    fn schema(plural: &str) -> Value {
        // The schemas are built only once: this takes longer than all comparisons together.
        static ALL: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
            let schema = |crd: CustomResourceDefinition| {
                let plural = crd.spec.names.plural.clone();
                let mut crd = serde_json::to_value(crd).unwrap();
                (plural, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
            };
            crds().unwrap().into_iter().map(schema).collect()
        });
        ALL[plural].clone()
    }

    fn compared(change: impl Fn(&mut Value)) -> Differences {
        let mut differences = Differences::default();
        for plural in ["fhirservers", "fhirexports", "fhirexportschedules"] {
            let (own, mut installed) = (schema(plural), schema(plural));
            if plural == "fhirexports" {
                change(&mut installed);
            }
            differences.add(plural, &own, &installed);
        }
        differences
    }

    fn at<'v>(schema: &'v mut Value, path: &str) -> &'v mut Value {
        let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
        schema.pointer_mut(&pointer).unwrap()
    }

    #[test]
    fn the_same_definitions_do_not_differ_and_texts_and_bounds_do_not_count() {
        assert_eq!(compared(|_| ()), Differences::default());
        let edited = compared(|schema| {
            let cancel = at(schema, "spec.cancel");
            cancel["description"] = "Cancels it.".into();
            cancel["default"] = false.into();
        });
        assert_eq!(edited, Differences::default());
    }

    #[test]
    fn a_field_that_is_lacking_is_waited_for_and_named() {
        let older = compared(|schema| {
            at(schema, "status.job")["properties"].as_object_mut().unwrap().remove("destination");
        });
        let text = older.too_old().unwrap();
        let names = "lack status.job.destination of fhirexports.fhirexport.dev, without which";
        assert!(text.starts_with("Waiting for ") && text.contains(names), "{text}");
        assert_eq!(older.newer(), None);
        let older = compared(|schema| {
            for part in ["spec", "status"] {
                at(schema, part)["properties"].as_object_mut().unwrap().remove("suspend");
                at(schema, part)["properties"].as_object_mut().unwrap().remove("job");
            }
        });
        let text = older.too_old().unwrap();
        assert!(text.contains("lack spec.suspend of fhirexports.fhirexport.dev and 1 more, "), "{text}");
    }

    #[test]
    fn a_word_that_is_written_must_be_allowed_and_one_of_a_spec_need_not() {
        let words = |path: &'static str| {
            compared(move |schema| drop(at(schema, path)["enum"].as_array_mut().unwrap().remove(0)))
        };
        let text = words("status.cancellation.outcome").too_old().unwrap();
        assert!(text.contains("status.cancellation.outcome Confirmed of fhirexports"), "{text}");
        assert_eq!(words("spec.deletionPolicy"), Differences::default());
    }

    #[test]
    fn newer_definitions_are_worked_with_and_told() {
        let newer = compared(|schema| {
            at(schema, "status")["properties"]["ofTomorrow"] = json!({ "type": "string" });
            at(schema, "status.conditions")["items"]["properties"]["severity"] = json!({ "type": "string" });
            at(schema, "spec.deletionPolicy")["enum"].as_array_mut().unwrap().push("Archive".into());
        });
        assert_eq!(newer.too_old(), None);
        let text = newer.newer().unwrap();
        let first = "have spec.deletionPolicy Archive of fhirexports.fhirexport.dev and 2 more. ";
        assert!(text.contains(first), "{text}");
        assert!(newer.unknown.contains("status.conditions[].severity of fhirexports.fhirexport.dev"));
    }

    #[test]
    fn what_keeps_all_fields_lacks_none() {
        let open = compared(|schema| {
            *at(schema, "status") = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        });
        assert_eq!(open, Differences::default());
    }
}
