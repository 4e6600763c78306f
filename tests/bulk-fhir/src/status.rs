//! `GET` of a status URL and of further pages.

use azure_fhir::outcome::{Answer, Reply};
use azure_fhir::strike;
use serde_json::json;

use crate::access::Access;
use crate::job::{Job, State};
use crate::manifest::{self, Context};
use crate::routes::Caller;
use crate::script::{Ending, Running};
use crate::world::World;

fn not_found(id: &str) -> Reply {
    Reply::outcome(404, "not-found", &format!("The job {id} was not found."))
}

pub(crate) fn context(world: &World, caller: &Caller) -> Context {
    Context {
        version: world.options.version,
        origin: caller.origin(),
        foreign: world.foreign_origin(caller.tls),
        closed: *world.access() != Access::Open,
    }
}

/// Answers a poll.
pub(crate) async fn answer(world: &World, caller: &Caller, id: &str) -> Answer {
    let fault = {
        let mut jobs = world.jobs();
        let Some(job) = jobs.get_mut(id).filter(|job| job.view.state != State::Gone) else {
            return not_found(id).into();
        };
        job.poll()
    };
    if let Some(fault) = fault
        && let Some(answer) =
            strike(&fault, &world.foreign_origin(caller.tls), &caller.path_and_query()).await
    {
        return answer;
    }
    let context = context(world, caller);
    let mut jobs = world.jobs();
    let Some(job) = jobs.get_mut(id) else { return not_found(id).into() };
    job.advance();
    match job.view.state {
        State::Running => running(job, &context).into(),
        State::Completed => match manifest::page(job, 0, &context, false) {
            Some(page) => shown(manifest::reply(job, &page), job).into(),
            None => not_found(id).into(),
        },
        State::Failed => failed(job).into(),
        State::Gone => not_found(id).into(),
    }
}

/// With the separate status, the HTTP status is that of the poll only.
fn shown(reply: Reply, job: &Job) -> Reply {
    if !job.view.asked.separate_status {
        return reply;
    }
    let status = reply.status.to_string();
    Reply { status: 200, ..reply }.header("X-Export-Status", &status)
}

fn running(job: &mut Job, context: &Context) -> Reply {
    let reply = match job.script.running {
        Running::Parameters => {
            let parameter = json!([{ "name": "progress", "valueString": "running" }]);
            let body = json!({ "resourceType": "Parameters", "parameter": parameter });
            Reply::json(202, "application/json", &body)
        }
        Running::PartialManifest if job.view.asked.allow_partial_manifests => {
            match manifest::page(job, 0, context, true) {
                Some(page) => Reply::json(202, "application/json", &page),
                None => Reply::empty(202),
            }
        }
        _ => Reply::empty(202),
    };
    let headers = job.script.progress.as_ref().map(|progress| progress.headers(job.view.polls));
    let reply = headers.iter().flatten().fold(reply, |reply, (name, value)| reply.header(name, value));
    shown(reply, job)
}

fn failed(job: &Job) -> Reply {
    let reply = match &job.script.ending {
        Ending::Failed { status, outcome: Some((code, text)) } => Reply::outcome(*status, code, text),
        Ending::Failed { status, outcome: None } => {
            Reply::text(*status, "text/html", "<html><body><h1>Internal error</h1></body></html>")
        }
        Ending::Complete => Reply::empty(500),
    };
    shown(reply, job)
}

/// A further page of a manifest.
pub(crate) fn page(world: &World, caller: &Caller, id: &str, number: &str) -> Reply {
    let context = context(world, caller);
    let mut jobs = world.jobs();
    let found = jobs.get_mut(id).filter(|job| job.view.state == State::Completed);
    let (Some(job), Ok(number)) = (found, number.parse::<usize>()) else { return not_found(id) };
    let requests = job.page_requests.entry(number).or_default();
    *requests += 1;
    if *requests <= job.script.manifest.page_pending {
        return shown(Reply::empty(202).header("Retry-After", "1"), job);
    }
    match manifest::page(job, number, &context, false) {
        Some(page) => shown(manifest::reply(job, &page), job),
        None => not_found(id),
    }
}
