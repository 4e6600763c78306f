//! What became of runs, taken into the status.

use std::sync::Arc;

use kube::ResourceExt;

use super::Observation;
use super::child::owned_by;
use super::turn::{Turn, has_ended, is_complete};
use super::{chain, retention, stages};
use crate::api::{ActiveRun, ConditionStatus, ConditionType, FhirExport, Reason, RunMode, RunStage};
use crate::core::condition;
use crate::core::effect::NoteType;
use crate::core::words;

/// How much of a run's message is repeated, in bytes.
const MAX_WORDS: usize = 400;

/// What came of an effect.
pub(super) fn answered(turn: &mut Turn<'_>, seen: Observation) {
    match seen {
        Observation::Made(run) => {
            if was_made(turn, &run) {
                let pending = turn.status.chain.as_ref().and_then(|chain| chain.pending.as_ref());
                let what = match pending {
                    None => String::new(),
                    Some(_) if let Some(stage) = stages::stage_of(&run.name_any()) => match stage {
                        RunStage::Members => ": who is in the group".to_owned(),
                        RunStage::Newcomers => ": those who joined the group, in full".to_owned(),
                    },
                    Some(run) if run.mode == RunMode::Full => ": a full run".to_owned(),
                    Some(run) => format!(": changes since {}", run.since.as_deref().unwrap_or_default()),
                };
                let message = format!("made FhirExport {}{what}", run.name_any());
                turn.note(NoteType::Normal, Reason::RunCreated, "Create", &message);
            }
        }
        Observation::Exists(run) if owned_by(&run, &turn.uid()) => {
            was_made(turn, &run);
        }
        Observation::Exists(other) => not_ours(turn, &other),
        Observation::Refused(words) => {
            let message = format!(
                "the API server refuses the run ({}); it is tried again each minute",
                words::cut(&words, MAX_WORDS)
            );
            held_up(turn, Reason::CreationRefused, &message);
        }
        Observation::Deleted => {}
        Observation::Listed(listed) => stages::listed(turn, listed),
        Observation::Unlisted(failure) => stages::unlisted(turn, &failure),
        Observation::FolderDeleted(result) => retention::answered(turn, result),
    }
}

/// A run cannot go on now, and is tried again each minute.
pub(super) fn held_up(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    turn.held_up = true;
    turn.set(ConditionType::Ready, ConditionStatus::False, reason, message);
    // A storage account that is away comes back.
    let comes = reason == Reason::StorageUnreachable;
    let stalled = if comes { ConditionStatus::False } else { ConditionStatus::True };
    turn.set(ConditionType::Stalled, stalled, reason, message);
}

/// A run that was intended is there; false if nobody waits for it.
fn was_made(turn: &mut Turn<'_>, run: &FhirExport) -> bool {
    let (name, uid) = (run.name_any(), run.uid());
    let Some(active) = turn.status.active.iter_mut().find(|a| a.name == name && a.uid.is_none()) else {
        return false;
    };
    active.uid.clone_from(&uid);
    let pending = turn.status.chain.as_mut().and_then(|chain| chain.pending.as_mut());
    if let Some(pending) = pending.filter(|pending| pending.name == name) {
        pending.uid = uid;
    }
    true
}

/// Somebody else's object has the name of the run: it is never taken for one of ours.
fn not_ours(turn: &mut Turn<'_>, other: &Arc<FhirExport>) {
    let name = other.name_any();
    let Some(run) = turn.status.active.iter().find(|a| a.name == name && a.uid.is_none()).cloned() else {
        return;
    };
    forget(turn, &run);
    let message = format!(
        "FhirExport {name} is not of this schedule and stays as it is; delete or rename it if it is not meant to be there"
    );
    turn.skip(run.slot_time, Reason::AdoptionRefused, &message);
    failed(turn, Reason::AdoptionRefused, &message);
}

/// Takes in the runs that are done, or gone.
pub(super) fn ended(turn: &mut Turn<'_>) {
    for run in turn.status.active.clone() {
        let child = turn.child(&run.name);
        if run.uid.is_none() {
            // Its answer was lost: it is there all the same, or it is made anew.
            if let Some(child) = child {
                was_made(turn, child);
            } else {
                continue;
            }
        }
        let uid = run.uid.clone().or_else(|| child.and_then(|child| child.uid()));
        match child.filter(|child| child.uid() == uid) {
            Some(child) if has_ended(child) => concluded(turn, &run, child),
            Some(child) if child.metadata.deletion_timestamp.is_none() => {}
            gone => {
                if let Some(child) = gone {
                    retention::lost(turn, child);
                }
                forget(turn, &run);
                let message = format!("FhirExport {} was deleted before its end", run.name);
                failed(turn, Reason::RunLost, &message);
                turn.note(NoteType::Warning, Reason::RunLost, "Finish", &message);
            }
        }
    }
}

fn concluded(turn: &mut Turn<'_>, run: &ActiveRun, child: &FhirExport) {
    let pending = turn.status.chain.as_ref().and_then(|c| c.pending.clone()).filter(|p| p.name == run.name);
    let complete = is_complete(child);
    let taken = match run.stage {
        Some(stage) => match stages::take_in(turn, run, stage, child) {
            Ok(()) => return,
            Err(why) => Err(why),
        },
        None if pending.is_some() => chain::take_in(turn, child),
        None => Ok(()),
    };
    forget(turn, run);
    retention::taken_in(turn, child, pending.as_ref(), taken.is_ok());
    let told = |type_| {
        let conditions = child.status.as_ref().map(|status| status.conditions.as_slice());
        condition::find(conditions.unwrap_or_default(), type_)
            .map(|c| words::cut(&c.message, MAX_WORDS))
            .unwrap_or_default()
    };
    match (complete, taken) {
        (true, Ok(())) => {
            turn.status.consecutive_failures = Some(0);
            turn.status.last_successful_time =
                child.status.as_ref().and_then(|status| status.completion_time);
            let message = format!("FhirExport {}: {}", run.name, told(ConditionType::Complete));
            turn.set(ConditionType::LastRunSucceeded, ConditionStatus::True, Reason::RunSucceeded, &message);
            turn.note(NoteType::Normal, Reason::RunSucceeded, "Finish", &message);
        }
        (true, Err(why)) => {
            let message = format!(
                "FhirExport {} does not count, and the next run repeats it: {why}: {}",
                run.name,
                told(ConditionType::Complete)
            );
            failed(turn, Reason::RunFailed, &message);
            turn.note(NoteType::Warning, Reason::RunFailed, "Finish", &message);
        }
        (false, _) => {
            let message = format!("FhirExport {}: {}", run.name, told(ConditionType::Failed));
            failed(turn, Reason::RunFailed, &message);
            turn.note(NoteType::Warning, Reason::RunFailed, "Finish", &message);
        }
    }
}

/// A run that is not waited for any more, and does not count.
pub(super) fn forget(turn: &mut Turn<'_>, run: &ActiveRun) {
    turn.status.active.retain(|active| active.name != run.name);
    if let Some(chain) = turn.status.chain.as_mut()
        && chain.pending.as_ref().is_some_and(|pending| pending.name == stages::run_of(&run.name))
    {
        chain.pending = None;
    }
}

pub(super) fn failed(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    let failures = turn.status.consecutive_failures.unwrap_or(0);
    turn.status.consecutive_failures = Some(failures.saturating_add(1));
    turn.set(ConditionType::LastRunSucceeded, ConditionStatus::False, reason, message);
}
