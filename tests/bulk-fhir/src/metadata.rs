//! `GET /metadata`, which needs no token.

use azure_fhir::outcome::Reply;
use serde_json::{Value, json};

use crate::access::Access;
use crate::routes::{BASE, Caller};
use crate::version::Version;
use crate::world::World;

const GUIDE: &str = "http://hl7.org/fhir/uv/bulkdata";

/// The `CapabilityStatement`.
pub(crate) fn answer(world: &World, caller: &Caller) -> Reply {
    let version = world.options.version;
    let (name, number) = world.options.software.name_and_version();
    let operation = |definition: &str| {
        let (suffix, canonical) = match version {
            Version::Stu4 => ("-v4", format!("|{}", version.number())),
            _ => ("", String::new()),
        };
        json!({
            "name": format!("export{suffix}"),
            "definition": format!("{GUIDE}/OperationDefinition/{definition}{canonical}"),
        })
    };
    let resources: Vec<Value> = world
        .patients()
        .types()
        .iter()
        .map(|kind| match kind.as_str() {
            "Patient" => json!({ "type": kind, "operation": [operation("patient-export")] }),
            _ => json!({ "type": kind }),
        })
        .chain([json!({ "type": "Group", "operation": [operation("group-export")] })])
        .collect();
    let mut rest = json!({ "mode": "server", "resource": resources, "operation": [operation("export")] });
    if matches!(*world.access(), Access::Smart(_))
        && let Some(rest) = rest.as_object_mut()
    {
        let extension = json!([{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{ "url": "token", "valueUri": format!("{}/token", caller.origin()) }],
        }]);
        rest.insert("security".into(), json!({ "extension": extension }));
    }
    let body = json!({
        "resourceType": "CapabilityStatement",
        "url": format!("{}{BASE}/metadata", caller.origin()),
        "status": "active",
        "date": "2026-01-01T00:00:00Z",
        "kind": "instance",
        "software": { "name": name, "version": number },
        "implementation": { "description": name, "url": format!("{}{BASE}", caller.origin()) },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "instantiates": [format!("{GUIDE}/CapabilityStatement/bulk-data|{}", version.number())],
        "rest": [rest],
    });
    Reply::json(200, "application/fhir+json; charset=utf-8", &body)
}
