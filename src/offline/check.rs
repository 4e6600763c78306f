//! Checks documents as the API server does when their objects are created.

use super::definitions::{Definition, Definitions};
use super::document::Document;
use super::problem::Problem;
use super::schema::closest;
use crate::api::GROUP;

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

impl Definitions {
    /// Checks a document as the API server does when the object is created.
    pub fn check(&self, document: &Document) -> Checked {
        let api_version = document.node.text("apiVersion").unwrap_or_default();
        let version = match api_version.split_once('/') {
            Some((GROUP, version)) => version,
            None if api_version.is_empty() && self.kinds().any(|kind| kind == document.kind()) => {
                let message = format!("is required: {GROUP}/{}", self.version());
                return Checked::Refused(vec![document.problem("apiVersion", message)]);
            }
            _ => return Checked::Foreign,
        };
        let problems = match self.definition(document, version) {
            Ok(definition) => problems(definition, document),
            Err(problem) => vec![*problem],
        };
        if problems.is_empty() { Checked::Valid } else { Checked::Refused(problems) }
    }

    fn definition(&self, document: &Document, version: &str) -> Result<&Definition, Box<Problem>> {
        let kind = document.kind();
        if !self.kinds().any(|known| known == kind) {
            let message = match closest(kind, self.kinds()) {
                Some(close) => format!("there is no such kind; did you mean {close}?"),
                None => "use FhirServer, FhirExport or FhirExportSchedule".to_owned(),
            };
            return Err(Box::new(document.problem("kind", message)));
        }
        self.find(kind, version).ok_or_else(|| {
            let message = format!("there is no version {version}: use {GROUP}/{}", self.version());
            Box::new(document.problem("apiVersion", message))
        })
    }
}

fn problems(definition: &Definition, document: &Document) -> Vec<Problem> {
    let name = name_problem(document);
    let faults = definition.faults(&document.node.to_value(), None);
    // As in the API server, rules are about objects that the schema permits.
    let faults = faults.into_iter().filter(|fault| name.is_none() || fault.rule.is_none());
    let faults =
        faults.map(|fault| Problem { rule: fault.rule, ..document.problem(&fault.field, fault.message) });
    name.clone().into_iter().chain(faults).collect()
}

/// What is wrong with the name of the object (Kubernetes: "Object Names and IDs", "DNS Subdomain Names").
fn name_problem(document: &Document) -> Option<Problem> {
    let name = document.name();
    if name.is_empty() {
        return Some(document.problem("metadata.name", "is required"));
    }
    let generated = document.node.field("metadata").is_some_and(|field| field.value.text("name").is_none());
    // The API server appends letters and digits to a prefix.
    let good = name.len() <= MAX_NAME && if generated { is_name(&format!("{name}x")) } else { is_name(name) };
    let message = "use lower-case letters, digits, hyphens and dots, with a letter or digit at both ends";
    (!good).then(|| document.problem("metadata.name", message))
}

/// Whether a text has the form of an object's name, whatever its length (Kubernetes: "DNS Subdomain Names").
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(plain) && label.ends_with(plain) && label.chars().all(|c| plain(c) || c == '-')
    };
    text.split('.').all(label)
}
