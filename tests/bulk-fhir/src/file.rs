//! `GET` of a file.

use azure_fhir::outcome::{Answer, Reply};
use azure_fhir::{Step, strike};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use serde_json::json;

use crate::access::Access;
use crate::ask::of_query;
use crate::body::{Manner, Sending};
use crate::file_script::{Breaks, FileScript, Redirect, Validator};
use crate::job::{Job, JobFile, State};
use crate::manifest;
use crate::range::{self, Part, Tags};
use crate::routes::Caller;
use crate::stats;
use crate::world::World;

const ELSEWHERE: &str = "/elsewhere";

/// What to do after the job is no longer locked.
enum Next {
    Answer(Answer),
    Strike(azure_fhir::Fault),
}

/// Answers a download; `known` is whether the caller has proved itself.
pub(crate) async fn answer(world: &World, caller: &Caller, place: [&str; 3], known: bool) -> Answer {
    if !["GET", "HEAD"].contains(&caller.method.as_str()) {
        return Reply::empty(405).into();
    }
    let foreign = world.foreign_origin(caller.tls);
    match decide(world, caller, place, known, &foreign) {
        Next::Answer(answer) => answer,
        Next::Strike(fault) => match strike(&fault, &foreign, &caller.path_and_query()).await {
            Some(answer) => answer,
            // A delay is over: now the right answer.
            None => match decide(world, caller, place, known, &foreign) {
                Next::Answer(answer) => answer,
                Next::Strike(_) => Reply::empty(503).into(),
            },
        },
    }
}

/// As S3 says it.
fn denied(status: u16, code: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    Reply::text(status, "application/xml", &body)
}

fn decide(world: &World, caller: &Caller, [id, list, index]: [&str; 3], known: bool, foreign: &str) -> Next {
    let closed = *world.access() != Access::Open;
    let mut jobs = world.jobs();
    let found = jobs.get_mut(id).filter(|job| job.view.state != State::Gone);
    let Some(job) = found else { return Next::Answer(denied(404, "NoSuchKey").into()) };
    let capability = !manifest::requires_token(&job.script.manifest, closed);
    let signed = manifest::signed(job, closed);
    let first = !caller.foreign() && !caller.path.ends_with(ELSEWHERE);
    if job.file(list, index).is_none() {
        return Next::Answer(denied(404, "NoSuchKey").into());
    }
    let refusal = if caller.authorization.is_some() && (capability || caller.foreign()) {
        Some(denied(400, "InvalidArgument"))
    } else if !capability && !known {
        Some(Reply::outcome(401, "login", "Authentication failed.").header("WWW-Authenticate", "Bearer"))
    } else if signed {
        link(job, caller, list, index)
    } else {
        None
    };
    let Some(file) = job.file(list, index) else { return Next::Answer(Reply::empty(404).into()) };
    if let Some(reply) = refusal {
        stats::count(&file.stats.refused);
        return Next::Answer(reply.into());
    }
    if first {
        if let Some(fault) = Step::take(&mut file.script.faults) {
            stats::count(&file.stats.refused);
            return Next::Strike(fault);
        }
        if let Some(target) = target(file.script.redirect, caller, foreign, &world.fresh()) {
            stats::count(&file.stats.refused);
            return Next::Answer(Reply::empty(307).header("Location", &target).into());
        }
    }
    if let Some(left) = file.script.html_pages.checked_sub(1) {
        file.script.html_pages = left;
        stats::count(&file.stats.refused);
        let page = "<!DOCTYPE html>\n<html><body><h1>Sign in</h1></body></html>\n";
        return Next::Answer(Reply::text(200, "text/html", page).into());
    }
    Next::Answer(served(file, caller))
}

/// What is wrong with the signature of the link, if anything.
fn link(job: &mut Job, caller: &Caller, list: &str, index: &str) -> Option<Reply> {
    let script = job.file(list, index)?.script.clone();
    let query = of_query(caller.query.as_deref());
    let given =
        query.iter().find(|(name, _)| name == "sig").map(|(_, value)| value.as_str()).unwrap_or_default();
    let Some(signature) = job.signatures.get_mut(given) else {
        return Some(denied(403, "SignatureDoesNotMatch"));
    };
    let age = u64::try_from(signature.made.elapsed().as_millis()).unwrap_or(u64::MAX);
    let used = signature.used.entry(format!("{list}/{index}")).or_default();
    let over = script.expires_millis.is_some_and(|millis| age >= millis)
        || script.expires_requests.is_some_and(|most| *used >= most);
    // The second hop of a redirect is the same request to the client.
    if !caller.foreign() && !caller.path.ends_with(ELSEWHERE) {
        *used += 1;
    }
    over.then(|| denied(script.expired_status, "ExpiredToken"))
}

