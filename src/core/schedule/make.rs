//! How a run is made. The status records the run before its export is created, under a name that follows from
//! its time. So no run is made twice, and a crash in between only delays it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::active::{forget, under_way};
use super::chain::{self, FullDue};
use super::child::{self, RunPlan};
use super::decision::ScheduleEffect;
use super::instant::after;
use super::names::{name_of, name_of_token, run_of};
use super::readiness::Ready;
use super::turn::Turn;
use super::{conclude, stages};
use crate::api::{ActiveRun, ConcurrencyPolicy, FhirExport, RUN_NOW_ANNOTATION, Reason, RunStage};
use crate::core::condition::{next_whole_second, whole_seconds};
use crate::core::effect::NoteType;

/// How many runs may be active at once with `concurrencyPolicy: Allow`, so that the status keeps a bounded size.
pub(super) const MAX_BESIDE: usize = 32;
/// How long a run may wait for its start unless the spec says otherwise, in seconds. An export that is
/// restored from a backup later than this exports nothing.
const WINDOW: i64 = 24 * 3600;
/// The prefix of an annotation `run-now` that asks for a full run.
const FULL: &str = "full-";

/// The policy for a run that is due while another one is not done.
pub(super) fn policy(turn: &Turn<'_>) -> ConcurrencyPolicy {
    let set = turn.spec().concurrency_policy.unwrap_or_default();
    // The schema refuses this combination, too: runs of a chain build on each other.
    let chained = turn.spec().incremental.is_some() && set == ConcurrencyPolicy::Allow;
    if chained { ConcurrencyPolicy::Forbid } else { set }
}

/// The export of the oldest run that is not done.
pub(super) fn running(turn: &Turn<'_>) -> Option<Arc<FhirExport>> {
    turn.status.active.iter().find_map(|run| turn.child(&run.name)).cloned()
}

/// Deletes a run's export, because a newer run takes its place.
pub(super) fn replace(turn: &mut Turn<'_>, run: Arc<FhirExport>) -> ScheduleEffect {
    let message = format!("deletes FhirExport {}, since the next run is due", run.name_any());
    turn.note(NoteType::Warning, Reason::Replaced, "Replace", &message);
    ScheduleEffect::Delete(run)
}

/// Makes the run that the annotation `run-now` asks for, unless it was already made or must wait.
pub(super) fn asked_for(turn: &mut Turn<'_>, ready: &Ready) -> Option<ScheduleEffect> {
    let token = turn.schedule.annotations().get(RUN_NOW_ANNOTATION).filter(|token| !token.is_empty())?;
    let name = name_of_token(&turn.name(), token);
    let exists = turn.children().any(|child| run_of(&child.name_any()) == name);
    if exists || turn.status.last_run_now.as_ref() == Some(&name) {
        return None;
    }
    match (policy(turn), running(turn)) {
        (ConcurrencyPolicy::Replace, Some(run)) => return Some(replace(turn, run)),
        (ConcurrencyPolicy::Forbid, Some(_)) => return None,
        (ConcurrencyPolicy::Allow, Some(_)) if turn.status.active.len() >= MAX_BESIDE => return None,
        (ConcurrencyPolicy::Allow, Some(_)) | (_, None) => {}
    }
    turn.status.last_run_now = Some(name.clone());
    if token.starts_with(FULL) && turn.spec().incremental.is_some() {
        chain::require_full(turn, FullDue::Requested);
    }
    let slot = whole_seconds(turn.now);
    Some(begin(turn, ready, &name, slot))
}

/// Records a run in the status, and makes it.
pub(super) fn begin(turn: &mut Turn<'_>, ready: &Ready, name: &str, slot: Timestamp) -> ScheduleEffect {
    let stage = ready.tracks.then_some(RunStage::Members);
    let run = ActiveRun { name: name_of(name, stage), uid: None, slot_time: slot, stage };
    turn.status.active.push(run.clone());
    make(turn, ready, &run)
}

/// Makes the run that is recorded in the status and has no export yet. A run that was begun for another
/// server or request is given up.
pub(super) fn unmade(turn: &mut Turn<'_>, ready: &Ready) -> Option<ScheduleEffect> {
    let run = turn.status.active.iter().find(|run| run.uid.is_none()).cloned()?;
    if outdated(turn, ready, &run) {
        conclude::outdated(turn, &run);
        return None;
    }
    Some(make(turn, ready, &run))
}

/// Whether what the run found so far belongs to another server or request.
fn outdated(turn: &Turn<'_>, ready: &Ready, run: &ActiveRun) -> bool {
    match turn.pending(run_of(&run.name)) {
        Some(pending) => under_way(turn, run) && pending.fingerprint != ready.fingerprint,
        None => run.stage.is_some(),
    }
}

/// Builds the export of a recorded run from the spec and the chain as they are now.
fn make(turn: &mut Turn<'_>, ready: &Ready, run: &ActiveRun) -> ScheduleEffect {
    let link = chain::link(turn, ready, run_of(&run.name), run.slot_time);
    if let Some(link) = &link {
        turn.status.chain.get_or_insert_default().pending = Some(link.pending.clone());
    }
    let plan = RunPlan {
        name: run.name.clone(),
        slot_time: run.slot_time,
        stage: run.stage,
        request: stages::request(turn, run, link.as_ref()),
        kick_off_before: next_whole_second(window(turn, run).unwrap_or_else(|| after(turn.now, WINDOW))),
        link,
    };
    ScheduleEffect::Create(Box::new(child::export(turn.schedule, &plan)))
}

/// Until when a run may start; `None` if the spec sets no deadline, or the run has begun.
fn window(turn: &Turn<'_>, run: &ActiveRun) -> Option<Timestamp> {
    let deadline = turn.spec().starting_deadline_seconds.filter(|_| !under_way(turn, run));
    deadline.map(|deadline| after(run.slot_time, deadline))
}

/// Drops recorded runs whose export could not be created in time.
pub(super) fn drop_the_late(turn: &mut Turn<'_>) {
    for run in turn.status.active.clone() {
        if run.uid.is_none() && window(turn, &run).is_some_and(|end| end <= turn.now) {
            forget(turn, &run);
            turn.skip(run.slot_time, Reason::StartWindowMissed, "it could not be made in time");
        }
    }
}
