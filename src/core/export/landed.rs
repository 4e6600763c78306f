//! Compares what landed with what the server says about it and with what the request asked for.

use std::collections::BTreeMap;

use super::summary::{counted, files_text};
use super::type_counts::{TypeCounts, requested_types};
use super::verdict::Verdict;
use crate::api::{CheckResult, Checks, ConditionStatus, ExportRequest, Reason};
use crate::core::landing::{FileForm, FileKind, LandFile, LandPlan, Landed};
use crate::core::manifest::Manifest;

/// A file of the plan, and what landed of it.
type Row<'a> = (&'a LandFile, &'a Landed);

/// Something that is wrong: the reason and one sentence.
type Problem = (Reason, String);

/// Compares what landed with what the server says, and with what was asked for.
pub(super) fn judge(
    manifest: &Manifest,
    request: &ExportRequest,
    plan: &LandPlan,
    landed: &[Landed],
    asked: &TypeCounts,
) -> Verdict {
    let rows: Vec<Row<'_>> = plan.files.iter().zip(landed).collect();
    let (files, missing) = all_landed(manifest, &rows);
    let (counts, miscounted) = counts(&rows);
    let (checksums, spoiled) = checksums(&rows);
    let (form, malformed) = form(&rows);
    let types = requested_types(manifest, request, asked);
    let checks = Checks { files: worse(files, form), counts, checksums, requested_types: types.result };
    let problem = missing.or(miscounted).or(spoiled).or(malformed).or(types.missing);
    let (status, reason, message) = if let Some((reason, message)) = problem {
        (ConditionStatus::False, reason, message)
    } else {
        let (status, reason, mut message) = whole(&checks, manifest, &rows);
        if let Some(why) = types.not_told {
            message = format!("{message}; {why}");
        }
        (status, reason, message)
    };
    let bytes_by_type = bytes_by_type(manifest, &rows);
    let bytes = Some(bytes_by_type.values().fold(0_i64, |sum, b| sum.saturating_add(*b)));
    Verdict { status, reason, message, checks, bytes, bytes_by_type }
}

