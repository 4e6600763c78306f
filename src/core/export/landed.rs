//! What landed, judged against what the server says of it and what was asked for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::summary::{counted, files_text};
use super::verdict::Verdict;
use crate::api::{CheckResult, Checks, ConditionStatus, ExportRequest, FhirServerSpec, Level, Reason};
use crate::core::landing::{FileKind, LandFile, LandPlan, Landed};
use crate::core::manifest::Manifest;
use crate::core::requests::{FHIR_JSON, MAX_OUTCOME, encode};
use crate::core::wire::{Method, Request};

/// Types that the server is asked about; more are left Unknown.
const MAX_ASKED: usize = 20;

/// The next requested type that no file came of and that the server can be asked about. Only where nothing but types
/// narrows the export does its count tell anything.
pub(super) fn uncounted(
    manifest: &Manifest,
    request: &ExportRequest,
    asked: &BTreeMap<String, Option<u64>>,
) -> Option<String> {
    let narrowed = request.level != Level::System
        || request.since.is_some()
        || request.until.is_some()
        || request.type_filters.as_ref().is_some_and(|f| !f.is_empty())
        || request.parameters.as_ref().is_some_and(|p| !p.is_empty());
    if narrowed || manifest.organized_by.is_some() || asked.len() >= MAX_ASKED {
        return None;
    }
    missing(manifest, request).find(|type_| !asked.contains_key(*type_)).cloned()
}

fn missing<'a>(manifest: &'a Manifest, request: &'a ExportRequest) -> impl Iterator<Item = &'a String> {
    let types = request.types.as_deref().unwrap_or_default();
    types.iter().filter(|t| !manifest.output.iter().any(|file| &&file.type_ == t))
}

/// The search that counts the resources of a type.
pub(super) fn count(server: &FhirServerSpec, type_: &str) -> Request {
    Request {
        method: Method::Get,
        url: format!("{}/{}?_summary=count", server.url.trim_end_matches('/'), encode(type_)),
        accept: FHIR_JSON,
        prefer: None,
        no_cache: false,
        max_body: MAX_OUTCOME,
        with_token: true,
        body: None,
        patients: None,
    }
}

/// The total of a searchset.
pub(super) fn total(body: &[u8]) -> Option<u64> {
    let bundle: Value = serde_json::from_slice(body).ok()?;
    (bundle.get("resourceType")?.as_str()? == "Bundle").then(|| bundle.get("total")?.as_u64()).flatten()
}

fn requested_types(
    manifest: &Manifest,
    request: &ExportRequest,
    asked: &BTreeMap<String, Option<u64>>,
) -> (CheckResult, Option<String>) {
    let types = request.types.as_deref().unwrap_or_default();
    if types.is_empty() || manifest.organized_by.is_some() {
        return (CheckResult::Unknown, None);
    }
    let mut open = false;
    for type_ in missing(manifest, request) {
        match asked.get(type_).copied().flatten() {
            // It has none: that no file came is right.
            Some(0) => {}
            Some(number) => {
                let message = format!(
                    "no file of type {type_} came, although the server counts {} of it; check bulkData.listStyle of \
                     the FhirServer",
                    counted(number, "resource")
                );
                return (CheckResult::Failed, Some(message));
            }
            None => open = true,
        }
    }
    (if open { CheckResult::Unknown } else { CheckResult::Passed }, None)
}

/// Compares what landed with what the server says, and with what was asked for.
pub(super) fn judge(
    manifest: &Manifest,
    request: &ExportRequest,
    plan: &LandPlan,
    landed: &[Landed],
    asked: &BTreeMap<String, Option<u64>>,
) -> Verdict {
    let rows: Vec<(&LandFile, &Landed)> = plan.files.iter().zip(landed).collect();
    let (requested, type_missing) = requested_types(manifest, request, asked);
    let mut checks = Checks {
        files: CheckResult::Passed,
        counts: CheckResult::Unknown,
        checksums: CheckResult::Unknown,
        requested_types: requested,
    };
    let mut bytes_by_type: BTreeMap<String, i64> = BTreeMap::new();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for (file, (_, landed)) in manifest.output.iter().zip(&rows) {
        let entry = bytes_by_type.entry(file.type_.clone()).or_default();
        *entry = entry.saturating_add(number(landed.sum.bytes));
    }
    let bytes = Some(bytes_by_type.values().fold(0_i64, |sum, b| sum.saturating_add(*b)));
    let mut problem: Option<(Reason, String)> = None;
    let files = manifest.files();
    if rows.len() < files {
        checks.files = CheckResult::Failed;
        let gone = files - rows.len();
        problem = Some((Reason::FileMissing, format!("{gone} of {} did not land", files_text(files))));
    }
    let counts = rows.iter().filter_map(|(f, l)| Some((f, f.claims.count?, l.sum.lines)));
    match compare(counts, rows.iter().filter(|(f, _)| f.kind == FileKind::Output).count()) {
        Compared::Wrong(file, said, found) => {
            checks.counts = CheckResult::Failed;
            let message = format!("{} holds {found} lines, the server says {said}", file.blob);
            problem = problem.or(Some((Reason::CountMismatch, message)));
        }
        Compared::All => checks.counts = CheckResult::Passed,
        Compared::Some => {}
    }
    let sums = rows.iter().filter_map(|(f, l)| {
        let said = f.claims.sha256.clone();
        let length = f.claims.bytes.map(|said| (said.to_string(), l.sum.bytes.to_string()));
        let sum = said.map(|said| (said, l.sum.sha256.clone()));
        // A wrong one of the two is the one that tells.
        let (said, found) = match (sum, length) {
            (Some(sum), Some(length)) => {
                if length.0 == length.1 {
                    sum
                } else {
                    length
                }
            }
            (sum, length) => sum.or(length)?,
        };
        Some((f, said, found))
    });
    match compare(sums, rows.len()) {
        Compared::Wrong(file, said, found) => {
            checks.checksums = CheckResult::Failed;
            let message = format!(
                "{} is not what the server's checksum or length says ({} instead of {})",
                file.blob,
                short(&found),
                short(&said)
            );
            problem = problem.or(Some((Reason::ChecksumMismatch, message)));
        }
        Compared::All if !rows.is_empty() => checks.checksums = CheckResult::Passed,
        Compared::All | Compared::Some => {}
    }
    problem = problem.or(type_missing.map(|message| (Reason::TypesMissing, message)));
    let (status, reason, message) = match problem {
        Some((reason, message)) => (ConditionStatus::False, reason, message),
        None => whole(&checks, manifest),
    };
    Verdict { status, reason, message, checks, bytes, bytes_by_type }
}

