//! `GET /metadata`, which needs no token.

use serde_json::{Value, json};

use crate::outcome::Reply;
use crate::routes::Caller;
use crate::world::World;

/// The `CapabilityStatement`.
pub(crate) fn answer(world: &World, caller: &Caller) -> Reply {
    let base = caller.origin();
    let types: Vec<Value> = world
        .patients()
        .types()
        .iter()
        .map(|kind| json!({ "type": kind, "versioning": "versioned" }))
        .collect();
    let operation =
        |name: &str| json!({ "name": name, "definition": format!("{base}/OperationDefinition/{name}") });
    let names: &[&str] =
        if world.options.export_enabled { &["export", "patient-export", "group-export"] } else { &[] };
    let operations: Vec<Value> = names.iter().map(|name| operation(name)).collect();
    let body = json!({
        "resourceType": "CapabilityStatement",
        "url": format!("{base}/metadata"),
        "version": "5.0.30",
        "name": "FHIR API",
        "status": "active",
        "experimental": true,
        "date": "2026-08-20T00:00:00Z",
        "publisher": "Microsoft",
        "kind": "instance",
        "software": { "name": "Microsoft FHIR Server", "version": "5.0.30" },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{ "mode": "server", "resource": types, "operation": operations }],
    });
    Reply::json(200, "application/fhir+json; charset=utf-8", &body)
}
