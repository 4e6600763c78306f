//! The custom resource definitions of this program: their schema, then their rules, as the API server applies them.

use std::fmt;

use kube::core::cel::{CompiledSchema, ValidationError, ValidationErrors, Validator, compile_schema};
use serde_json::Value;

use super::schema::{Fault, faults, unknown};
use crate::api::crds;

/// The custom resource definitions of this program.
pub struct Definitions(Vec<Definition>);

/// One version of one kind.
pub struct Definition {
    kind: String,
    version: String,
    schema: Value,
    rules: CompiledSchema,
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|one| &one.kind)).finish()
    }
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
                let rules = compile_schema(&schema);
                all.push(Definition {
                    kind: crd.spec.names.kind.clone(),
                    version: version.name,
                    schema,
                    rules,
                });
            }
        }
        Ok(Self(all))
    }

    /// The names of all kinds, in installation order.
    pub fn kinds(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|one| &one.kind)
    }

    /// The newest version of the API.
    pub fn version(&self) -> &str {
        self.0.last().map_or("", |one| one.version.as_str())
    }

    /// The definition of a kind in a version.
    pub fn find(&self, kind: &str, version: &str) -> Option<&Definition> {
        self.0.iter().find(|one| one.kind == kind && one.version == version)
    }
}

impl Definition {
    /// The OpenAPI schema of the whole object.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// What the API server would refuse of an object that is created, or of its change if `old` is what it was before.
    /// The metadata are not checked, and neither is the status, which the API server drops. The rules are applied only
    /// if the schema refuses nothing.
    pub fn faults(&self, object: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut found = Vec::new();
        let schema = self.schema.pointer("/properties/spec").unwrap_or(&Value::Null);
        match object.get("spec") {
            Some(spec) => found.extend(faults(schema, "spec", spec)),
            None => found.push(Fault::new("spec", "is required")),
        }
        let known = ["apiVersion", "kind", "metadata", "spec", "status"].map(str::to_owned);
        let names = object.as_object().into_iter().flatten().map(|(name, _)| name);
        found.extend(names.filter(|name| !known.contains(name)).map(|name| unknown("", name, known.iter())));
        if found.is_empty() { self.broken_rules(object, old) } else { found }
    }

    fn broken_rules(&self, object: &Value, old: Option<&Value>) -> Vec<Fault> {
        let broken = Validator::new().validate_compiled(&self.rules, object, old);
        let fault = |error: ValidationError| Fault {
            rule: Some(error.rule),
            ..Fault::new(error.field_path.trim_start_matches('.'), error.message)
        };
        broken.err().into_iter().flat_map(ValidationErrors::into_vec).map(fault).collect()
    }
}
