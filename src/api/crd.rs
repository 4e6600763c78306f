//! The custom resource definitions, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{FhirExport, FhirServer};

/// The definitions of all kinds, in the order in which they are installed.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [FhirServer::crd(), FhirExport::crd()].into_iter().map(finished).collect()
}

/// The definitions as a stream of YAML documents, each with its name.
pub fn crds_yaml() -> Result<Vec<(String, String)>, Box<dyn std::error::Error + Send + Sync>> {
    crds()?
        .into_iter()
        .map(|crd| {
            let name = crd.spec.names.plural.clone();
            Ok((name, serde_saphyr::to_string(&crd)?))
        })
        .collect()
}

/// What the derive cannot say: nothing is nullable, and a fresh object is told apart from a seen one.
fn finished(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    strip_nullable(&mut value);
    if let Some(status) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status")
        && let Some(status) = status.as_object_mut()
    {
        // kstatus compares this with metadata.generation, which begins at 1.
        status.insert("default".into(), json!({ "observedGeneration": -1 }));
    }
    serde_json::from_value(value)
}

fn strip_nullable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(strip_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nullable),
        _ => {}
    }
}
