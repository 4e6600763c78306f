//! The runs that the status lists as active, and what their ends mean for the schedule as a whole.

use kube::ResourceExt;

use super::names::{name_of, run_of};
use super::turn::Turn;
use crate::api::{ActiveRun, ConditionStatus, ConditionType, FhirExport, Reason, RunStage};

/// The run whose members are still to be listed, if there is one.
pub(super) fn with_members_stage<'t>(turn: &'t Turn<'_>) -> Option<&'t ActiveRun> {
    turn.status.active.iter().find(|run| run.stage == Some(RunStage::Members))
}

/// Records the uid of an export that exists. Returns false if the status awaits no export of that name.
pub(super) fn created(turn: &mut Turn<'_>, run: &FhirExport) -> bool {
    let (name, uid) = (run.name_any(), run.uid());
    let Some(active) = turn.status.active.iter_mut().find(|a| a.name == name && a.uid.is_none()) else {
        return false;
    };
    active.uid.clone_from(&uid);
    if let Some(pending) = turn.pending_mut(&name) {
        pending.uid = uid;
    }
    true
}

/// Advances the run to another stage, whose export is still to be created.
pub(super) fn advance(turn: &mut Turn<'_>, run: &str, stage: Option<RunStage>) {
    if let Some(active) = turn.status.active.iter_mut().find(|active| run_of(&active.name) == run) {
        active.name = name_of(run, stage);
        active.uid = None;
        active.stage = stage;
    }
}

/// Whether an earlier export of the run has ended, so that the run has begun.
pub(super) fn under_way(turn: &Turn<'_>, run: &ActiveRun) -> bool {
    let members_known = turn.pending(run_of(&run.name)).is_some_and(|pending| pending.members.is_some());
    run.stage == Some(RunStage::Newcomers) || members_known
}

/// Removes a run from the active ones. The chain no longer waits for it, and it does not count.
pub(super) fn forget(turn: &mut Turn<'_>, run: &ActiveRun) {
    turn.status.active.retain(|active| active.name != run.name);
    if let Some(chain) = turn.status.chain.as_mut()
        && chain.pending.as_ref().is_some_and(|pending| pending.name == run_of(&run.name))
    {
        chain.pending = None;
    }
}

/// Records that a run failed, or does not count.
pub(super) fn failed(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    let failures = turn.status.consecutive_failures.unwrap_or(0);
    turn.status.consecutive_failures = Some(failures.saturating_add(1));
    turn.set(ConditionType::LastRunSucceeded, ConditionStatus::False, reason, message);
}

/// Records that a run cannot continue for now. It is tried again after the wait of
/// [`FailedStep::Run`](super::retry::FailedStep::Run).
pub(super) fn held_up(turn: &mut Turn<'_>, reason: Reason, message: &str) {
    turn.held_up = true;
    turn.set(ConditionType::Ready, ConditionStatus::False, reason, message);
    // A storage account that does not answer usually recovers without anybody's help.
    let comes = reason == Reason::StorageUnreachable;
    let stalled = if comes { ConditionStatus::False } else { ConditionStatus::True };
    turn.set(ConditionType::Stalled, stalled, reason, message);
}
