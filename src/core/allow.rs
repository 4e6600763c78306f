//! Checks exports against `consumers` and `allow` of a `FhirServer`, strictly.

use std::collections::BTreeMap;

use crate::api::{Allow, AllowedConfig, ExportRequest, FhirServerSpec, Level, NamespacesFrom};

/// Search parameters that identify people. They are denied in type filters unless listed.
pub(super) const IDENTIFYING: [&str; 10] =
    ["_id", "identifier", "name", "family", "given", "birthdate", "phone", "email", "telecom", "address"];

/// Whether exports in `namespace` may use the server. `labels` are the labels of that namespace.
pub fn admits_namespace(
    server: &FhirServerSpec,
    server_namespace: &str,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    if namespace == server_namespace {
        return true;
    }
    let Some(selection) = server.consumers.as_ref().map(|c| &c.namespaces) else { return false };
    match (selection.from, &selection.selector, labels) {
        (NamespacesFrom::Selector, Some(selector), Some(labels)) => {
            // An empty selector would admit every namespace. The schema rejects it, and so does this function.
            !selector.match_labels.is_empty()
                && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        }
        _ => false,
    }
}

/// Checks whether the request is allowed. The error is one sentence that names what is allowed.
pub fn admits_request(server: &FhirServerSpec, request: &ExportRequest) -> Result<(), String> {
    own_container(server.allow.as_ref(), request)?;
    let Some(allow) = &server.allow else { return Ok(()) };
    level(allow, request)?;
    types(allow, request)?;
    container(allow, request)?;
    parameters(allow, request)?;
    filters(allow, request)?;
    anonymization(allow, request)
}

fn level(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    if let Some(levels) = &allow.levels
        && !levels.contains(&request.level)
    {
        let names: Vec<&str> = levels.iter().map(|l| l.as_str()).collect();
        return Err(format!("level {} is not allowed; allowed: {}", request.level.as_str(), list(&names)));
    }
    let Some(groups) = &allow.group_ids else { return Ok(()) };
    match (request.level, &request.group_id) {
        (Level::Group, Some(id)) if groups.iter().any(|pattern| matches(pattern, id)) => Ok(()),
        (Level::Group, Some(id)) => Err(format!("group {id} is not allowed; allowed: {}", list(groups))),
        (level, _) => Err(format!("level {} is not allowed, only groups: {}", level.as_str(), list(groups))),
    }
}

fn types(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    let Some(allowed) = &allow.types else { return Ok(()) };
    let asked = request.types.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(format!("an export of all types is not allowed; name types among: {}", list(allowed)));
    }
    match asked.iter().find(|t| !allowed.contains(t)) {
        Some(type_) => Err(format!("type {type_} is not allowed; allowed: {}", list(allowed))),
        None => Ok(()),
    }
}

/// Checks that the request does not name another run's container. A run that names no container gets its own,
/// named after its uid or, on Azure, after the job's id; no other run may write there unless the server's
/// owner lists it.
fn own_container(allow: Option<&Allow>, request: &ExportRequest) -> Result<(), String> {
    let Some(name) = &request.container else { return Ok(()) };
    let listed = allow.and_then(|a| a.containers.as_ref()).is_some_and(|c| c.contains(name));
    match name.strip_prefix("export-") {
        Some(id) if !listed && (is_number(id) || is_uid(id)) => {
            Err(format!("container {name} is reserved for the run {id}; choose another container"))
        }
        _ => Ok(()),
    }
}

fn is_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())
}

fn is_uid(id: &str) -> bool {
    let hexadecimal = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && id.split('-').all(hexadecimal)
}

fn container(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    let Some(allowed) = &allow.containers else { return Ok(()) };
    match &request.container {
        Some(name) if allowed.iter().any(|pattern| matches(pattern, name)) => Ok(()),
        Some(name) => Err(format!("container {name} is not allowed; allowed: {}", list(allowed))),
        None => Err(format!("the request must name a container; allowed: {}", list(allowed))),
    }
}

