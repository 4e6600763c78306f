//! Checks the CEL rules of the schema in the operator itself, because an object can be older than a rule.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};

use crate::api::FhirExport;

/// Compiled once, because building the schema and compiling its rules takes a hundred times as long as
/// checking an object.
static OF_EXPORTS: LazyLock<CompiledSchema> = LazyLock::new(|| {
    let versions = FhirExport::crd().spec.versions;
    let schema = versions.into_iter().next().and_then(|version| version.schema?.open_api_v3_schema);
    compile_schema(&serde_json::to_value(schema).unwrap_or_default())
});

thread_local! {
    static VALIDATOR: Validator = Validator::new();
}

/// The message of the first rule that an export breaks, with the path of the field.
pub fn broken_by(export: &FhirExport) -> Option<String> {
    let object = serde_json::to_value(export).unwrap_or_default();
    let errors = VALIDATOR.with(|validator| validator.validate_compiled(&OF_EXPORTS, &object, None)).err()?;
    Some(errors.iter().next().map(|e| format!("{}: {}", e.field_path, e.message)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_breaks_a_rule_is_told_as_by_the_derived_check() {
        for (group, breaks) in [("cohort-42", false), ("..", true)] {
            let object = json!({"metadata": {"name": "x", "namespace": "ns"}, "spec": {"serverRef": {"name": "s"},
                "request": {"level": "Group", "groupID": group}}});
            let export: FhirExport = serde_json::from_value(object).unwrap();
            let derived = export.validate_cel().err();
            let derived =
                derived.and_then(|e| e.iter().next().map(|e| format!("{}: {}", e.field_path, e.message)));
            assert_eq!(broken_by(&export), derived);
            assert_eq!(broken_by(&export).is_some(), breaks, "{group}");
        }
    }
}
