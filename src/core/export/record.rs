//! What the status says about the files: from the manifest, from the landing, and from the check.

use std::collections::BTreeMap;

use super::ask;
use super::progress;
use super::turn::Turn;
use super::verdict::Verdict;
use crate::api::{ConditionType, Output, TypeOutput};
use crate::core::address::BlobAddress;
use crate::core::landing::{LandPlan, Landed};
use crate::core::manifest::Manifest;

/// The largest number of types that the status lists, so that it stays under 16 KiB.
const MAX_TYPES: usize = 60;

/// Writes what the manifest of an Azure server says about its files.
pub(super) fn record(turn: &mut Turn<'_>, manifest: &Manifest, files: &[BlobAddress]) {
    let count = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    turn.status.transaction_time = Some(manifest.transaction_time.clone());
    let job_id = turn.status.job.as_ref().and_then(|j| j.id.clone());
    let asked = ask::container(turn).or_else(|| job_id.map(|id| format!("export-{id}")));
    let output = turn.status.output.get_or_insert_with(Output::default);
    if let Some(first) = files.first() {
        output.container = Some(first.container.clone());
        output.folder = first.blob.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    } else {
        output.container = output.container.take().or(asked);
    }
    output.files = count(manifest.output.len());
    output.resources = manifest.resources().map(number);
    output.deleted_files = count(manifest.deleted.len()).filter(|n| *n > 0);
    output.error_files = count(manifest.errors.len()).filter(|n| *n > 0);
    output.error_issues =
        manifest.errors.iter().try_fold(0_u64, |sum, f| Some(sum + f.count?)).map(number).filter(|n| *n > 0);
    output.types = manifest
        .by_type()
        .into_iter()
        .take(MAX_TYPES)
        .map(|(type_, total)| TypeOutput {
            type_: type_.to_owned(),
            files: number(total.files),
            resources: total.resources.map(number),
            bytes: None,
        })
        .collect();
}

/// Writes what has landed.
pub(super) fn landed(turn: &mut Turn<'_>, manifest: &Manifest, plan: &LandPlan, landed: &[Landed]) {
    let count = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    turn.status.transaction_time = Some(manifest.transaction_time.clone());
    let errors: u64 = landed.iter().map(|l| l.issues.errors).sum();
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (file, landed) in manifest.output.iter().zip(landed) {
        let (files, resources) = types.entry(&file.type_).or_default();
        (*files, *resources) = (*files + 1, *resources + landed.sum.lines);
    }
    let output = turn.status.output.get_or_insert_with(Output::default);
    output.container = Some(plan.container.clone());
    output.folder = Some(plan.folder.clone());
    output.files = count(manifest.output.len());
    output.resources = Some(number(types.values().map(|(_, resources)| resources).sum()));
    output.deleted_files = count(manifest.deleted.len()).filter(|n| *n > 0);
    output.error_files = count(manifest.errors.len()).filter(|n| *n > 0);
    output.error_issues = Some(number(errors)).filter(|n| *n > 0);
    output.types = types
        .into_iter()
        .take(MAX_TYPES)
        .map(|(type_, (files, resources))| TypeOutput {
            type_: type_.to_owned(),
            files: number(files),
            resources: Some(number(resources)),
            bytes: None,
        })
        .collect();
    progress::finished(turn, manifest.output.len());
}

/// Writes the result of the check.
pub(super) fn apply(turn: &mut Turn<'_>, verdict: &Verdict) {
    turn.set(ConditionType::Verified, verdict.status, verdict.reason, &verdict.message);
    let Some(output) = turn.status.output.as_mut() else { return };
    output.checks = Some(verdict.checks);
    output.bytes = verdict.bytes;
    if let Some(progress) = turn.status.job.as_mut().and_then(|job| job.progress.as_mut()) {
        progress.bytes = verdict.bytes;
    }
    for entry in &mut output.types {
        entry.bytes = verdict.bytes_by_type.get(&entry.type_).copied();
    }
}
