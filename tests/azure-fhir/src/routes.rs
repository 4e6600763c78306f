//! From a request to its answer: record, latency, faults, token, route.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::fault::On;
use crate::listen::{Answering, WholeRequest};
use crate::outcome::{Answer, Reply};
use crate::parameters::Level;
use crate::record::{Listener, Request};
use crate::token::Role;
use crate::world::World;
use crate::{cancel, kickoff, metadata, status, test_routes};

/// One of the server's sockets: it knows its own name.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) world: Arc<World>,
    pub(crate) listener: Listener,
}

/// What the routes need to know of a request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) listener: Listener,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) role: Role,
}

impl Caller {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Scheme and host as the caller sees the server.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.listener == Listener::FhirTls { "https" } else { "http" };
        format!("{scheme}://{}", self.header("host").unwrap_or("localhost"))
    }

    pub(crate) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl Answering for Door {
    async fn answer(&self, request: WholeRequest) -> Answer {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8_lossy(&body).into_owned();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let all = headers.entry(name.as_str().to_owned()).or_default();
            // Several headers of one name are one list, as they are for the service.
            if !all.is_empty() {
                all.push(',');
            }
            all.push_str(&value);
        }
        let authorization = headers.remove("authorization");
        let mut caller = Caller {
            listener: self.listener,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers,
            role: Role::Exporter,
        };
        if caller.path.starts_with("/_test/") {
            return test_routes::answer(&self.world, &caller, &body).into();
        }
        let number = self.world.remember(Request {
            number: 0,
            at: Timestamp::now(),
            listener: caller.listener,
            method: caller.method.clone(),
            path: caller.path.clone(),
            query: caller.query.clone(),
            headers: caller.headers.clone(),
            authorized: authorization.is_some(),
            authorization: authorization.clone(),
            body,
            status: None,
        });
        let answer = respond(&self.world, &mut caller, authorization.as_deref()).await;
        self.world.answered(number, &answer);
        answer
    }
}

/// Where a request leads.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    KickOff(Level, Option<&'a str>),
    /// `$export` on a type that has none.
    WrongType(&'a str),
    Job(&'a str),
    Metadata,
    Nowhere,
}

fn route(path: &str) -> Route<'_> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_export = |segment: &str| segment == "$export" || segment.eq_ignore_ascii_case("%24export");
    match segments.as_slice() {
        ["metadata"] => Route::Metadata,
        ["_operations", "export", id] => Route::Job(id),
        [last] if is_export(last) => Route::KickOff(Level::System, None),
        ["Patient", last] if is_export(last) => Route::KickOff(Level::Patient, None),
        ["Group", id, last] if is_export(last) => Route::KickOff(Level::Group, Some(id)),
        [kind, last] | [kind, _, last] if is_export(last) => Route::WrongType(kind),
        _ => Route::Nowhere,
    }
}

async fn respond(world: &Arc<World>, caller: &mut Caller, authorization: Option<&str>) -> Answer {
    tokio::time::sleep(world.options.latency).await;
    let path = caller.path.clone();
    let route = route(&path);
    let on = match (&route, caller.method.as_str()) {
        (Route::KickOff(..) | Route::WrongType(_), _) => On::KickOff,
        (Route::Job(_), "DELETE") => On::Cancel,
        (Route::Job(_), _) => On::Status,
        (Route::Metadata, _) => On::Metadata,
        (Route::Nowhere, _) => On::Any,
    };
    if kickoff::is_own(caller.listener)
        && let Some(fault) = world.take_fault(on, &caller.path_and_query())
        && let Some(answer) = world.strike(&fault, &caller.path_and_query()).await
    {
        return answer;
    }
    if route == Route::Metadata {
        return metadata::answer(world, caller).into();
    }
    // The foreign host takes whatever comes: it would, and a leaked token must not be hidden by a 401.
    if kickoff::is_own(caller.listener) {
        match world.access().role(authorization, Timestamp::now()) {
            Some(role) => caller.role = role,
            None => return Reply::unauthorized().into(),
        }
    }
    match (route, caller.method.as_str()) {
        (Route::KickOff(level, group), "GET") => kickoff::answer(world, caller, level, group).await,
        (Route::WrongType(kind), "GET") => {
            Reply::invalid(&format!("Requested operation does not support resource type: {kind}.")).into()
        }
        (Route::Job(id), "GET") => status::answer(world, caller, id).await,
        (Route::Job(id), "DELETE") => cancel::answer(world, caller, id).await,
        (Route::KickOff(..) | Route::WrongType(_) | Route::Job(_), _) => Reply::empty(405).into(),
        _ => Reply::outcome(404, "not-found", "The requested route was not found.").into(),
    }
}