/// Nothing that was checked is wrong: what could not be checked is said.
fn whole(checks: &Checks, manifest: &Manifest) -> (ConditionStatus, Reason, String) {
    let all = match manifest.files() {
        0 => return (ConditionStatus::True, Reason::CountsMatch, "the manifest names no files".to_owned()),
        1 => "the file has landed whole".to_owned(),
        files => format!("all {} have landed whole", files_text(files)),
    };
    match (checks.counts, checks.checksums) {
        (CheckResult::Passed, CheckResult::Passed) => (
            ConditionStatus::True,
            Reason::CountsMatch,
            format!("{all}, with the counts and checksums that the server says"),
        ),
        (CheckResult::Passed, _) => (
            ConditionStatus::True,
            Reason::CountsMatch,
            format!("{all}, with the counts that the server says"),
        ),
        (_, CheckResult::Passed) => (
            ConditionStatus::True,
            Reason::CountsMatch,
            format!(
                "{all}, with the checksums or lengths that the server says; it does not count all of them"
            ),
        ),
        (CheckResult::Failed | CheckResult::Unknown, CheckResult::Failed | CheckResult::Unknown) => (
            ConditionStatus::Unknown,
            Reason::PartlyChecked,
            format!("{all}; the server does not say what they hold, so that could not be compared"),
        ),
    }
}

enum Compared<'f, T> {
    Wrong(&'f LandFile, T, T),
    All,
    Some,
}

fn compare<'f, T: PartialEq>(
    claims: impl Iterator<Item = (&'f &'f LandFile, T, T)>,
    all: usize,
) -> Compared<'f, T> {
    let mut compared = 0;
    for (file, said, found) in claims {
        if said != found {
            return Compared::Wrong(file, said, found);
        }
        compared += 1;
    }
    if compared == all { Compared::All } else { Compared::Some }
}

/// A checksum as people compare it.
fn short(sum: &str) -> String {
    if sum.len() > 12 { format!("{}…", sum.get(..12).unwrap_or(sum)) } else { sum.to_owned() }
}

/// What the server's error files say, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorReport {
    /// A clause, where the server reports errors.
    pub(super) errors: Option<String>,
    /// The words of issues that are no errors, such as of parameters that were ignored.
    pub(super) words: Option<String>,
}

/// Reads the report from the error files that landed.
pub(super) fn error_report(files: &[LandFile], landed: &[Landed]) -> ErrorReport {
    let of_errors: Vec<&Landed> =
        files.iter().zip(landed).filter(|(f, _)| f.kind == FileKind::Error).map(|(_, l)| l).collect();
    let errors: u64 = of_errors.iter().map(|l| l.issues.errors).sum();
    let words: Vec<&str> =
        of_errors.iter().flat_map(|l| l.words.iter().map(String::as_str)).take(3).collect();
    ErrorReport {
        errors: (errors > 0).then(|| {
            let rows = files.iter().zip(landed);
            let named: Vec<&str> =
                rows.filter(|(_, l)| l.issues.errors > 0).map(|(f, _)| f.blob.as_str()).collect();
            let more = named.len().saturating_sub(1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let first = named.first().copied().unwrap_or_default();
            format!("the server reports {}: read {first}{more}", counted(errors, "error"))
        }),
        words: (!words.is_empty())
            .then(|| words.iter().map(|words| words.trim_end_matches('.')).collect::<Vec<_>>().join("; ")),
    }
}

#[cfg(test)]
#[path = "landed_tests.rs"]
mod tests;
