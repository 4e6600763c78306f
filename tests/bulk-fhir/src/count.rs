//! `GET {base}/{Type}?_summary=count`.

use azure_fhir::outcome::Reply;
use serde_json::json;

use crate::ask::of_query;
use crate::content::to_u64;
use crate::routes::Caller;
use crate::script::Data;
use crate::select;
use crate::world::World;

/// Answers a search for a number.
pub(crate) fn answer(world: &World, caller: &Caller, kind: &str) -> Reply {
    if world.quirks().counts_forbidden {
        return Reply::forbidden();
    }
    let asked = of_query(caller.query.as_deref());
    if !asked.iter().any(|(name, value)| name == "_summary" && value == "count") {
        return Reply::invalid("Only _summary=count can be searched for.");
    }
    let total = match &world.options.script.data {
        Data::Patients { .. } => to_u64(world.patients().ids(kind).len()),
        Data::Made(made) => select::made_count(made, kind),
        Data::Empty => 0,
    };
    let body = json!({ "resourceType": "Bundle", "type": "searchset", "total": total });
    Reply::json(200, "application/fhir+json", &body)
}
