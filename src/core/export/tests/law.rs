//! The invariants of ARCHITECTURE.md, checked at each step, write and effect of every test here.

use super::world::World;
use crate::api::{Condition, ConditionStatus, ConditionType, FhirExport, FhirExportStatus, RunState};
use crate::core::condition;
use crate::core::effect::{Effect, Requeue};
use crate::core::export::memory::LandingStage;
use crate::core::export::{
    Decision, Facts, Followers, Inputs, JobOwner, Phase, decide, is_terminal, job_owner, says_the_same,
};

/// A text in the answers of hostile servers and in URLs of tests that must never appear in a status or event.
pub(super) const SECRET: &str = "SENTINEL";

pub(super) fn step(world: &World, current: &FhirExport, facts: &Facts, decided: &Decision) {
    let before = current.status.clone().unwrap_or_default();
    if is_terminal(&before) {
        assert!(
            says_the_same(&decided.status, &before),
            "terminal-absorbs: a terminal status changed: {:#?}",
            decided.status
        );
        // The only exception is a server that could not be told that the job is no longer needed,
        // which comes after the end.
        let known = |note: &crate::core::effect::Note| note.reason == crate::api::Reason::CleanUpFailed;
        assert!(
            decided.notes.iter().all(known),
            "terminal-absorbs: a terminal run told something: {:?}",
            decided.notes
        );
    }
    if let Some(Effect::KickOff(_)) = decided.effect {
        assert_eq!(before.job, None, "one-job: a kick-off beside a job");
        assert!(decided.status.cancellation.is_none() && current.spec.cancel != Some(true));
        assert!(
            current.metadata.deletion_timestamp.is_none(),
            "a kick-off of an object that is being deleted"
        );
    }
    if let Requeue::After(wait) = decided.requeue {
        assert!(!wait.is_zero(), "a requeue of zero");
    }
    if decided.status != before {
        small_and_clean(&decided.status);
        if !is_terminal(&before) {
            told_by_a_condition(decided);
        }
    }
    for note in &decided.notes {
        assert!(!note.message.contains(SECRET), "token-stays: {note:?}");
        assert!(!note.message.is_empty() && note.message.len() <= 1024, "{note:?}");
    }
    if decided.effect.is_none() {
        quiet(world, current, facts, decided);
    }
    if let Some(complete) = condition::find(&decided.status.conditions, ConditionType::Complete) {
        let verified = condition::find(&decided.status.conditions, ConditionType::Verified);
        let failed = |c: &Condition| c.status == ConditionStatus::False;
        assert!(
            complete.is_true() && verified.is_some_and(|c| !failed(c)),
            "complete-means-checked: Complete without a check"
        );
    }
}

/// `token-stays` and `status-small`: no secret and no patient is shown, and a new status is below 16 KiB.
fn small_and_clean(status: &FhirExportStatus) {
    let text = serde_json::to_string(status).unwrap();
    assert!(text.len() < 16 * 1024, "status-small: a status of {} bytes", text.len());
    // The status URL is kept whole, since the run needs it to continue. Nothing else may hold the secret.
    if text.contains(SECRET) {
        let mut shown = status.clone();
        if let Some(job) = shown.job.as_mut() {
            job.status_url = None;
        }
        shown.unsettled_jobs.iter_mut().for_each(|j| j.status_url = None);
        let shown = serde_json::to_string(&shown).unwrap();
        assert!(!shown.contains(SECRET), "token-stays: {shown}");
    }
    for c in &status.conditions {
        assert!(!c.message.is_empty() && c.message.len() <= 1024, "{c:?}");
    }
}

/// `status.reason` and `status.message` are those of the condition that decides `status.state`, and no second truth. An
/// object that is being deleted may keep the word that it had, whatever its conditions say since.
fn told_by_a_condition(decided: &Decision) {
    let status = &decided.status;
    let Some(state) = status.state else {
        assert_eq!((&status.reason, &status.message), (&None, &None));
        return;
    };
    let told = |type_| {
        condition::find(&status.conditions, type_).filter(|c| {
            Some(&c.reason) == status.reason.as_ref() && Some(&c.message) == status.message.as_ref()
        })
    };
    let by_true = |type_| told(type_).is_some_and(Condition::is_true);
    let right = match state {
        RunState::Complete => by_true(ConditionType::Complete),
        RunState::Failed | RunState::Cancelled => by_true(ConditionType::Failed),
        RunState::Suspended => by_true(ConditionType::Suspended),
        RunState::Uncertain => by_true(ConditionType::KickOffUncertain),
        RunState::Queued | RunState::Starting | RunState::Cancelling => by_true(ConditionType::Reconciling),
        RunState::Waiting | RunState::Running | RunState::Landing | RunState::Verifying => {
            let unreachable = told(ConditionType::ServerReachable);
            told(ConditionType::Reconciling).is_some()
                || unreachable.is_some_and(|c| c.status == ConditionStatus::False)
        }
        RunState::Unknown => false,
    };
    let any = status.conditions.iter().any(|c| Some(&c.message) == status.message.as_ref());
    let kept = matches!(decided.memory.phase, Phase::Leaving(_)) && (any || status.message.is_none());
    assert!(right || kept, "no condition that decides {state} has this reason and message: {status:#?}");
}

