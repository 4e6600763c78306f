//! Checks manifests by the custom resource definitions of this program: their schema, then their rules.

use kube::core::cel::{ValidationError, ValidationErrors, Validator};
use serde_json::Value;

use super::document::Document;
use super::problem::Problem;
use super::schema::{closest, mismatches};
use crate::api::crds;

/// The API group of the definitions.
const GROUP: &str = "fhirexport.dev";
/// The longest name of an object, in characters (Kubernetes: "Object Names and IDs").
const MAX_NAME: usize = 253;

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// The document is no manifest of this operator, and is not checked.
    Foreign,
    /// The API server would accept the manifest.
    Valid,
    /// What the API server would refuse; at least one.
    Refused(Vec<Problem>),
}

/// The custom resource definitions of this program.
pub struct Definitions(Vec<Definition>);

struct Definition {
    kind: String,
    version: String,
    schema: Value,
}

impl Definitions {
    /// The definitions as `fhir-export-operator crds` prints them.
    ///
    /// # Errors
    ///
    /// Fails if a definition cannot be written as JSON, which is a mistake in the program.
    pub fn load() -> Result<Self, serde_json::Error> {
        let mut all = Vec::new();
        for crd in crds()? {
            for version in crd.spec.versions {
                let schema =
                    serde_json::to_value(version.schema.and_then(|schema| schema.open_api_v3_schema))?;
                all.push(Definition { kind: crd.spec.names.kind.clone(), version: version.name, schema });
            }
        }
        Ok(Self(all))
    }

    /// Checks a document as the API server does when the object is created.
    pub fn check(&self, document: &Document) -> Checked {
        let api_version = document.node.text("apiVersion").unwrap_or_default();
        let version = match api_version.split_once('/') {
            Some((GROUP, version)) => version,
            None if api_version.is_empty() && self.0.iter().any(|one| one.kind == document.kind()) => {
                let message = format!("is required: {GROUP}/{}", self.newest());
                return Checked::Refused(vec![document.problem("apiVersion", message)]);
            }
            _ => return Checked::Foreign,
        };
        let problems = match self.find(document, version) {
            Ok(definition) => definition.problems(document),
            Err(problem) => vec![*problem],
        };
        if problems.is_empty() { Checked::Valid } else { Checked::Refused(problems) }
    }

    fn newest(&self) -> &str {
        self.0.last().map_or("", |one| one.version.as_str())
    }

    fn find(&self, document: &Document, version: &str) -> Result<&Definition, Box<Problem>> {
        let kinds: Vec<&String> = self.0.iter().map(|one| &one.kind).collect();
        if !kinds.iter().any(|kind| **kind == document.kind()) {
            let message = match closest(document.kind(), kinds.into_iter()) {
                Some(close) => format!("there is no such kind; did you mean {close}?"),
                None => "use FhirServer, FhirExport or FhirExportSchedule".to_owned(),
            };
            return Err(Box::new(document.problem("kind", message)));
        }
        self.0.iter().find(|one| one.kind == document.kind() && one.version == version).ok_or_else(|| {
            let message = format!("there is no version {version}: use {GROUP}/{}", self.newest());
            Box::new(document.problem("apiVersion", message))
        })
    }
}

impl Definition {
    fn problems(&self, document: &Document) -> Vec<Problem> {
        let mut problems = name_problem(document).into_iter().collect::<Vec<_>>();
        // The API server drops the status of an object that is created.
        let schema = self.schema.pointer("/properties/spec").unwrap_or(&Value::Null);
        if let Some(spec) = document.node.field("spec") {
            let found = mismatches(schema, "spec", &spec.value);
            problems.extend(found.into_iter().map(|mismatch| Problem {
                line: mismatch.line,
                ..document.problem(&mismatch.field, mismatch.message)
            }));
        } else {
            problems.push(document.problem("spec", "is required"));
        }
        problems.extend(unknown_fields(document));
        // As in the API server, rules are about objects that the schema permits.
        if problems.is_empty() { self.broken_rules(document) } else { problems }
    }

    fn broken_rules(&self, document: &Document) -> Vec<Problem> {
        let object = document.node.to_value();
        let broken = Validator::new().validate_with_defaults(&self.schema, &object, None);
        let broken = broken.err().into_iter().flat_map(ValidationErrors::into_vec);
        let problem = |error: ValidationError| Problem {
            rule: Some(error.rule.clone()),
            ..document.problem(&error.field_path, error.message)
        };
        broken.map(problem).collect()
    }
}

fn unknown_fields(document: &Document) -> Vec<Problem> {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"].map(str::to_owned);
    let object = document.node.to_value();
    let names = object.as_object().into_iter().flatten().map(|(name, _)| name);
    let unknown = names.filter(|name| !known.contains(name));
    let problem = |name: &String| {
        let hint = closest(name, known.iter()).map(|close| format!("; did you mean {close}?"));
        document.problem(name, format!("there is no such field{}", hint.unwrap_or_default()))
    };
    unknown.map(problem).collect()
}

/// What is wrong with the name of the object (Kubernetes: "Object Names and IDs", "DNS Subdomain Names").
fn name_problem(document: &Document) -> Option<Problem> {
    let name = document.name();
    if name.is_empty() {
        return Some(document.problem("metadata.name", "is required"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let generated = document.node.field("metadata").is_some_and(|field| field.value.text("name").is_none());
    let inner = name.chars().all(|c| plain(c) || matches!(c, '-' | '.')) && name.len() <= MAX_NAME;
    let ends = name.starts_with(plain) && (generated || name.ends_with(plain));
    let segments = !name.contains("..") && !name.contains(".-") && !name.contains("-.");
    let message = "use lower-case letters, digits, hyphens and dots, with a letter or digit at both ends";
    (!(inner && ends && segments)).then(|| document.problem("metadata.name", message))
}
