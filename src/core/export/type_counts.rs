//! Finds out whether the server has resources of a requested type that has no file: it is asked to count them.
//!
//! An export shows the server as of its `transactionTime`, but the server counts what it holds now. A type is
//! missing only if the server counts resources of it whose last change is not later than that time. That
//! count leaves out resources that have changed since, so zero proves nothing if the server has the type now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::summary::counted;
use crate::api::{CheckResult, ExportRequest, FhirServerSpec, Level, Reason};
use crate::core::manifest::Manifest;
use crate::core::requests::{FHIR_JSON, MAX_OUTCOME, encode};
use crate::core::wire::{Method, Reply, Request};

/// The most types that the server is asked about; further types stay Unknown.
const MAX_ASKED: usize = 20;
/// The search parameter for the time of the last change.
const LAST_UPDATED: &str = "_lastUpdated";
/// A time after which no resource has changed: a server that still counts some ignores the time.
const FAR_FUTURE: &str = "gt2999-12-31";

/// What the server counts of each requested type that has no file.
pub type TypeCounts = BTreeMap<String, TypeCount>;

/// What the server counts of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeCount {
    /// The server holds no resource of the type now.
    None,
    /// The server holds resources of the type now. The next question is how many of them it
    /// held at the transaction time.
    Now,
    /// The server counts this many, at least one, and does not say whether it searched by the time. The next
    /// question counts resources that changed in the far future.
    Unproven(u64),
    /// This many resources, at least one, have not changed since the transaction time.
    AtTransaction(u64),
    /// The server holds resources of the type now, and all of them have changed since the transaction time.
    ChangedSince,
    /// The server holds resources of the type now, and cannot count them as of a time.
    NotAsOf,
    /// The server does not say how many resources of the type it holds.
    Untold,
}

/// The next question about a requested type that has no file. The server's count is only meaningful if
/// nothing but types narrows the export.
pub(super) fn question(
    server: &FhirServerSpec,
    manifest: &Manifest,
    request: &ExportRequest,
    asked: &TypeCounts,
) -> Option<(String, Request)> {
    let narrowed = request.level != Level::System
        || request.since.is_some()
        || request.until.is_some()
        || request.type_filters.as_ref().is_some_and(|f| !f.is_empty())
        || request.parameters.as_ref().is_some_and(|p| !p.is_empty());
    if narrowed || manifest.organized_by.is_some() {
        return None;
    }
    for type_ in missing(manifest, request) {
        let changed = match asked.get(type_) {
            Some(TypeCount::Now) => instant(manifest).map(|time| format!("le{time}")),
            Some(TypeCount::Unproven(_)) => Some(FAR_FUTURE.to_owned()),
            Some(
                TypeCount::None
                | TypeCount::AtTransaction(_)
                | TypeCount::ChangedSince
                | TypeCount::NotAsOf
                | TypeCount::Untold,
            )
            | None => None,
        };
        if let Some(changed) = changed {
            return Some((type_.clone(), count(server, type_, Some(&changed))));
        }
    }
    if asked.len() >= MAX_ASKED {
        return None;
    }
    let type_ = missing(manifest, request).find(|type_| !asked.contains_key(*type_))?;
    Some((type_.clone(), count(server, type_, None)))
}

fn missing<'a>(manifest: &'a Manifest, request: &'a ExportRequest) -> impl Iterator<Item = &'a String> {
    let types = request.types.as_deref().unwrap_or_default();
    types.iter().filter(|t| !manifest.output.iter().any(|file| &&file.type_ == t))
}

/// The transaction time, if it is valid as a value in a search.
fn instant(manifest: &Manifest) -> Option<&str> {
    let time = manifest.transaction_time.as_str();
    time.parse::<Timestamp>().is_ok().then_some(time)
}

/// The search that counts the resources of a type: all, or those whose last change matches a prefix and a time.
fn count(server: &FhirServerSpec, type_: &str, changed: Option<&str>) -> Request {
    let time = changed.map(|changed| format!("&{LAST_UPDATED}={}", encode(changed))).unwrap_or_default();
    Request {
        method: Method::Get,
        url: format!("{}/{}?_summary=count{time}", server.url.trim_end_matches('/'), encode(type_)),
        accept: FHIR_JSON,
        prefer: None,
        no_cache: false,
        max_body: MAX_OUTCOME,
        with_token: true,
        body: None,
        patients: None,
    }
}