fn parameters(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    let allowed = allow.parameters.as_deref().unwrap_or_default();
    let denied = |name: &str| !allowed.iter().any(|a| a.eq_ignore_ascii_case(name));
    if let Some(parameter) = request.parameters.iter().flatten().find(|p| denied(&p.name)) {
        return Err(format!("parameter {} is not allowed; allowed: {}", parameter.name, list(allowed)));
    }
    let allowed = allow.associated_data.as_deref().unwrap_or_default();
    match request.include_associated_data.iter().flatten().find(|v| !allowed.contains(v)) {
        Some(value) => {
            Err(format!("includeAssociatedData {value} is not allowed; allowed: {}", list(allowed)))
        }
        None => Ok(()),
    }
}

/// Checks type filters for identifying search parameters, including those behind a modifier (`name:exact`), a
/// chain (`patient.name`) or a reverse chain (`_has:Observation:patient:identifier`), in any
/// percent-encoding.
fn filters(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    let allowed = allow.search_parameters.as_deref().unwrap_or_default();
    for filter in request.type_filters.iter().flatten() {
        let decoded = decoded(filter);
        let query = decoded.split_once('?').map_or("", |(_, query)| query);
        for part in names_in(query).flat_map(|name| name.split(['.', ':'])) {
            let part = part.trim().to_ascii_lowercase();
            let identifying = IDENTIFYING.contains(&part.as_str()) || part.starts_with("address-");
            if identifying && !allowed.iter().any(|a| a.eq_ignore_ascii_case(&part)) {
                return Err(format!(
                    "a type filter by {part}, which identifies people, is not allowed; allowed of those: {}",
                    list(allowed)
                ));
            }
        }
    }
    Ok(())
}

/// Percent-decodes `text` until nothing is left to decode, because the server may decode it more than once.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let once = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if once.len() >= text.len() {
            return once;
        }
        text = once;
    }
}

/// Everything that a server could take for the name of a search parameter. An encoded comma may begin another
/// filter.
fn names_in(query: &str) -> impl Iterator<Item = &str> {
    query.split(['&', ';']).flat_map(|pair| {
        let first = pair.split('=').next().unwrap_or_default();
        let further = pair.split([',', '?']).filter_map(|part| Some(part.split_once('=')?.0));
        std::iter::once(first).chain(further)
    })
}

fn anonymization(allow: &Allow, request: &ExportRequest) -> Result<(), String> {
    let Some(rule) = &allow.anonymization else { return Ok(()) };
    let Some(asked) = request.azure.as_ref().and_then(|a| a.anonymization.as_ref()) else {
        return match &rule.configs {
            _ if rule.required != Some(true) => Ok(()),
            None => Err("only de-identified exports are allowed; set azure.anonymization".to_owned()),
            Some(configs) => Err(format!(
                "only de-identified exports are allowed; set azure.anonymization; allowed: {}",
                named(configs)
            )),
        };
    };
    let Some(configs) = &rule.configs else { return Ok(()) };
    // A collection reference would bring in a configuration from elsewhere under an allowed name.
    let fits = |c: &AllowedConfig| {
        c.config == asked.config
            && (c.etag.is_none() || c.etag == asked.etag)
            && asked.collection_reference.is_none()
    };
    if configs.iter().any(fits) {
        return Ok(());
    }
    Err(format!("this anonymization is not allowed; allowed: {}", named(configs)))
}

/// The allowed configurations, for a message.
fn named(configs: &[AllowedConfig]) -> String {
    let names: Vec<String> = configs
        .iter()
        .map(|c| {
            c.etag.as_ref().map_or_else(|| c.config.clone(), |etag| format!("{} with etag {etag}", c.config))
        })
        .collect();
    list(&names)
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<&str> = names.iter().take(10).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(10);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[path = "allow_tests.rs"]
mod tests;