/// Where a redirect goes, if there is one; `mark` is what the foreign host signs its URL with.
fn target(redirect: Redirect, caller: &Caller, foreign: &str, mark: &str) -> Option<String> {
    let origin = caller.origin();
    let path = &caller.path;
    let query = caller.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    match redirect {
        Redirect::No => None,
        Redirect::Foreign => {
            let joint = if query.is_empty() { '?' } else { '&' };
            Some(format!("{foreign}{path}{ELSEWHERE}{query}{joint}X-Amz-Signature={mark}"))
        }
        Redirect::SameOrigin => Some(format!("{origin}{path}{ELSEWHERE}{query}")),
        Redirect::Loop => Some(format!("{origin}{path}{query}")),
    }
}

/// Whether it is this answer's turn to break off.
fn turn(breaks: &mut Option<Breaks>, length: u64) -> Option<u64> {
    let breaks = breaks.as_mut().filter(|breaks| breaks.after < length)?;
    match &mut breaks.times {
        None => {}
        Some(0) => return None,
        Some(left) => *left -= 1,
    }
    Some(breaks.after)
}

fn served(file: &mut JobFile, caller: &Caller) -> Answer {
    let accept = caller.header("accept").unwrap_or_default();
    if file.script.json_binary && accept.contains("application/fhir+json") {
        stats::count(&file.stats.whole);
        let data = BASE64_STANDARD.encode(file.content.all());
        let body = json!({ "resourceType": "Binary", "contentType": file.script.content_type, "data": data });
        return Reply::json(200, "application/fhir+json", &body).into();
    }
    let whole = file.content.len();
    let script: FileScript = file.script.clone();
    let takes_gzip = caller.header("accept-encoding").is_some_and(|value| value.contains("gzip"));
    let gzip = script.gzip && takes_gzip && !(script.ranges && caller.header("range").is_some());
    let variant = match (script.validator, gzip) {
        (Validator::Changing, _) => {
            let seen = stats::read(&file.stats.whole) + stats::read(&file.stats.ranges);
            format!("-{seen}")
        }
        (_, true) => "-gzip".to_owned(),
        (_, false) => String::new(),
    };
    let tags = Tags::new(script.validator, &file.content.tag(), &variant);
    let part = if script.ranges { range::part(caller, &tags, whole) } else { Part::Whole };
    let mut headers: Vec<(&str, String)> = vec![("Content-Type", script.content_type.clone())];
    headers.extend(tags.etag.clone().map(|etag| ("ETag", etag)));
    headers.extend(tags.last_modified.clone().map(|date| ("Last-Modified", date)));
    if script.ranges {
        headers.push(("Accept-Ranges", "bytes".into()));
    }
    let (status, from, end) = match part {
        Part::Beyond => {
            stats::count(&file.stats.refused);
            return Reply::empty(416).header("Content-Range", &format!("bytes */{whole}")).into();
        }
        Part::Whole => (200, 0, whole),
        Part::Bytes(from, end) => {
            headers.push(("Content-Range", format!("bytes {from}-{}/{whole}", end.saturating_sub(1))));
            (206, from, end)
        }
    };
    if gzip {
        headers.push(("Content-Encoding", "gzip".into()));
    }
    let head = caller.method == "HEAD";
    if head {
        headers.push(("Content-Length", (end - from).to_string()));
        let reply =
            headers.iter().fold(Reply::empty(status), |reply, (name, value)| reply.header(name, value));
        return reply.into();
    }
    stats::count(if status == 206 { &file.stats.ranges } else { &file.stats.whole });
    let end = turn(&mut file.script.short, end - from).map_or(end, |after| from + after);
    let breaks_at = turn(&mut file.script.cut, end - from).map(|after| from + after);
    if !gzip {
        headers.push(("Content-Length", (end - from).to_string()));
    }
    let manner = Manner { breaks_at, wrong: script.wrong_bytes, trickle: script.trickle, gzip };
    let body = Sending::new(file.content.clone(), file.stats.clone(), from, end, manner);
    let mut builder = hyper::Response::builder().status(status);
    for (name, value) in &headers {
        builder = builder.header(*name, value);
    }
    match builder.body(body.boxed()) {
        Ok(response) => Answer::Streamed(Box::new(response)),
        Err(_) => Reply::empty(501).into(),
    }
}