/// The bytes of the data files, by type.
fn bytes_by_type(manifest: &Manifest, rows: &[Row<'_>]) -> BTreeMap<String, i64> {
    let mut all: BTreeMap<String, i64> = BTreeMap::new();
    for (file, (_, landed)) in manifest.output.iter().zip(rows) {
        let entry = all.entry(file.type_.clone()).or_default();
        *entry = entry.saturating_add(i64::try_from(landed.sum.bytes).unwrap_or(i64::MAX));
    }
    all
}

/// The worse of two results, from best to worst: `Passed`, `Unknown`, `Failed`.
fn worse(one: CheckResult, other: CheckResult) -> CheckResult {
    match (one, other) {
        (CheckResult::Failed, _) | (_, CheckResult::Failed) => CheckResult::Failed,
        (CheckResult::Unknown, _) | (_, CheckResult::Unknown) => CheckResult::Unknown,
        (CheckResult::Passed, CheckResult::Passed) => CheckResult::Passed,
    }
}

/// Whether a file has landed for each entry of the manifest.
fn all_landed(manifest: &Manifest, rows: &[Row<'_>]) -> (CheckResult, Option<Problem>) {
    let files = manifest.files();
    match files.saturating_sub(rows.len()) {
        0 => (CheckResult::Passed, None),
        gone => {
            let message = format!("{gone} of {} did not land", files_text(files));
            (CheckResult::Failed, Some((Reason::FileMissing, message)))
        }
    }
}

/// Whether the files hold as many lines as the server says. Deleted and error files are compared if the
/// server counts them. The server must count every data file, or every file if there are no data files.
fn counts(rows: &[Row<'_>]) -> (CheckResult, Option<Problem>) {
    let claims = rows.iter().filter_map(|(f, l)| Some((*f, f.claims.count?, l.sum.lines)));
    let mut claimed = 0;
    for (file, said, found) in claims {
        if said != found {
            let message = format!("{} holds {found} lines, the server says {said}", file.blob);
            return (CheckResult::Failed, Some((Reason::CountMismatch, message)));
        }
        claimed += 1;
    }
    let of_data = |(file, _): &&Row<'_>| file.kind == FileKind::Output;
    let data_counted = rows.iter().filter(of_data).all(|(f, _)| f.claims.count.is_some());
    let all_counted = data_counted && (claimed == rows.len() || rows.iter().any(|row| of_data(&row)));
    (if claimed > 0 && all_counted { CheckResult::Passed } else { CheckResult::Unknown }, None)
}

/// Whether the files have the checksums or lengths that the server gives.
fn checksums(rows: &[Row<'_>]) -> (CheckResult, Option<Problem>) {
    let mut claimed = 0;
    for (file, landed) in rows {
        let Some((said, found)) = summed(file, landed) else { continue };
        if said != found {
            let message = format!(
                "{} is not what the server's checksum or length says ({} instead of {})",
                file.blob,
                short(&found),
                short(&said)
            );
            return (CheckResult::Failed, Some((Reason::ChecksumMismatch, message)));
        }
        claimed += 1;
    }
    let all = claimed > 0 && claimed == rows.len();
    (if all { CheckResult::Passed } else { CheckResult::Unknown }, None)
}

/// The checksum or length that the server gives, and the one that was found. If the server gives
/// both, the one that differs.
fn summed(file: &LandFile, landed: &Landed) -> Option<(String, String)> {
    let sum = file.claims.sha256.clone().map(|said| (said, landed.sum.sha256.clone()));
    let length = file.claims.bytes.map(|said| (said.to_string(), landed.sum.bytes.to_string()));
    match (sum, length) {
        (Some(sum), Some(length)) => Some(if length.0 == length.1 { sum } else { length }),
        (sum, length) => sum.or(length),
    }
}

/// Whether the end of a file is known: its body was framed, or it has the checksum or length that the server gives.
fn has_known_end(file: &LandFile, landed: &Landed) -> bool {
    landed.form != FileForm::Unframed || summed(file, landed).is_some()
}

/// Whether the content of the files shows that they are whole and of the types that the manifest names.
fn form(rows: &[Row<'_>]) -> (CheckResult, Option<Problem>) {
    let wrong = rows.iter().find_map(|(file, landed)| match landed.form {
        FileForm::Framed | FileForm::Unframed => None,
        FileForm::Cut => Some((Reason::FileTruncated, format!("{} ends in the middle of a line", file.blob))),
        FileForm::OtherType => {
            let message = format!(
                "the first line of {} is not of the type {} that the manifest names",
                file.blob,
                file.type_name()
            );
            Some((Reason::WrongType, message))
        }
    });
    if wrong.is_some() {
        (CheckResult::Failed, wrong)
    } else if rows.iter().all(|(file, landed)| has_known_end(file, landed)) {
        (CheckResult::Passed, None)
    } else {
        (CheckResult::Unknown, None)
    }
}

/// The verdict when no check failed. The message says what could not be checked.
fn whole(checks: &Checks, manifest: &Manifest, rows: &[Row<'_>]) -> (ConditionStatus, Reason, String) {
    if manifest.files() == 0 {
        return (ConditionStatus::True, Reason::CountsMatch, "the manifest names no files".to_owned());
    }
    let open: Vec<&str> =
        rows.iter().filter(|(f, l)| !has_known_end(f, l)).map(|(f, _)| f.blob.as_str()).collect();
    let all = match manifest.files() {
        1 => "the file has landed".to_owned(),
        files => format!("all {} have landed", files_text(files)),
    };
    if let Some(first) = open.first() {
        let more = match open.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let counted =
            if checks.counts == CheckResult::Passed { ", with the counts that the server says" } else { "" };
        let message = format!(
            "{all}{counted}; whether {first}{more} came to the end is not known, since the server did not mark it by \
             a length or chunks, and gives no checksum"
        );
        return (ConditionStatus::Unknown, Reason::PartlyChecked, message);
    }
    let (status, reason, said) = match (checks.counts, checks.checksums) {
        (CheckResult::Passed, CheckResult::Passed) => (
            ConditionStatus::True,
            Reason::CountsMatch,
            ", with the counts and checksums that the server says",
        ),
        (CheckResult::Passed, CheckResult::Failed | CheckResult::Unknown) => {
            (ConditionStatus::True, Reason::CountsMatch, ", with the counts that the server says")
        }
        (CheckResult::Failed | CheckResult::Unknown, CheckResult::Passed) => (
            ConditionStatus::True,
            Reason::CountsMatch,
            ", with the checksums or lengths that the server says; it does not count all of them",
        ),
        (CheckResult::Failed | CheckResult::Unknown, CheckResult::Failed | CheckResult::Unknown) => (
            ConditionStatus::Unknown,
            Reason::PartlyChecked,
            "; the server does not say what they hold, so that could not be compared",
        ),
    };
    (status, reason, format!("{all} whole{said}"))
}

/// The first 12 characters of a checksum, enough for people to compare.
fn short(sum: &str) -> String {
    if sum.len() > 12 { format!("{}…", sum.get(..12).unwrap_or(sum)) } else { sum.to_owned() }
}

/// What the server's error files say, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorReport {
    /// One clause if the server reports errors.
    pub(super) errors: Option<String>,
    /// The texts of issues that are not errors, for example about ignored parameters.
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
