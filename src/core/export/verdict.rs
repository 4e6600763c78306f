//! What the check of the files says about the data.

use std::collections::BTreeMap;

use crate::api::{CheckResult, Checks, ConditionStatus, Reason};
use crate::core::address::{AddressProblem, BlobAddress};
use crate::core::ledger::{Checked, Expected, VerifyPlan};
use crate::core::manifest::{File, Manifest};
use crate::core::planted::{Fault, planted};

/// The largest number of files that a message names.
const MAX_NAMED: usize = 3;

/// What the check of the files concludes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) checks: Checks,
    pub(super) bytes: Option<i64>,
    pub(super) bytes_by_type: BTreeMap<String, i64>,
}

impl Verdict {
    /// The verdict if nothing was checked.
    pub(super) fn unknown(reason: Reason, message: &str) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            reason,
            message: message.to_owned(),
            checks: Checks::default(),
            bytes: None,
            bytes_by_type: BTreeMap::new(),
        }
    }

    /// The verdict if the manifest names no files.
    pub(super) fn nothing_to_check() -> Self {
        let mut verdict = Self::unknown(Reason::CountsMatch, "the manifest names no files");
        verdict.status = ConditionStatus::True;
        verdict.checks.files = CheckResult::Passed;
        verdict.checks.counts = CheckResult::Passed;
        verdict.bytes = Some(0);
        verdict
    }
}

/// All files of a manifest, in the order in which they are checked: data, deletions, errors.
fn all_files(manifest: &Manifest) -> impl Iterator<Item = &File> {
    manifest.output.iter().chain(&manifest.deleted).chain(&manifest.errors)
}

/// The addresses of the files. The error is the origin of a file that does not lie under the endpoint.
pub(super) fn addresses(manifest: &Manifest, endpoint: Option<&str>) -> Result<Vec<BlobAddress>, String> {
    all_files(manifest)
        .map(|file| {
            BlobAddress::parse(&file.url, endpoint).map_err(|problem| match problem {
                AddressProblem::Elsewhere { origin } => origin,
                AddressProblem::NotAUrl | AddressProblem::NotABlob => "a place that is no blob".to_owned(),
            })
        })
        .collect()
}

/// What to check; `None` if the files lie in several containers.
pub(super) fn plan(manifest: &Manifest, files: &[BlobAddress], max_bytes: u64) -> Option<VerifyPlan> {
    let first = files.first()?;
    if files.iter().any(|f| f.container != first.container) {
        return None;
    }
    let folder = first.blob.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let shared = files.iter().all(|f| f.blob.starts_with(&folder));
    Some(VerifyPlan {
        container: first.container.clone(),
        prefix: if shared { folder } else { String::new() },
        files: all_files(manifest)
            .zip(files)
            .map(|(file, address)| Expected { blob: address.blob.clone(), count: file.count })
            .collect(),
        max_bytes,
    })
}

/// A file of the manifest, where it lies, and what was seen of it.
type Row<'a> = (&'a File, &'a BlobAddress, &'a Checked);

/// Compares what was seen with what the manifest says. A missing file outweighs a wrong count.
pub(super) fn judge(manifest: &Manifest, files: &[BlobAddress], checked: &[Checked]) -> Verdict {
    let rows: Vec<Row<'_>> =
        all_files(manifest).zip(files).zip(checked).map(|((f, a), c)| (f, a, c)).collect();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut bytes_by_type: BTreeMap<String, i64> = BTreeMap::new();
    for (file, _, seen) in rows.iter().take(manifest.output.len()) {
        let entry = bytes_by_type.entry(file.type_.clone()).or_default();
        *entry = entry.saturating_add(number(seen.bytes.unwrap_or(0)));
    }
    let bytes = Some(bytes_by_type.values().fold(0_i64, |sum, b| sum.saturating_add(*b)));
    let (files, counts, reason, message) = if let Some(message) = missing(manifest, &rows) {
        (CheckResult::Failed, CheckResult::Unknown, Reason::FileMissing, message)
    } else if let Some(message) = miscounted(&rows) {
        (CheckResult::Passed, CheckResult::Failed, Reason::CountMismatch, message)
    } else if let Some(message) = partly_compared(&rows) {
        (CheckResult::Passed, CheckResult::Unknown, Reason::PartlyChecked, message)
    } else {
        (CheckResult::Passed, CheckResult::Passed, Reason::CountsMatch, all_compared(rows.len()))
    };
    let status = match (files, counts) {
        (CheckResult::Failed, _) | (_, CheckResult::Failed) => ConditionStatus::False,
        (CheckResult::Unknown, _) | (_, CheckResult::Unknown) => ConditionStatus::Unknown,
        (CheckResult::Passed, CheckResult::Passed) => ConditionStatus::True,
    };
    let checks = Checks { files, counts, ..Checks::default() };
    Verdict { status, reason, message, checks, bytes, bytes_by_type }
}

/// Which files are not in the container; `None` if all are.
fn missing(manifest: &Manifest, rows: &[Row<'_>]) -> Option<String> {
    let missing: Vec<&str> =
        rows.iter().filter(|(_, _, c)| c.bytes.is_none()).map(|(_, a, _)| a.blob.as_str()).collect();
    // A file that was not looked at counts as missing, too.
    let all = manifest.files();
    let gone = missing.len() + all.saturating_sub(rows.len());
    let found_out = gone > usize::from(planted(Fault::CompleteDespiteMissing));
    found_out.then(|| format!("{gone} of {all} files are not in the container: {}", names(&missing)))
}

/// Which files have another number of lines than the manifest says; `None` if there are none.
fn miscounted(rows: &[Row<'_>]) -> Option<String> {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(f, a, c)| {
            let (said, found) = (f.count?, c.lines?);
            (said != found).then(|| format!("{} holds {found} lines, the manifest says {said}", a.blob))
        })
        .collect();
    let first = wrong.first()?;
    let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
    Some(format!("{first}{more}"))
}

/// How many files had their lines compared, and why not all of them; `None` if all had.
fn partly_compared(rows: &[Row<'_>]) -> Option<String> {
    let all = rows.len();
    let compared = rows.iter().filter(|(f, _, c)| f.count.is_some() && c.lines.is_some()).count();
    if compared == all {
        return None;
    }
    let lines = match compared {
        0 => "their lines were not compared".to_owned(),
        _ => format!("the lines of {compared} match the manifest, {} were not compared", all - compared),
    };
    let why = if rows.iter().any(|(f, _, _)| f.count.is_none()) {
        "the manifest does not count all files"
    } else {
        "storage.verifyMaxBytes allows no more"
    };
    Some(format!("all {all} files are in the container; {lines} ({why})"))
}

fn all_compared(files: usize) -> String {
    match files {
        1 => "the file is in the container, its lines match the manifest".to_owned(),
        _ => format!("all {files} files are in the container, their lines match the manifest"),
    }
}

/// Whether each requested type has a file. Unknown if one has none: the server may have no resource of it.
pub(super) fn requested_types(manifest: &Manifest, requested: Option<&[String]>) -> CheckResult {
    let requested = requested.unwrap_or_default();
    let answered = |t: &String| manifest.output.iter().any(|f| &f.type_ == t);
    if !requested.is_empty() && requested.iter().all(answered) {
        CheckResult::Passed
    } else {
        CheckResult::Unknown
    }
}

fn names(blobs: &[&str]) -> String {
    let shown = blobs.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = blobs.len().saturating_sub(MAX_NAMED);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
