//! What a stored status says about a run.

use jiff::Timestamp;

use super::memory::{Doubt, JobOwner};
use crate::api::{Condition, ConditionStatus, ConditionType, FhirExportStatus, Reason, RunState};
use crate::core::condition;

/// Whether a run has ended. The status of an ended run never changes again, except for `observedGeneration`.
pub fn is_terminal(status: &FhirExportStatus) -> bool {
    status.completion_time.is_some()
}

/// Records that the status holds for this generation of the object. Only fields of the spec that do not
/// change the request can be edited, so the conditions still hold.
pub(super) fn observe(status: &mut FhirExportStatus, generation: Option<i64>) {
    if status.observed_generation != generation {
        status.observed_generation = generation;
        for condition in &mut status.conditions {
            condition.observed_generation = generation;
        }
    }
}

/// Whether two statuses say the same about a run. `observedGeneration` may differ: it follows the spec as
/// long as the object lives.
pub fn says_the_same(one: &FhirExportStatus, other: &FhirExportStatus) -> bool {
    let mut other = other.clone();
    other.observed_generation = one.observed_generation;
    for condition in &mut other.conditions {
        let same = one.conditions.iter().find(|c| c.type_ == condition.type_);
        condition.observed_generation = same.and_then(|c| c.observed_generation);
    }
    *one == other
}

/// Whether a run occupies a place of its server: it has left the queue and not ended.
pub fn holds_place(status: &FhirExportStatus) -> bool {
    let suspended = condition::is_true(&status.conditions, ConditionType::Suspended);
    let outside = status.job.is_none() && (suspended || queued_since(status).is_some());
    status.start_time.is_some() && !is_terminal(status) && !outside
}

/// Whether a run without a place may want one: it has not ended, is not suspended, and its server admits it.
pub fn competes(status: &FhirExportStatus) -> bool {
    let refused = condition::find(&status.conditions, ConditionType::Accepted)
        .is_some_and(|c| c.status == ConditionStatus::False);
    !is_terminal(status) && !refused && !condition::is_true(&status.conditions, ConditionType::Suspended)
}

/// Since when a run has been waiting for a place; `None` if it is not waiting for one.
pub(super) fn queued_since(status: &FhirExportStatus) -> Option<Timestamp> {
    let queued = condition::find(&status.conditions, ConditionType::Reconciling)?;
    (queued.is_true() && queued.because(Reason::Queued)).then_some(queued.last_transition_time)
}

/// The condition that says why an export cannot continue: its server's owner, the connection to the server, or
/// something in the cluster. `None` if nothing hinders it.
pub fn blocked_by(status: &FhirExportStatus) -> Option<&Condition> {
    let of = |type_| condition::find(&status.conditions, type_);
    let refused = |c: &&Condition| c.status == ConditionStatus::False;
    let waits = |c: &&Condition| c.is_true() && status.state == Some(RunState::Waiting);
    of(ConditionType::Accepted)
        .filter(refused)
        .or_else(|| of(ConditionType::ServerReachable).filter(refused))
        .or_else(|| of(ConditionType::Reconciling).filter(waits))
}

/// Whether the job in the status is known to be the run's own.
pub fn job_owner(status: &FhirExportStatus) -> JobOwner {
    let adopted = condition::find(&status.conditions, ConditionType::KickOffUncertain)
        .is_some_and(|c| c.is_true() && c.because(Reason::JobAdopted));
    if adopted { JobOwner::Adopted } else { JobOwner::Own }
}

/// Why it is not known whether the kick-off in the status started a job. A condition that an earlier
/// attempt left does not count.
pub(super) fn doubt(status: &FhirExportStatus) -> Doubt {
    match condition::find(&status.conditions, ConditionType::KickOffUncertain) {
        Some(c) if c.is_true() && c.because(Reason::NoStatusURL) => Doubt::NoStatusUrl,
        Some(c) if c.is_true() && !c.because(Reason::NoJobFound) && !c.because(Reason::JobAdopted) => {
            Doubt::AnswerLost
        }
        _ => Doubt::Untold,
    }
}
