//! Takes in what was observed: the result of the last effect, and exports that have ended or vanished.

use std::sync::Arc;

use kube::ResourceExt;

use super::active::{created, failed, forget, held_up, with_members_stage};
use super::decision::{Listing, ScheduleObservation};
use super::names::{owned_by, stage_of};
use super::run::{has_ended, is_deleting};
use super::turn::{Reading, Turn};
use super::{conclude, retention};
use crate::api::{FhirExport, Reason, RunMode, RunStage};
use crate::core::effect::NoteType;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::words;

/// How much of the API server's message is repeated, in bytes.
const MAX_WORDS: usize = 400;

/// Takes in the result of the last effect.
pub(super) fn answered(turn: &mut Turn<'_>, seen: ScheduleObservation) {
    match seen {
        ScheduleObservation::Created(run) => {
            if created(turn, &run) {
                tell_created(turn, &run);
            }
        }
        ScheduleObservation::Exists(run) if owned_by(&run, &turn.uid()) => {
            created(turn, &run);
        }
        ScheduleObservation::Exists(other) => not_ours(turn, &other),
        ScheduleObservation::Refused(words) => {
            let message = format!(
                "the API server refuses the run ({}); it is tried again each minute",
                words::cut(&words, MAX_WORDS)
            );
            held_up(turn, Reason::CreationRefused, &message);
        }
        ScheduleObservation::Deleted => {}
        ScheduleObservation::Members { asked, listing } => match listing {
            Listing::Running => turn.reading = Reading::Running,
            Listing::Done(listed) => turn.reading = Reading::Done(asked, listed),
            Listing::Failed(failure) => unlisted(turn, &failure),
        },
        ScheduleObservation::FolderDeleted(result) => retention::answered(turn, result),
    }
}

/// Publishes the event for an export that was created.
fn tell_created(turn: &mut Turn<'_>, run: &FhirExport) {
    let name = run.name_any();
    let pending = turn.status.chain.as_ref().and_then(|chain| chain.pending.as_ref());
    let what = pending.map_or(String::new(), |pending| match (stage_of(&name), pending.mode) {
        (Some(RunStage::Members), _) => ": who is in the group".to_owned(),
        (Some(RunStage::Newcomers), _) => ": those who joined the group, in full".to_owned(),
        (None, RunMode::Full) => ": a full run".to_owned(),
        (None, RunMode::Incremental | RunMode::Newcomers) => {
            format!(": changes since {}", pending.since.as_deref().unwrap_or_default())
        }
    });
    turn.note(NoteType::Normal, Reason::RunCreated, "Create", &format!("made FhirExport {name}{what}"));
}

/// An object that this schedule does not own has the name of a run. The run is skipped, and the object is not touched.
fn not_ours(turn: &mut Turn<'_>, other: &Arc<FhirExport>) {
    let name = other.name_any();
    let Some(run) = turn.status.active.iter().find(|a| a.name == name && a.uid.is_none()).cloned() else {
        return;
    };
    forget(turn, &run);
    let message = format!(
        "FhirExport {name} is not of this schedule and stays as it is; delete or rename it if it is not meant to be \
         there"
    );
    turn.skip(run.slot_time, Reason::AdoptionRefused, &message);
    failed(turn, Reason::AdoptionRefused, &message);
}

/// The members could not be listed. If the storage account did not answer, the run waits for it;
/// otherwise the run is given up.
fn unlisted(turn: &mut Turn<'_>, failure: &StorageFailure) {
    let Some(run) = with_members_stage(turn).cloned() else { return };
    match failure.kind {
        StorageFailureKind::Transient { .. } => {
            let message = format!(
                "the members of the group cannot be read ({}); it is tried again each minute",
                failure.message
            );
            held_up(turn, Reason::StorageUnreachable, &message);
        }
        StorageFailureKind::NotConfigured
        | StorageFailureKind::Missing
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::NotGranted
        | StorageFailureKind::NotMounted
        | StorageFailureKind::Denied
        | StorageFailureKind::NotFound
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => conclude::unreadable(turn, &run, &failure.message),
    }
}

/// The state of an active run's export.
enum Fate {
    /// The export is still to be created.
    ToCreate,
    /// The export runs, or waits for its start.
    Running,
    Ended(Arc<FhirExport>),
    /// Somebody deletes it, and its finalizer still holds it.
    Deleting(Arc<FhirExport>),
    Gone,
}

/// Takes in the exports of active runs that have ended or vanished.
pub(super) fn runs(turn: &mut Turn<'_>) {
    for run in turn.status.active.clone() {
        let child = turn.child(&run.name);
        let fate = match (&run.uid, child) {
            (None, None) => Fate::ToCreate,
            (Some(uid), Some(child)) if child.uid().as_ref() != Some(uid) => Fate::Gone,
            (Some(_), None) => Fate::Gone,
            (_, Some(child)) if has_ended(child) => Fate::Ended(child.clone()),
            (_, Some(child)) if is_deleting(child) => Fate::Deleting(child.clone()),
            (_, Some(_)) => Fate::Running,
        };
        if let (None, Some(child)) = (&run.uid, child) {
            // The export exists, although the answer to its creation was lost.
            created(turn, child);
        }
        match fate {
            Fate::ToCreate | Fate::Running => {}
            Fate::Ended(child) => conclude::ended(turn, &run, &child),
            Fate::Deleting(child) => conclude::deleted(turn, &run, Some(&child)),
            Fate::Gone => conclude::deleted(turn, &run, None),
        }
    }
}
