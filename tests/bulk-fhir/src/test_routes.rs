//! What tests ask of a server in another process; in the same one they call it directly.

use azure_fhir::RequestFault;
use azure_fhir::outcome::Reply;
use azure_fhir::test_routes::{Name, changed, removed, several};
use serde_json::json;

use crate::access::Access;
use crate::options::Quirks;
use crate::routes::Caller;
use crate::script::Script;
use crate::world::World;

/// Answers below `/_test`.
pub(crate) fn answer(world: &World, caller: &Caller, body: &str) -> Reply {
    let done = |()| json!({});
    let result = match (caller.method.as_str(), caller.path.as_str()) {
        ("GET", "/_test/requests") => serde_json::to_value(&*world.requests()),
        ("GET", "/_test/jobs") => serde_json::to_value(world.views()),
        ("POST", "/_test/script") => several::<Script>(body).map(|new| world.scripts().extend(new)).map(done),
        ("POST", "/_test/fault") => {
            several::<RequestFault>(body).map(|new| world.faults().extend(new)).map(done)
        }
        ("POST", "/_test/access") => {
            serde_json::from_str::<Access>(body).map(|new| *world.access() = new).map(done)
        }
        ("POST", "/_test/quirks") => {
            serde_json::from_str::<Quirks>(body).map(|new| *world.quirks() = new).map(done)
        }
        ("POST", "/_test/resource") => return changed(&mut world.patients(), body),
        ("POST", "/_test/delete") => {
            several::<Name>(body).map(|names| removed(&mut world.patients(), &names))
        }
        ("POST", "/_test/revoke") => {
            world.tokens().clear();
            Ok(json!({}))
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
