//! From a request to its answer: record, latency, faults, rate, token, route.

use std::collections::BTreeMap;
use std::sync::Arc;

use azure_fhir::listen::{Answering, WholeRequest};
use azure_fhir::outcome::{Answer, Reply};
use azure_fhir::{Level, Listener, On, Request, strike};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::access::{Access, basic, bearer};
use crate::world::World;
use crate::{cancel, count, file, kickoff, metadata, smart, status, test_routes};

/// The path of the FHIR base, so that clients which forget that a base can have one fail.
pub(crate) const BASE: &str = "/fhir";

/// One of the server's sockets.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) world: Arc<World>,
    pub(crate) listener: Listener,
    pub(crate) tls: bool,
}

/// What the routes need to know of a request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) listener: Listener,
    pub(crate) tls: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) authorization: Option<String>,
}

impl Caller {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn foreign(&self) -> bool {
        self.listener == Listener::Foreign
    }

    /// Scheme and host as the caller sees the server.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
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
            if !all.is_empty() {
                all.push(',');
            }
            all.push_str(&value);
        }
        let authorization = headers.remove("authorization");
        let caller = Caller {
            listener: self.listener,
            tls: self.tls,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers,
            authorization,
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
            authorized: caller.authorization.is_some(),
            authorization: caller.authorization.clone(),
            body: body.clone(),
            status: None,
        });
        let answer = route_to(&self.world, &caller, &body).await;
        match &answer {
            Answer::Reply(reply) => self.world.answered(number, reply.status),
            Answer::Streamed(response) => self.world.answered(number, response.status().as_u16()),
            _ => {}
        }
        answer
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    KickOff(Level, Option<&'a str>),
    Job(&'a str),
    Page(&'a str, &'a str),
    File([&'a str; 3]),
    Metadata,
    Configuration,
    Token,
    Count(&'a str),
    Nowhere,
}

fn route(path: &str) -> Route<'_> {
    if path == "/token" {
        return Route::Token;
    }
    if let Some(rest) = path.strip_prefix("/bulk-files/") {
        let parts: Vec<&str> = rest.trim_end_matches("/elsewhere").split('/').collect();
        return match parts.as_slice() {
            &[job, list, index] => Route::File([job, list, index]),
            _ => Route::Nowhere,
        };
    }
    let Some(rest) = path.strip_prefix(BASE) else { return Route::Nowhere };
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    match parts.as_slice() {
        ["$export" | "%24export"] => Route::KickOff(Level::System, None),
        ["Patient", "$export" | "%24export"] => Route::KickOff(Level::Patient, None),
        &["Group", id, "$export" | "%24export"] => Route::KickOff(Level::Group, Some(id)),
        &["bulk-status", id] => Route::Job(id),
        &["bulk-status", id, "page", number] => Route::Page(id, number),
        ["metadata"] => Route::Metadata,
        [".well-known", "smart-configuration"] => Route::Configuration,
        &[kind] if kind.starts_with(|c: char| c.is_ascii_uppercase()) => Route::Count(kind),
        _ => Route::Nowhere,
    }
}

/// Whose request it is, or `None` for 401.
fn known(world: &World, caller: &Caller) -> Option<String> {
    let authorization = caller.authorization.as_deref();
    let access = world.access().clone();
    match access {
        Access::Open => Some("anybody".into()),
        Access::Bearer(token) => (bearer(authorization?)? == token).then(|| "bearer".to_owned()),
        Access::Basic(user, password) => {
            let given = basic(authorization?)?;
            (given == (user, password)).then_some(given.0)
        }
        Access::Smart(_) => {
            let issued = world.tokens().get(bearer(authorization?)?).cloned()?;
            (issued.until > Instant::now()).then_some(issued.client)
        }
    }
}

fn unauthorized(world: &World) -> Reply {
    let scheme = if matches!(*world.access(), Access::Basic(..)) { "Basic realm=\"fhir\"" } else { "Bearer" };
    Reply::outcome(401, "login", "Authentication failed.").header("WWW-Authenticate", scheme)
}

async fn route_to(world: &World, caller: &Caller, body: &str) -> Answer {
    tokio::time::sleep(world.options.latency).await;
    let route = route(&caller.path);
    let on = match (route, caller.method.as_str()) {
        (Route::KickOff(..), _) => On::KickOff,
        (Route::Job(_), "DELETE") => On::Cancel,
        (Route::Job(_), _) => On::Status,
        (Route::Page(..), _) => On::Page,
        (Route::File(_), _) => On::File,
        (Route::Metadata | Route::Configuration, _) => On::Metadata,
        (Route::Token, _) => On::Token,
        (Route::Count(_), _) => On::Count,
        (Route::Nowhere, _) => On::Any,
    };
    let path_and_query = caller.path_and_query();
    if !caller.foreign()
        && let Some(fault) = world.take_fault(on, &path_and_query)
        && let Some(answer) = strike(&fault, &world.foreign_origin(caller.tls), &path_and_query).await
    {
        return answer;
    }
    match route {
        Route::Metadata => return metadata::answer(world, caller).into(),
        Route::Configuration => return smart::configuration(world, caller).into(),
        Route::Token => return smart::token(world, caller, body).into(),
        _ => {}
    }
    // The foreign host takes whatever comes: it would, and a leaked token must not be hidden by a 401.
    let who = if caller.foreign() { Some("foreign".to_owned()) } else { known(world, caller) };
    let name = who.as_deref().unwrap_or("unknown");
    if !caller.foreign()
        && let Some(seconds) = world.too_often(name)
    {
        return Reply::outcome(429, "throttled", "There were too many requests.")
            .header("Retry-After", &seconds.to_string())
            .into();
    }
    // Files have rules of their own: a link can be all that is needed.
    if let Route::File(place) = route {
        return file::answer(world, caller, place, who.is_some()).await;
    }
    let Some(who) = who else { return unauthorized(world).into() };
    match (route, caller.method.as_str()) {
        (Route::KickOff(level, group), _) => kickoff::answer(world, caller, level, group, &who, body).await,
        (Route::Job(id), "GET") => status::answer(world, caller, id).await,
        (Route::Job(id), "DELETE") => cancel::answer(world, id).into(),
        (Route::Page(id, number), "GET") => status::page(world, caller, id, number).into(),
        (Route::Count(kind), "GET") => count::answer(world, caller, kind).into(),
        (Route::Job(_) | Route::Page(..) | Route::Count(_), _) => Reply::empty(405).into(),
        _ => Reply::outcome(404, "not-found", "There is nothing here.").into(),
    }
}
