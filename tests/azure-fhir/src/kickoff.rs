//! The kick-off: its headers, its checks in the service's order, and the job that it makes.

use std::sync::Arc;

use crate::export;
use crate::job::{Job, JobView, State};
use crate::outcome::{Answer, Reply};
use crate::parameters::{Level, Parameters, Query};
use crate::record::Listener;
use crate::routes::Caller;
use crate::script::KickOffAnswer;
use crate::token::Role;
use crate::type_filter;
use crate::world::{World, guid};

/// Answers `$export`. Neither the storage, nor the group, nor the types are looked at here: they fail the job.
pub(crate) async fn answer(world: &Arc<World>, caller: &Caller, level: Level, group: Option<&str>) -> Answer {
    if !world.options.export_enabled {
        return Reply::invalid("The requested \"export\" operation is not enabled").into();
    }
    let (parameters, lenient) = match check(world, caller, level) {
        Ok(checked) => checked,
        Err(text) => return Reply::invalid(&text).into(),
    };
    if caller.role != Role::Exporter {
        return Reply::forbidden().into();
    }
    let mut parameters = parameters;
    match filters(caller, lenient) {
        Ok(filters) => parameters.filters = filters,
        Err(text) => return Reply::invalid(&text).into(),
    }
    accept(world, caller, level, group, parameters).await
}

fn check(world: &World, caller: &Caller, level: Level) -> Result<(Parameters, bool), String> {
    let query = Query::read(caller.query.as_deref());
    if !world.options.strict {
        return Ok((Parameters::read_what_is_right(&query, level), true));
    }
    check_accept(caller.header("accept"))?;
    let lenient = check_prefer(caller.header("prefer"))?;
    let parameters = Parameters::read(&query, level)?;
    if parameters.anonymization.is_some() && !world.options.anonymization_enabled {
        return Err("The requested \"anonymized-export\" operation is not enabled".into());
    }
    Ok((parameters, lenient))
}

fn check_accept(accept: Option<&str>) -> Result<(), String> {
    let value = accept.unwrap_or_default();
    if value.eq_ignore_ascii_case("application/fhir+json") {
        return Ok(());
    }
    Err(format!("Value supplied, {value},  for the \"Accept\" header is not supported."))
}

/// Whether unknown search parameters shall be forgiven.
fn check_prefer(prefer: Option<&str>) -> Result<bool, String> {
    let Some(prefer) = prefer else { return Err("Missing required header; Prefer".into()) };
    let (mut asynchronous, mut lenient) = (false, false);
    for item in prefer.split(',').map(str::trim) {
        let plain: String = item.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase();
        match plain.as_str() {
            "respond-async" if plain.len() == item.len() => asynchronous = true,
            "handling=strict" => lenient = false,
            "handling=lenient" => lenient = true,
            _ => return Err(format!("Value supplied, {item},  for the \"Prefer\" header is not supported.")),
        }
    }
    if asynchronous {
        Ok(lenient)
    } else {
        Err("Missing required header value; header=Prefer,value=respond-async.".into())
    }
}

fn filters(caller: &Caller, lenient: bool) -> Result<Vec<type_filter::TypeFilter>, String> {
    match Query::read(caller.query.as_deref()).get("_typeFilter").filter(|value| !value.is_empty()) {
        Some(value) => type_filter::read(value, lenient),
        None => Ok(Vec::new()),
    }
}

async fn accept(
    world: &Arc<World>,
    caller: &Caller,
    level: Level,
    group: Option<&str>,
    parameters: Parameters,
) -> Answer {
    let url = format!("{}{}", caller.origin(), caller.path_and_query());
    let script = world.take_script(level, group, parameters.container.as_deref(), &url);
    let answer = script.kick_off.clone();
    if let KickOffAnswer::Refused(fault) = &answer
        && let Some(refused) = world.strike(fault, &caller.path_and_query()).await
    {
        return refused;
    }
    let created = world.patients().transaction_time();
    let number = world.next_number();
    let id = if script.layout.has_guid() { guid(created, number) } else { number.to_string() };
    let path = format!("/_operations/export/{id}");
    let view = JobView {
        id: id.clone(),
        level,
        group: group.map(str::to_owned),
        container: parameters.container.clone(),
        kick_off_url: url,
        status_url: format!("{}{path}", caller.origin()),
        created,
        state: State::Running,
        polls: 0,
        cancel_requests: 0,
        cancelled_at: None,
        written: false,
        files: Vec::new(),
    };
    let status_url = view.status_url.clone();
    world.jobs().insert(id.clone(), Job::new(view, parameters, script));
    world.writers().spawn(export::run(Arc::clone(world), id));
    let accepted = Reply::empty(202);
    let at = |location: &str| accepted.clone().header("Content-Location", location).into();
    match answer {
        KickOffAnswer::Accepted | KickOffAnswer::Refused(_) => at(&status_url),
        KickOffAnswer::NoContentLocation => accepted.into(),
        KickOffAnswer::HttpScheme => at(&status_url.replacen("https://", "http://", 1)),
        KickOffAnswer::ForeignHost => {
            at(&format!("{}{path}", world.foreign.get().cloned().unwrap_or_default()))
        }
        KickOffAnswer::Relative => at(&path),
        KickOffAnswer::Lost => Answer::Close,
        KickOffAnswer::LostTo(fault) => {
            world.strike(&fault, &caller.path_and_query()).await.unwrap_or_else(|| at(&status_url))
        }
    }
}

/// Whether a request came to the FHIR server itself, not to the host that must not see tokens.
pub(crate) fn is_own(listener: Listener) -> bool {
    matches!(listener, Listener::Fhir | Listener::FhirTls)
}
