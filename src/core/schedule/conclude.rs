//! The end of a run: what it means for the chain, for the folders, and for the conditions.

use std::sync::Arc;

use super::active::{failed, forget};
use super::names::run_of;
use super::run::{conditions, ended_at, is_complete};
use super::turn::Turn;
use super::{chain, retention, stages};
use crate::api::{ActiveRun, ConditionStatus, ConditionType, FhirExport, Reason};
use crate::core::condition;
use crate::core::effect::NoteType;
use crate::core::words;

/// How much of an export's message is repeated, in bytes.
const MAX_WORDS: usize = 400;

/// Takes in the result of an export of a run that has ended.
pub(super) fn ended(turn: &mut Turn<'_>, run: &ActiveRun, child: &FhirExport) {
    let pending = turn.pending(&run.name).cloned();
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
    let (complete, name) = (is_complete(child), &run.name);
    match taken {
        Ok(()) if complete => {
            turn.status.consecutive_failures = Some(0);
            turn.status.last_successful_time = ended_at(child);
            let message = format!("FhirExport {name}: {}", message_of(child, ConditionType::Complete));
            turn.set(ConditionType::LastRunSucceeded, ConditionStatus::True, Reason::RunSucceeded, &message);
            turn.note(NoteType::Normal, Reason::RunSucceeded, "Finish", &message);
        }
        Err(why) if complete => {
            let said = message_of(child, ConditionType::Complete);
            let message =
                format!("FhirExport {name} does not count, and the next run repeats it: {why}: {said}");
            tell_failed(turn, Reason::RunFailed, &message);
        }
        Ok(()) | Err(_) => {
            let message = format!("FhirExport {name}: {}", message_of(child, ConditionType::Failed));
            tell_failed(turn, Reason::RunFailed, &message);
        }
    }
}

/// An active export was deleted before its end. `left` is the object while its finalizer keeps it.
pub(super) fn deleted(turn: &mut Turn<'_>, run: &ActiveRun, left: Option<&Arc<FhirExport>>) {
    if let Some(left) = left {
        retention::lost(turn, left);
    }
    forget(turn, run);
    tell_failed(turn, Reason::RunLost, &format!("FhirExport {} was deleted before its end", run.name));
}

/// The members that a stage found cannot be read, so the next run repeats the whole run.
pub(super) fn unreadable(turn: &mut Turn<'_>, run: &ActiveRun, why: &str) {
    if let Some(export) = turn.child(&run.name).cloned() {
        retention::lost(turn, &export);
    }
    forget(turn, run);
    let message = format!("the members that {} found cannot be read: {why}", run.name);
    tell_failed(turn, Reason::RunFailed, &message);
}

/// The server or the request changed during the run, so what the run has found does not belong to the new one.
pub(super) fn outdated(turn: &mut Turn<'_>, run: &ActiveRun) {
    if let Some(last) = turn.ended_before(&run.name).pop() {
        retention::lost(turn, &last);
    }
    forget(turn, run);
    let message = format!(
        "{} is given up: the server or the request changed while it was under way; the next run is full",
        run_of(&run.name)
    );
    tell_failed(turn, Reason::RequestChanged, &message);
}

fn tell_failed(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    failed(turn, reason, message);
    turn.note(NoteType::Warning, reason, "Finish", message);
}

fn message_of(run: &FhirExport, type_: ConditionType) -> String {
    condition::find(conditions(run), type_).map(|c| words::cut(&c.message, MAX_WORDS)).unwrap_or_default()
}
