//! `$export`.

use azure_fhir::outcome::{Answer, Reply};
use azure_fhir::{Level, strike};

use crate::ask::{self, Asked};
use crate::job::{Job, JobView, State};
use crate::options::{Quirks, SeparateStatus};
use crate::routes::{BASE, Caller};
use crate::script::KickOffAnswer;
use crate::select;
use crate::version::Version;
use crate::world::World;

/// Answers a kick-off.
pub(crate) async fn answer(
    world: &World,
    caller: &Caller,
    level: Level,
    group: Option<&str>,
    who: &str,
    body: &str,
) -> Answer {
    let version = world.options.version;
    let quirks = world.quirks().clone();
    let mut asked = match read(caller, level, version, &quirks, body) {
        Ok(asked) => asked,
        Err(reply) => return reply.into(),
    };
    asked.separate_status &= quirks.separate_status != SeparateStatus::No;
    if let Some(seconds) = quirks.one_job_per_group
        && busy(world, who, group)
    {
        return Reply::outcome(429, "throttled", "An export of this client and group is running.")
            .header("Retry-After", &seconds.to_string())
            .into();
    }
    let script = world.take_script(level, group, &format!("{} {body}", caller.path_and_query()));
    let foreign = world.foreign_origin(caller.tls);
    if let KickOffAnswer::Refused(fault) = &script.kick_off
        && let Some(answer) = strike(fault, &foreign, &caller.path_and_query()).await
    {
        return answer;
    }
    // Time and resources belong together: a change in between would be in no export.
    let (created, files) = {
        let mut patients = world.patients();
        let created = patients.transaction_time();
        (created, select::files(&patients, level, group, &asked, &script))
    };
    let files = match files {
        Ok(files) => files,
        Err((status, code, text)) => return Reply::outcome(status, code, &text).into(),
    };
    let id = world.fresh();
    let path = format!("{BASE}/bulk-status/{id}");
    let separate = asked.separate_status;
    let kick_off = script.kick_off.clone();
    let view = JobView {
        id: id.clone(),
        level,
        group: group.map(str::to_owned),
        method: caller.method.clone(),
        kick_off_url: format!("{}{}", caller.origin(), caller.path_and_query()),
        status_url: format!("{}{path}", caller.origin()),
        asked,
        created,
        state: State::Running,
        polls: 0,
        cancel_requests: 0,
        cancelled_at: None,
        files: Vec::new(),
    };
    let status_url = view.status_url.clone();
    world.jobs().insert(id, Job::new(view, script, files, who.to_owned()));
    let reply = match &kick_off {
        KickOffAnswer::WithOutcome => Reply::outcome(202, "informational", "The export was queued."),
        _ => Reply::empty(202),
    };
    let reply = match (separate, quirks.separate_status) {
        (true, SeparateStatus::Repeated) => reply
            .header("Preference-Applied", "respond-async")
            .header("Preference-Applied", "separate-export-status"),
        (true, _) => reply.header("Preference-Applied", "respond-async, separate-export-status"),
        _ => reply,
    };
    match kick_off {
        KickOffAnswer::NoContentLocation => reply.into(),
        KickOffAnswer::Relative => reply.header("Content-Location", &path).into(),
        KickOffAnswer::ForeignHost => reply.header("Content-Location", &format!("{foreign}{path}")).into(),
        KickOffAnswer::Lost(fault) => strike(&fault, &foreign, &caller.path_and_query())
            .await
            .unwrap_or_else(|| reply.header("Content-Location", &status_url).into()),
        _ => reply.header("Content-Location", &status_url).into(),
    }
}

fn busy(world: &World, who: &str, group: Option<&str>) -> bool {
    world.jobs().values_mut().any(|job| {
        job.advance();
        // Epic counts a job until it is deleted, whether it has ended or not.
        let there = matches!(job.view.state, State::Running | State::Completed);
        there && job.view.cancelled_at.is_none() && job.caller == who && job.view.group.as_deref() == group
    })
}

fn read(
    caller: &Caller,
    level: Level,
    version: Version,
    quirks: &Quirks,
    body: &str,
) -> Result<Asked, Reply> {
    let post = match caller.method.as_str() {
        "GET" if version.has_get() => false,
        "POST" if version.has_post() => true,
        method => {
            let text = format!("Version {} of the guide has no {method} for $export.", version.number());
            let allow = if version.has_get() && version.has_post() {
                "GET, POST"
            } else if version.has_get() {
                "GET"
            } else {
                "POST"
            };
            return Err(Reply::outcome(405, "not-supported", &text).header("Allow", allow));
        }
    };
    let prefer = caller.header("prefer").unwrap_or_default();
    if !quirks.lax_headers {
        if !prefer.split([',', ';']).any(|one| one.trim() == "respond-async") {
            return Err(Reply::invalid("The header Prefer must be respond-async."));
        }
        let accept = caller.header("accept").unwrap_or_default();
        if !accept.contains("application/fhir+json") {
            return Err(Reply::invalid("The header Accept must be application/fhir+json."));
        }
    }
    let pairs = if post {
        let content_type = caller.header("content-type").unwrap_or_default();
        if !content_type.starts_with("application/fhir+json") {
            return Err(Reply::outcome(415, "invalid", "The body must be application/fhir+json."));
        }
        if caller.query.as_ref().is_some_and(|query| !query.is_empty()) {
            return Err(Reply::invalid("With POST, parameters are in the body."));
        }
        ask::of_body(body, version)
    } else {
        Ok(ask::of_query(caller.query.as_deref()))
    };
    pairs
        .and_then(|pairs| Asked::read(pairs, post, level, prefer, version, quirks))
        .map_err(|text| Reply::invalid(&text))
}
