//! The end of a run: the files are checked, the manifest is stored, and the outcome is told. Terminal is
//! absorbing; after it only the finalizer and the time to live are left.

use std::sync::Arc;
use std::time::Duration;

use super::landed::Told;
use super::record::{apply, record};
use super::summary::{counted, place, took};
use super::turn::after;
use super::verdict::{self, Verdict};
use super::{Step, Turn, clean_up, orphan, plan};
use crate::api::{ConditionStatus, ConditionType, ErrorFilePolicy, Reason, StoredManifest};
use crate::core::address::BlobAddress;
use crate::core::condition::whole_seconds;
use crate::core::effect::{Effect, NoteType};
use crate::core::ledger::{Checked, StorageFailure, StorageFailureKind, Verification};
use crate::core::manifest::Manifest;
use crate::core::poll::retry_delay;

/// How often a check that failed in a way that may pass is tried again.
const VERIFY_TRIES: u32 = 10;
/// The same where something is missing in the cluster: these tries are cheap, and a repair should be seen at once.
const VERIFY_TRIES_MISSING: u32 = 100;
/// How often the manifest is stored where that fails in a way that may pass: an outage of minutes is outlived.
const STORE_TRIES: u32 = 8;
/// The first delay between two of them; it doubles up to the longest.
const VERIFY_DELAY: Duration = Duration::from_secs(2);
const VERIFY_DELAY_MAX: Duration = Duration::from_secs(120);
/// How soon to look at a check that goes on beside; its end wakes the run anyway.
const VERIFY_LOOK: Duration = Duration::from_secs(30);

/// The job is done and its manifest is at hand.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let Some(manifest) = turn.memory.manifest.clone() else { return turn.rest() };
    if turn.because(ConditionType::KickOffUncertain, Reason::JobAdopted) {
        // So older builds answer for a job that was cancelled, by whomever, and keep what it wrote.
        if manifest.output.is_empty() {
            return orphan::proves_nothing(turn);
        }
        if let Err(message) = orphan::prove(&mut turn, &manifest) {
            return fail(turn, Reason::JobNotOurs, message);
        }
    }
    let endpoint = turn.server().and_then(|s| s.blob_endpoint());
    let files = match verdict::addresses(&manifest, endpoint) {
        Ok(files) => files,
        Err(elsewhere) => {
            let message = format!(
                "the files are in {elsewhere}, not in storage.azureBlob.endpoint of the FhirServer; set it to the account that the FHIR service exports to"
            );
            return fail(turn, Reason::StorageMismatch, &message);
        }
    };
    // Nothing is read or written in a container that is not this run's.
    let asked = turn.server().and_then(|s| plan::container(s.spec(), &turn.spec().request));
    if let Some(asked) = asked.filter(|_| endpoint.is_some())
        && let Some(file) = files.iter().find(|file| file.container != asked)
    {
        let message = format!(
            "the manifest names files in container {}, but {asked} was asked for; look at the FHIR service's Export settings",
            file.container
        );
        return fail(turn, Reason::StorageMismatch, &message);
    }
    let check = turn.memory.verified.is_none() && endpoint.is_some() && !files.is_empty();
    // A check that is done within seconds is not worth a write of its own.
    let takes_long = turn.memory.verify_failures > 0
        || turn.memory.verify_began.is_some_and(|began| after(began, VERIFY_LOOK) <= turn.now);
    if !check || takes_long {
        record(&mut turn, &manifest, &files);
        turn.told_files(manifest.output.len());
    }
    if check {
        if takes_long {
            turn.state("Verifying");
        }
        if turn.going_on {
            let look = turn.later(VERIFY_LOOK);
            return turn.wait_until(&[Some(look)]);
        }
        if let Some(due) = turn.memory.verify_at.filter(|due| *due > turn.now) {
            return turn.wait_until(&[Some(due)]);
        }
        let max_bytes = turn.server().map_or(0, |s| s.verify_max_bytes());
        return match verdict::plan(&manifest, &files, max_bytes) {
            Some(plan) => turn.perform(Effect::Verify(Arc::new(plan))),
            None => fail(
                turn,
                Reason::StorageMismatch,
                "the manifest names files of several containers; look at the FHIR service's Export settings",
            ),
        };
    }
    let mut verdict = match (&turn.memory.verified, endpoint) {
        (_, None) => Verdict::unknown(
            Reason::NoStorageAccess,
            "the FhirServer has no storage, so the files were not checked; set storage to have that done",
        ),
        (None, Some(_)) => Verdict::nothing_to_check(),
        (Some(Err((reason, why))), _) => Verdict::unknown(*reason, why),
        (Some(Ok(checked)), _) => verdict::judge(&manifest, &files, checked),
    };
    verdict.checks.requested_types =
        verdict::requested_types(&manifest, turn.spec().request.types.as_deref());
    apply(&mut turn, &verdict);
    if verdict.status == ConditionStatus::False {
        return fail(
            turn,
            Reason::VerificationFailed,
            &format!("{}; keep the data apart and export anew", verdict.message),
        );
    }
    if turn.memory.stored.is_none()
        && endpoint.is_some()
        && let Some((container, path)) = manifest_place(&turn, &files)
    {
        if let Some(due) = turn.memory.store_at.filter(|due| *due > turn.now) {
            return turn.wait_until(&[Some(due)]);
        }
        return turn.perform(Effect::StoreManifest { container, path, body: Arc::new(manifest.to_store()) });
    }
    let errors = manifest.errors.len();
    let told = Told {
        errors: (errors > 0).then(|| {
            format!("the server reports errors in {}: read them", counted(errors as u64, "error file"))
        }),
        words: None,
    };
    let manifest_path = manifest_place(&turn, &files).map(|(_, path)| path);
    complete(turn, &manifest, &Ending { manifest_path, errors: told })
}

