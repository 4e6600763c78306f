//! What tests ask of a server in another process; in the same one they call it directly.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::RequestFault;
use crate::outcome::Reply;
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
        ("POST", "/_test/resource") => return put(world, body),
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
fn several<T: DeserializeOwned>(body: &str) -> Result<Vec<T>, serde_json::Error> {
    match serde_json::from_str(body)? {
        list @ Value::Array(_) => serde_json::from_value(list),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}

fn put(world: &World, body: &str) -> Reply {
    let resource = match serde_json::from_str(body) {
        Ok(resource) => resource,
        Err(error) => return Reply::text(400, "text/plain", &error.to_string()),
    };
    match world.patients().put(resource, Timestamp::now()) {
        Ok(()) => Reply::json(200, "application/json", &json!({})),
        Err(error) => Reply::text(400, "text/plain", &error.to_string()),
    }
}
