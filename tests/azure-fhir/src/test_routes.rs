//! What tests ask of a server in another process; in the same one they call it directly.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::RequestFault;
use crate::outcome::Reply;
use crate::patients::Patients;
use crate::routes::Caller;
use crate::script::Script;
use crate::token::Access;
use crate::world::World;

/// Answers below `/_test`.
pub(crate) fn answer(world: &World, caller: &Caller, body: &str) -> Reply {
    let result = match (caller.method.as_str(), caller.path.as_str()) {
        ("GET", "/_test/requests") => serde_json::to_value(&*world.requests()),
        ("GET", "/_test/jobs") => serde_json::to_value(world.views()),
        ("POST", "/_test/script") => several::<Script>(body).map(|new| {
            world.scripts().extend(new);
            json!({})
        }),
        ("POST", "/_test/fault") => several::<RequestFault>(body).map(|new| {
            world.faults().extend(new);
            json!({})
        }),
        ("POST", "/_test/access") => serde_json::from_str::<Access>(body).map(|new| {
            *world.access() = new;
            json!({})
        }),
        ("POST", "/_test/resource") => return changed(&mut world.patients(), body),
        ("POST", "/_test/delete") => {
            several::<Name>(body).map(|names| removed(&mut world.patients(), &names))
        }
        ("POST", "/_test/clear") => {
            world.scripts().clear();
            world.faults().clear();
            Ok(json!({}))
        }
        _ => return Reply::empty(404),
    };
    match result {
        Ok(value) => Reply::json(200, "application/json", &value),
        Err(error) => Reply::text(400, "text/plain", &error.to_string()),
    }
}

/// One, or a list.
pub fn several<T: DeserializeOwned>(body: &str) -> Result<Vec<T>, serde_json::Error> {
    match serde_json::from_str(body)? {
        list @ Value::Array(_) => serde_json::from_value(list),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}

/// The type and id of a resource.
#[derive(Debug, Deserialize)]
pub struct Name {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// Makes or changes resources: `POST /_test/resource` with one, or a list.
pub fn changed(patients: &mut Patients, body: &str) -> Reply {
    let resources = match several::<Value>(body) {
        Ok(resources) => resources,
        Err(error) => return Reply::text(400, "text/plain", &error.to_string()),
    };
    for resource in resources {
        if let Err(error) = patients.change(resource) {
            return Reply::text(400, "text/plain", &error.to_string());
        }
    }
    Reply::json(200, "application/json", &json!({}))
}

/// Deletes resources: `POST /_test/delete` with one name, or a list. Tells how many were there.
pub fn removed(patients: &mut Patients, names: &[Name]) -> Value {
    let there = names.iter().filter(|name| patients.remove(&name.kind, &name.id)).count();
    json!({ "deleted": there })
}