/// What is known at the end besides the manifest.
pub(super) struct Ending {
    /// Where the manifest was stored, if it was.
    pub(super) manifest_path: Option<String>,
    /// What the server's error files say.
    pub(super) errors: Told,
}

/// How the check of the files stands.
pub(super) fn verification(turn: &mut Turn<'_>, state: Verification) {
    match state {
        Verification::Running { .. } => {
            turn.going_on = true;
            turn.memory.verify_began.get_or_insert(turn.now);
        }
        Verification::Done(checked) => turn.memory.verified = Some(Ok(Arc::new(checked))),
        Verification::Failed(failure) => {
            turn.memory.verify_failures += 1;
            let tries = i32::try_from(turn.memory.verify_failures).unwrap_or(i32::MAX);
            let own = retry_delay(VERIFY_DELAY, VERIFY_DELAY_MAX, tries, turn.jitter);
            let again = match failure.kind {
                StorageFailureKind::Transient { retry_after } => {
                    Some((VERIFY_TRIES, retry_after.unwrap_or(own).min(VERIFY_DELAY_MAX)))
                }
                StorageFailureKind::Missing => Some((VERIFY_TRIES_MISSING, turn.tuning.missing_retry)),
                _ => None,
            };
            match again {
                Some((limit, wait)) if turn.memory.verify_failures < limit => {
                    turn.memory.verify_at = Some(turn.later(wait));
                    let why = format!("the files are not checked yet: {}", failure.message);
                    turn.set(ConditionType::Verified, ConditionStatus::Unknown, unchecked(&failure), &why);
                }
                _ if failure.kind == StorageFailureKind::NotFound => {
                    // Without the container none of its files is there.
                    let files = turn.memory.manifest.as_ref().map_or(0, |m| m.files());
                    let none = Checked { bytes: None, lines: None };
                    turn.memory.verified = Some(Ok(Arc::new(vec![none; files])));
                }
                _ => {
                    let why = format!("the files were not checked: {}", failure.message);
                    turn.memory.verified = Some(Err((unchecked(&failure), why)));
                }
            }
        }
    }
}

fn unchecked(failure: &StorageFailure) -> Reason {
    match failure.kind {
        StorageFailureKind::Transient { .. } => Reason::StorageUnreachable,
        _ => Reason::NoStorageAccess,
    }
}

/// What came of storing the manifest. It never fails a run whose data is complete.
pub(super) fn stored(turn: &mut Turn<'_>, result: Result<String, StorageFailure>) {
    if let Err(StorageFailure { kind: StorageFailureKind::Transient { retry_after }, .. }) = &result
        && turn.memory.store_failures < STORE_TRIES - 1
    {
        turn.memory.store_failures += 1;
        let tries = i32::try_from(turn.memory.store_failures).unwrap_or(i32::MAX);
        let own = retry_delay(VERIFY_DELAY, VERIFY_DELAY_MAX, tries, turn.jitter);
        turn.memory.store_at = Some(turn.later(retry_after.unwrap_or(own).min(VERIFY_DELAY_MAX)));
        return;
    }
    turn.memory.stored = Some(result.map_err(|failure| failure.message));
}

/// The stored manifest lies beside the data; a run without files has no place for it.
fn manifest_place(turn: &Turn<'_>, files: &[BlobAddress]) -> Option<(String, String)> {
    let first = files.first()?;
    let asked = turn.server().and_then(|s| plan::container(s.spec(), &turn.spec().request));
    // The service makes one of this name where none was asked for; another one is somebody else's.
    if asked.is_none() && !first.container.starts_with("export-") {
        return None;
    }
    let path = match first.blob.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/manifest.json"),
        None => "manifest.json".to_owned(),
    };
    Some((first.container.clone(), path))
}