/// Takes in the answer to a counting search.
pub(super) fn answered(asked: &mut TypeCounts, manifest: &Manifest, type_: String, reply: Reply) {
    let answer = reply.ok().filter(|answer| answer.status == 200);
    let counted = answer.and_then(|answer| Counted::read(&answer.body));
    let count = match (asked.get(&type_), counted) {
        (Some(TypeCount::Now), Some(Counted { total: 0, .. })) => TypeCount::ChangedSince,
        (Some(TypeCount::Now), Some(Counted { total, as_of_a_time: true })) => {
            TypeCount::AtTransaction(total)
        }
        (Some(TypeCount::Now), Some(Counted { total, as_of_a_time: false })) => TypeCount::Unproven(total),
        (Some(TypeCount::Unproven(number)), Some(Counted { total: 0, .. })) => {
            TypeCount::AtTransaction(*number)
        }
        (Some(TypeCount::Now | TypeCount::Unproven(_)), Some(_) | None) => TypeCount::NotAsOf,
        (_, Some(Counted { total: 0, .. })) => TypeCount::None,
        (_, Some(_)) if instant(manifest).is_some() => TypeCount::Now,
        (_, Some(_)) => TypeCount::NotAsOf,
        (_, None) => TypeCount::Untold,
    };
    asked.insert(type_, count);
}

/// What the searchset of a counting search says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    total: u64,
    /// Whether the server confirms in the link `self` that it searched by the time of the last change.
    as_of_a_time: bool,
}

impl Counted {
    fn read(body: &[u8]) -> Option<Self> {
        let bundle: Value = serde_json::from_slice(body).ok()?;
        if bundle.get("resourceType")?.as_str()? != "Bundle" {
            return None;
        }
        let total = bundle.get("total")?.as_u64()?;
        let links = bundle.get("link").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_self = |link: &&Value| link.get("relation").and_then(Value::as_str) == Some("self");
        let searched = links.iter().find(is_self).and_then(|link| link.get("url")?.as_str());
        Some(Self { total, as_of_a_time: searched.is_some_and(|url| url.contains(LAST_UPDATED)) })
    }
}

/// Whether the server delivered each requested type.
pub(super) struct RequestedTypes {
    pub(super) result: CheckResult,
    /// The reason and one sentence about a type that is missing.
    pub(super) missing: Option<(Reason, String)>,
    /// One clause about a type that could not be decided.
    pub(super) not_told: Option<String>,
}

/// Whether each requested type has a file, or the server has no resource of it.
pub(super) fn requested_types(
    manifest: &Manifest,
    request: &ExportRequest,
    asked: &TypeCounts,
) -> RequestedTypes {
    let mut types = RequestedTypes { result: CheckResult::Unknown, missing: None, not_told: None };
    if request.types.as_deref().unwrap_or_default().is_empty() || manifest.organized_by.is_some() {
        return types;
    }
    types.result = CheckResult::Passed;
    for type_ in missing(manifest, request) {
        match asked.get(type_) {
            // The server has no resource of the type, so a missing file is correct.
            Some(TypeCount::None) => continue,
            Some(TypeCount::AtTransaction(number)) => {
                let message = format!(
                    "no file of type {type_} came, although the server counts {} of it that had not changed since the \
                     transaction time; check bulkData.listStyle of the FhirServer",
                    counted(*number, "resource")
                );
                types.result = CheckResult::Failed;
                types.missing = Some((Reason::TypesMissing, message));
                return types;
            }
            Some(TypeCount::Now | TypeCount::Unproven(_) | TypeCount::NotAsOf) => {
                types.not_told.get_or_insert(format!(
                    "no file of type {type_} came; the server has some now, and does not count them as of the \
                     transaction time"
                ));
            }
            Some(TypeCount::ChangedSince) => {
                types.not_told.get_or_insert(format!(
                    "no file of type {type_} came; the server has some now, all of them changed since the transaction \
                     time"
                ));
            }
            Some(TypeCount::Untold) | None => {}
        }
        types.result = CheckResult::Unknown;
    }
    types
}

#[cfg(test)]
#[path = "type_counts_tests.rs"]
mod tests;
