//! Checks the files that an Azure server wrote, stores the manifest beside them, and reports the result.

use std::sync::Arc;
use std::time::Duration;

use super::super::ask;
use super::super::check;
use super::super::end::{self, Ending};
use super::super::flow::{Flow, Next};
use super::super::give_up::give_up;
use super::super::landed::ErrorReport;
use super::super::memory::{Cancelling, Checking, Doubt, JobOwner, Leaving, Running};
use super::super::phase::Phase;
use super::super::progress;
use super::super::record::{apply, record};
use super::super::store;
use super::super::summary::counted;
use super::super::turn::Turn;
use super::super::verdict::{self, Verdict};
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::address::BlobAddress;
use crate::core::azure;
use crate::core::effect::{Effect, Observation};
use crate::core::folder::{MANIFEST, OWN_CONTAINER};
use crate::core::ledger::VerifyPlan;
use crate::core::manifest::Manifest;
use crate::core::retry::after;

/// The time between two looks at a check that runs beside the reconciles. The end of the check wakes the run
/// earlier. The conditions show a check that takes longer than this.
const LOOK: Duration = Duration::from_secs(30);

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Checking, seen: Observation) -> Phase {
    match seen {
        Observation::Verification(state) => check::observe(turn, &mut memory, state),
        Observation::ManifestStored(result) => store::observe(turn, &mut memory.store, result),
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Poll(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Files(_)
        | Observation::Landing(_)
        | Observation::LandingStopped
        | Observation::TypeCounted { .. }
        | Observation::LogStored(_)
        | Observation::CleanedUp(_) => {}
    }
    Phase::Checking(Box::new(memory))
}

pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Checking) -> Flow {
    if turn.deleting() {
        // The job is done: there is nothing to cancel.
        return Flow::Became(Phase::Leaving(Leaving::default()));
    }
    if ask::server_lost(turn).is_some() {
        return Flow::Became(without_server(turn, &memory));
    }
    if memory.owner == JobOwner::Adopted
        && let Some(phase) = prove(turn, &mut memory)
    {
        return Flow::Became(phase);
    }
    let endpoint = turn.server().and_then(|server| server.blob_endpoint());
    let files = match files(turn, &memory.manifest, endpoint) {
        Ok(files) => files,
        Err(message) => return Flow::Became(end::fail(turn, Reason::StorageMismatch, &message)),
    };
    if endpoint.is_some() {
        check::heed_end(turn, &mut memory);
    }
    let to_check = endpoint.is_some() && memory.outcome.is_none() && !files.is_empty();
    // A check that finishes within seconds is not worth a write of its own.
    let takes_long =
        memory.check.failures > 0 || memory.check_began.is_some_and(|began| after(began, LOOK) <= turn.now);
    if !to_check || takes_long {
        record(turn, &memory.manifest, &files);
        progress::finished(turn, memory.manifest.output.len());
    }
    if to_check {
        memory.told |= takes_long;
        return check_files(turn, memory, &files);
    }
    let mut verdict = match (&memory.outcome, endpoint) {
        (_, None) => Verdict::unknown(
            Reason::NoStorageAccess,
            "the FhirServer has no storage, so the files were not checked; set storage to have that done",
        ),
        (None, Some(_)) => Verdict::nothing_to_check(),
        (Some(Err((reason, why))), _) => Verdict::unknown(*reason, why),
        (Some(Ok(checked)), _) => verdict::judge(&memory.manifest, &files, checked),
    };
    verdict.checks.requested_types =
        verdict::requested_types(&memory.manifest, turn.spec().request.types.as_deref());
    apply(turn, &verdict);
    if verdict.status == ConditionStatus::False {
        let message = format!("{}; keep the data apart and export anew", verdict.message);
        return Flow::Became(end::fail(turn, Reason::VerificationFailed, &message));
    }
    tell(turn, memory, &files)
}

/// Without the server nothing can be proven or checked. The job's status is requested again once the server is back.
fn without_server(turn: &Turn<'_>, memory: &Checking) -> Phase {
    let owner = memory.owner;
    if turn.status.cancellation.is_some() {
        Phase::Cancelling(Cancelling { owner, ..Cancelling::default() })
    } else {
        Phase::Running(Running { owner, ..Running::default() })
    }
}

/// Compares the manifest of an adopted job with the request. Returns the next phase if the job
/// is not proven to be ours.
fn prove(turn: &mut Turn<'_>, memory: &mut Checking) -> Option<Phase> {
    // Older builds answer like this for a job that was cancelled, no matter by whom, and keep what it wrote.
    if memory.manifest.output.is_empty() {
        return Some(proves_nothing(turn));
    }
    let container = ask::container(turn);
    let ours = turn.server().and_then(|server| {
        azure::kick_off::request(&server.spec().url, &turn.spec().request, container.as_deref()).ok()
    });
    if ours.is_some_and(|ours| azure::kick_off::same_request(&ours.url, &memory.manifest.request)) {
        let message = "the manifest proves that the job is this export's";
        turn.set_false(ConditionType::KickOffUncertain, Reason::JobConfirmed, message);
        memory.owner = JobOwner::Own;
        return None;
    }
    // The job is left to its owner. Our own was never found, and may still run.
    turn.status.output = None;
    turn.leave_unseen_job();
    turn.status.job = None;
    let message = "the job that was found in the container is another export's, as its manifest shows; create a new \
        FhirExport";
    Some(end::fail(turn, Reason::JobNotOurs, message))
}

