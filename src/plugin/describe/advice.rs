//! Why an export is where it is, and what to do about it.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::story::{sentence, store};
use crate::api::{Condition, FhirExport, FhirExportStatus, Reason, RunState};
use crate::core::store_name::{Store, store_of};
use crate::plugin::list::told;

/// How long an operator may take until it looks at a new export for the first time.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(30);

/// Why an export failed, cannot go on, or completed otherwise than asked for; empty if there is nothing to say.
pub fn why(export: &FhirExport) -> String {
    let condition = export.status.as_ref().and_then(told);
    condition
        .map(|Condition { reason, message, .. }| sentence(&format!("{reason}: {message}")))
        .unwrap_or_default()
}

/// What the reader can do next.
pub fn to_do(export: &FhirExport, now: Timestamp) -> String {
    let empty = FhirExportStatus::default();
    let status = export.status.as_ref().unwrap_or(&empty);
    let advice = told(status).and_then(advice).unwrap_or_default();
    let next = match status.state {
        Some(RunState::Complete) => fetch(export),
        Some(RunState::Failed) => "Then create a new export: this one does not start again.".to_owned(),
        Some(RunState::Cancelled) => "Nothing. To export the data, create a new export.".to_owned(),
        Some(RunState::Suspended) => format!("Let it go on with {}.", command(export, "resume", "")),
        Some(RunState::Cancelling) => "Wait until the server confirms the cancel.".to_owned(),
        Some(RunState::Uncertain) => "Wait: the operator looks whether the server started a job.".to_owned(),
        Some(
            RunState::Waiting
            | RunState::Queued
            | RunState::Starting
            | RunState::Running
            | RunState::Landing
            | RunState::Verifying
            | RunState::Unknown,
        ) => format!("Follow it with {}.", command(export, "watch", "")),
        None => unseen(export, now),
    };
    // Advice already says what to do before a new export is created.
    let next = if advice.is_empty() && status.state == Some(RunState::Failed) {
        "Create a new export: this one does not start again.".to_owned()
    } else {
        next
    };
    [advice, next].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A command of this plugin on an export; `more` follows the name of the export.
fn command(export: &FhirExport, verb: &str, more: &str) -> String {
    let (name, namespace) = (export.name_any(), export.namespace().unwrap_or_default());
    format!("kubectl fhirexport {verb} {name}{more} -n {namespace}")
}

/// How to get at the files of a complete export. This plugin reads only those that a stored manifest lists, in a
/// storage account, in an S3 store or on a volume.
fn fetch(export: &FhirExport) -> String {
    let output = export.status.as_ref().and_then(|status| status.output.as_ref());
    let listed = output.is_some_and(|output| output.manifest.is_some());
    let elsewhere = store(export).is_some_and(|name| matches!(store_of(name), Store::Other(_)));
    if !listed || elsewhere {
        return "Fetch the files with the tools of their store.".to_owned();
    }
    format!(
        "Fetch the files into a directory DIR with {}; check them again at any time with {}.",
        command(export, "download", " DIR"),
        command(export, "verify", "")
    )
}

/// What the documentation advises for the reason of a condition.
fn advice(condition: &Condition) -> Option<String> {
    let reason = Reason::ALL.iter().find(|reason| condition.because(**reason))?;
    Some(reason.advice().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What to do about an export that no operator has looked at.
fn unseen(export: &FhirExport, now: Timestamp) -> String {
    let created = export.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if created.is_some_and(|created| now.duration_since(created) > FIRST_LOOK) {
        let namespace = export.namespace().unwrap_or_default();
        format!(
            "No operator has looked at it: check that fhir-export-operator runs, and that it watches namespace {namespace}."
        )
    } else {
        "Wait a few moments: the operator has not looked at it yet.".to_owned()
    }
}