/// `quiet-when-unchanged`: the same inputs at the same time write nothing.
fn quiet(world: &World, current: &FhirExport, facts: &Facts, decided: &Decision) {
    let mut after = current.clone();
    after.status = Some(decided.status.clone());
    let again = decide(Inputs {
        export: &after,
        facts,
        memory: &decided.memory,
        seen: None,
        tuning: &world.tuning,
        now: world.now,
        jitter: world.jitter,
    });
    assert_eq!(again.status, decided.status, "the same inputs write again");
    // A check or a landing beside the reconcile is looked at again by every decision.
    let looks = matches!(again.effect, None | Some(Effect::Verify(_) | Effect::Land(_)));
    assert!(again.notes.is_empty() && looks, "{again:#?}");
}

/// Checks the laws at a write of the status.
pub(super) fn write(world: &World, status: &FhirExportStatus) {
    let before = world.status();
    assert!(
        !is_terminal(&before) || says_the_same(&before, status),
        "terminal-absorbs: a terminal status is written: {status:#?}"
    );
    if is_terminal(status) {
        let ends = [ConditionType::Complete, ConditionType::Failed];
        let one = ends.iter().filter(|t| condition::is_true(&status.conditions, **t)).count();
        assert_eq!(one, 1, "complete-means-checked: an end is one of Complete and Failed");
        assert!(!condition::is_true(&status.conditions, ConditionType::Reconciling));
        assert!(!condition::is_true(&status.conditions, ConditionType::Suspended));
    }
    let generation = world.export.metadata.generation;
    assert_eq!(status.observed_generation, generation, "kstatus would wait for ever");
    let mut names: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), status.conditions.len(), "a condition is there twice");
}

/// Checks the laws before an effect is performed.
pub(super) fn effect(world: &World, status: &FhirExportStatus, effect: &Effect) {
    let stored = world.status();
    if let Effect::KickOff(_) = effect {
        let job = stored.job.as_ref().expect("intent-first: a kick-off without an intent");
        assert!(job.status_url.is_none() && job.intent_time <= world.now);
        assert!(world.held(), "a kick-off without a finalizer");
        assert_eq!(&stored, status, "status-before-effect: a kick-off before its status was written");
    }
    let url = |s: &FhirExportStatus| s.job.as_ref().and_then(|j| j.status_url.clone());
    if url(status).is_some() {
        assert_eq!(url(&stored), url(status), "url-next: {effect:?} before the status URL was written");
    }
    if let Effect::CleanUp(_) = effect {
        // The landing has been reported or given up before the server may forget the job.
        let giving_up = match &world.memory.phase {
            Phase::Landing(landing) => matches!(landing.stage, LandingStage::GivingUp { .. }),
            Phase::Running(running) => running.failed.is_some(),
            _ => false,
        };
        assert!(is_terminal(&stored) || giving_up, "a job is let go too early");
        assert!(stored.cancellation.is_none());
        assert_eq!(
            world.followers,
            Followers::None,
            "contested-not-cancelled: a job that two exports name is let go"
        );
        assert_eq!(
            job_owner(&stored),
            JobOwner::Own,
            "only-ours-cancelled: a job that is not proven ours is let go"
        );
        if world.fake.bulk {
            return;
        }
        let given_up = [crate::api::Reason::JobLost, crate::api::Reason::StatusRefused];
        let failed = condition::find(&stored.conditions, ConditionType::Failed);
        let may_run = failed.is_some_and(|c| given_up.into_iter().any(|reason| c.because(reason)));
        assert!(may_run, "a finished job of an Azure server is deleted, and its manifest with it");
    }
    if let Effect::Cancel(_) = effect {
        assert!(
            stored.cancellation.as_ref().is_some_and(|c| c.tries > 0),
            "cancel-counted: a cancel that a restart forgets"
        );
        let adopted = condition::find(&stored.conditions, ConditionType::KickOffUncertain);
        assert!(
            !adopted.is_some_and(Condition::is_true),
            "only-ours-cancelled: a job that is not proven ours is cancelled"
        );
    }
}
