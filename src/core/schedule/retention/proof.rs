//! Proves that a folder belongs to a run.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::names::digest;
use super::doubt::FolderDoubt;
use crate::api::{ConditionType, FhirExport, FhirExportStatus, Reason, RunFolder};
use crate::core::condition;
use crate::core::export::ServerView;
use crate::core::folder;

/// How much of a manifest's SHA-256 the ledger records, in hexadecimal digits.
const DIGITS: usize = 16;
/// The greatest difference between the clocks of a FHIR server and of the API server.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// The role of a run in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunRole {
    /// A full run that counts: it begins the chain.
    Begins,
    /// An incremental run that counts.
    Continues,
    /// A run that does not count: nothing builds on it.
    Aside,
}

/// A folder as the status of a run names it.
pub(super) struct NamedFolder {
    pub(super) container: String,
    pub(super) folder: RunFolder,
}

/// A hash of the server and its store: folders with the same hash lie in the same store.
pub(super) fn storage_of(server: &ServerView<'_>) -> Option<String> {
    let store = server.store_name()?;
    let store = store.trim_end_matches('/');
    Some(digest(format!("{}\n{store}", server.uid()).as_bytes(), 8))
}

/// The folder of a run's last attempt.
pub(super) fn folder_of(status: &FhirExportStatus) -> Option<NamedFolder> {
    let output = status.output.as_ref()?;
    let folder = output.folder.clone()?;
    let path = format!("{folder}/manifest.json");
    let manifest = output.manifest.as_ref().filter(|manifest| manifest.path == path);
    let manifest = manifest.and_then(|manifest| manifest.sha256.get(..DIGITS)).map(str::to_ascii_lowercase);
    Some(NamedFolder { container: output.container.clone()?, folder: RunFolder { folder, manifest } })
}

/// Why it is not certain that a folder belongs to a run; `None` if it is certain. The name of a run's folder ends with
/// the id of one of the run's jobs or, if the operator landed the files, with the beginning of the run's uid.
pub(super) fn doubt(
    run: &FhirExport,
    status: &FhirExportStatus,
    named: &NamedFolder,
    role: RunRole,
) -> Option<FolderDoubt> {
    let Some((began, id)) =
        folder::parse(&named.folder.folder).filter(|_| folder::is_container(&named.container))
    else {
        return Some(FolderDoubt::NotARunsName);
    };
    let uid = run.uid().unwrap_or_default();
    let landed = uid.len() >= 8 && uid.get(..8) == Some(id);
    let jobs = status.job.iter().filter_map(|job| job.id.as_deref());
    let earlier = status.previous_jobs.iter().filter_map(|job| job.id.as_deref());
    if !landed && !jobs.chain(earlier).any(|job| job == id) {
        return Some(FolderDoubt::NotTheJobsName);
    }
    let created = run.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    if began < created.checked_sub(SKEW).unwrap_or(Timestamp::MIN) {
        return Some(FolderDoubt::OlderThanTheRun);
    }
    if named.folder.manifest.is_some() {
        return None;
    }
    match role {
        RunRole::Begins | RunRole::Continues => Some(FolderDoubt::NoManifest),
        RunRole::Aside => (adopted(status) && !landed).then_some(FolderDoubt::JobNotProven),
    }
}

/// Whether the run's job may be somebody else's, because the answer to the kick-off was lost.
fn adopted(status: &FhirExportStatus) -> bool {
    let because = |type_, reason| {
        condition::find(&status.conditions, type_).is_some_and(|c| c.is_true() && c.because(reason))
    };
    because(ConditionType::KickOffUncertain, Reason::JobAdopted)
        || because(ConditionType::Failed, Reason::JobNotOurs)
}