/// The data is complete.
pub(super) fn complete(mut turn: Turn<'_>, manifest: &Manifest, ending: &Ending) -> Step {
    if let Some(Ok(sha256)) = turn.memory.stored.clone()
        && let Some(path) = ending.manifest_path.clone()
        && let Some(output) = turn.status.output.as_mut()
    {
        output.manifest = Some(StoredManifest { path, sha256 });
    }
    let errors = ending.errors.errors.as_ref();
    if let Some(errors) = errors.filter(|_| turn.spec().error_file_policy == Some(ErrorFilePolicy::Fail)) {
        let message = format!("{errors}, and errorFilePolicy is Fail");
        return fail(turn, Reason::ServerReportedErrors, &message);
    }
    let types = manifest.by_type().len();
    let place = turn.status.output.as_ref().and_then(place);
    let resources = turn.status.output.as_ref().and_then(|o| u64::try_from(o.resources?).ok());
    let nothing_new = manifest.output.is_empty() && turn.spec().request.since.is_some();
    let what = match resources {
        _ if manifest.output.is_empty() && ending.errors.errors.is_some() => "no data came".to_owned(),
        _ if nothing_new => "nothing changed since then, so there are no files".to_owned(),
        _ if manifest.output.is_empty() => {
            "no resources matched, so there are no files; check the request if that is a surprise".to_owned()
        }
        Some(resources) => format!("{} of {}", counted(resources, "resource"), counted(types as u64, "type")),
        None => {
            format!("{} of {}", counted(manifest.output.len() as u64, "file"), counted(types as u64, "type"))
        }
    };
    let at = place.filter(|_| !manifest.output.is_empty()).map(|p| format!(" in {p}")).unwrap_or_default();
    let mut message = format!("{what}{at}");
    let reason = if let Some(errors) = errors {
        message = format!("{message}; {errors}");
        Reason::CompletedWithErrors
    } else {
        Reason::Exported
    };
    if let Some(words) = &ending.errors.words {
        message = format!("{message}; the server says: {words}");
    }
    if let Some(Err(why)) = &turn.memory.stored {
        message = format!("{message}; the manifest was not stored beside the data ({why})");
    }
    turn.set_true(ConditionType::Complete, reason, &message);
    turn.state("Complete");
    let started = turn.status.start_time.filter(|_| !manifest.output.is_empty());
    let took = started.map(|start| format!(" in {}", took(turn.now, start))).unwrap_or_default();
    let odd = errors.is_some() || manifest.output.is_empty() && !nothing_new;
    let type_ = if odd { NoteType::Warning } else { NoteType::Normal };
    let reported = errors.map(|errors| format!("; {errors}")).unwrap_or_default();
    turn.note(type_, reason, "Finish", &format!("{what}{took}{reported}"));
    ended(&mut turn);
    after_end(turn)
}

/// Ends the run without success.
pub(super) fn fail(mut turn: Turn<'_>, reason: Reason, message: &str) -> Step {
    failed(&mut turn, reason, message);
    after_end(turn)
}

/// Takes the end without success into the status.
pub(super) fn failed(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    turn.set_true(ConditionType::Failed, reason, message);
    turn.set_true(ConditionType::Stalled, reason, message);
    let cancelled = reason == Reason::Cancelled;
    turn.state(if cancelled { "Cancelled" } else { "Failed" });
    let type_ = if cancelled { NoteType::Normal } else { NoteType::Warning };
    turn.note(type_, reason, "Finish", message);
    ended(turn);
}

fn ended(turn: &mut Turn<'_>) {
    turn.set_false(ConditionType::Reconciling, Reason::Finished, "the run has ended");
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Finished, "the run has ended");
    }
    turn.status.completion_time = Some(whole_seconds(turn.now));
    turn.status.next_attempt_time = None;
    turn.memory = super::Memory::default();
}

/// After the end: let the object go, and delete it when its time has come.
pub(super) fn after_end(mut turn: Turn<'_>) -> Step {
    if turn.has_finalizer() {
        let success = turn.is_true(ConditionType::Complete);
        let finished = success || turn.because(ConditionType::Failed, Reason::VerificationFailed);
        if finished && let Some(due) = clean_up::due(&mut turn, success) {
            return due.into_step(turn);
        }
        return turn.perform(Effect::RemoveFinalizer);
    }
    if turn.deleting() {
        return turn.rest();
    }
    let ttl = turn.spec().ttl_seconds_after_finished.and_then(|s| u64::try_from(s).ok());
    let Some(due) =
        ttl.zip(turn.status.completion_time).map(|(ttl, end)| after(end, Duration::from_secs(ttl)))
    else {
        return turn.rest();
    };
    if due <= turn.now { turn.perform(Effect::DeleteSelf) } else { turn.wait_until(&[Some(due)]) }
}