/// The manifest of an adopted job names no file, so the job counts as not found.
fn proves_nothing(turn: &mut Turn<'_>) -> Phase {
    turn.status.output = None;
    if let Some(job) = turn.status.job.as_mut() {
        (job.id, job.status_url, job.kick_off_time) = (None, None, None);
    }
    // The attempt was counted when the job was found.
    turn.status.attempts = turn.status.attempts.map(|attempts| attempts.saturating_sub(1));
    let why =
        "the job that was found in the container has no files, so that it may be one that was cancelled";
    give_up(turn, Doubt::AnswerLost, why)
}

/// The addresses of the files. The error says why they are not where they should be.
fn files(turn: &Turn<'_>, manifest: &Manifest, endpoint: Option<&str>) -> Result<Vec<BlobAddress>, String> {
    let files = verdict::addresses(manifest, endpoint).map_err(|elsewhere| {
        format!(
            "the files are in {elsewhere}, not in storage.azureBlob.endpoint of the FhirServer; set it to the \
             account that the FHIR service exports to"
        )
    })?;
    // The operator reads and writes only in the container of this run.
    let asked = ask::container(turn).filter(|_| endpoint.is_some());
    if let Some(asked) = asked
        && let Some(file) = files.iter().find(|file| file.container != asked)
    {
        return Err(format!(
            "the manifest names files in container {}, but {asked} was asked for; look at the FHIR service's Export \
             settings",
            file.container
        ));
    }
    Ok(files)
}

/// Starts the check, or waits for it.
fn check_files(turn: &mut Turn<'_>, memory: Checking, files: &[BlobAddress]) -> Flow {
    let end = check::end(turn, &memory);
    let next = if turn.task_runs {
        Next::wait_until(&[Some(turn.later(LOOK)), end])
    } else if let Some(due) = memory.check.due_after(turn.now) {
        Next::wait_until(&[Some(due), end])
    } else if let Some(plan) = plan(turn, &memory, files) {
        Next::perform(Effect::Verify(Arc::new(plan)))
    } else {
        let message =
            "the manifest names files of several containers; look at the FHIR service's Export settings";
        return Flow::Became(end::fail(turn, Reason::StorageMismatch, message));
    };
    Flow::Do(Phase::Checking(Box::new(memory)), next)
}

fn plan(turn: &Turn<'_>, memory: &Checking, files: &[BlobAddress]) -> Option<VerifyPlan> {
    let max_bytes = turn.server().map_or(0, |server| server.verify_max_bytes());
    verdict::plan(&memory.manifest, files, max_bytes)
}

/// No check failed: stores the manifest, then ends the run.
fn tell(turn: &mut Turn<'_>, memory: Checking, files: &[BlobAddress]) -> Flow {
    let storage = turn.server().is_some_and(|server| server.blob_endpoint().is_some());
    let place = manifest_place(turn, files);
    if memory.store.outcome.is_none()
        && storage
        && let Some((container, path)) = place.clone()
    {
        let next = store::next(turn, &memory.store, None, || {
            let body = Arc::new(memory.manifest.to_store());
            Effect::StoreManifest { container, path, body }
        });
        return Flow::Do(Phase::Checking(Box::new(memory)), next);
    }
    let errors = memory.manifest.errors.len();
    let errors = ErrorReport {
        errors: (errors > 0).then(|| {
            format!("the server reports errors in {}: read them", counted(errors as u64, "error file"))
        }),
        words: None,
    };
    let ending = Ending {
        manifest_path: place.map(|(_, path)| path),
        stored: memory.store.outcome.clone(),
        unstored_log: None,
        errors,
    };
    Flow::Became(end::complete(turn, &memory.manifest, &ending))
}

/// Container and path of the manifest beside the data; `None` if the run has no files, or if the container may
/// belong to somebody else.
fn manifest_place(turn: &Turn<'_>, files: &[BlobAddress]) -> Option<(String, String)> {
    let first = files.first()?;
    // The service creates a container of this name if the request names none; any other container
    // belongs to somebody else.
    if ask::container(turn).is_none() && !first.container.starts_with(OWN_CONTAINER) {
        return None;
    }
    let path = match first.blob.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{MANIFEST}"),
        None => MANIFEST.to_owned(),
    };
    Some((first.container.clone(), path))
}
