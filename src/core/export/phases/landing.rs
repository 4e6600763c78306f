//! Copies the files of a Bulk Data server into the container, then judges what landed and reports it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::ask;
use super::super::attempt;
use super::super::clean_up::{self, JobEnd};
use super::super::conclude::conclude;
use super::super::flow::{Flow, Next};
use super::super::landing_failure;
use super::super::memory::{
    Cancelling, CleanUp, Concluding, JobOwner, Landing, LandingStage, Running, Storing,
};
use super::super::phase::Phase;
use super::super::progress;
use super::super::stop;
use super::super::store;
use super::super::turn::Turn;
use super::super::type_counts;
use crate::api::{CancelReason, ConditionStatus, ConditionType, Reason};
use crate::core::effect::{Effect, Observation};
use crate::core::landing::{self as files, LandPlace, LandPlan, LandProgress, Landed};
use crate::core::retry::after;

/// The time between two looks at a landing that runs beside the reconciles, unless progress is written more often. The
/// end of the landing wakes the run earlier.
const LOOK: Duration = Duration::from_secs(30);
/// The status shows a landing that takes longer than this, or than the interval at which progress is written.
const SOON: Duration = Duration::from_secs(5);

pub(super) fn observe(turn: &mut Turn<'_>, mut memory: Landing, seen: Observation) -> Phase {
    match seen {
        Observation::Landing(state) => return stands(turn, memory, state),
        Observation::TypeCounted { type_, reply } => {
            if let LandingStage::Landed(concluding) = &mut memory.stage {
                type_counts::answered(&mut concluding.counted_types, &memory.manifest, type_, reply);
            }
        }
        Observation::LogStored(result) => {
            if let LandingStage::Landed(concluding) = &mut memory.stage {
                store::observe(turn, &mut concluding.log, result);
            }
        }
        Observation::ManifestStored(result) => {
            if let LandingStage::Landed(concluding) = &mut memory.stage
                && let Some(why) = store::mark(turn, &mut concluding.store, result)
            {
                memory.stage = LandingStage::GivingUp { why, clean_up: CleanUp::default() };
            }
        }
        Observation::CleanedUp(reply) => {
            if let LandingStage::GivingUp { clean_up, .. } = &mut memory.stage {
                clean_up::observe(turn, clean_up, reply);
            }
        }
        Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Authorized(_)
        | Observation::KickOff(_)
        | Observation::Poll(_)
        | Observation::Cancel(_)
        | Observation::Jobs(_)
        | Observation::Files(_)
        | Observation::Verification(_)
        | Observation::LandingStopped => {}
    }
    Phase::Landing(Box::new(memory))
}

pub(super) fn decide(turn: &mut Turn<'_>, mut memory: Landing) -> Flow {
    let stopped = stop::asked_for(turn);
    if stopped != Some(CancelReason::Deleted) && ask::server_lost(turn).is_some() {
        // Without the server nothing can land. The job's status is requested again once the server is back.
        return Flow::Became(Phase::Running(Running::default()));
    }
    if let Some(reason) = stopped {
        if reason != CancelReason::Deleted {
            progress::landed(turn, &mut memory.progress_at, memory.tries.progress, true);
        }
        let cancelling = Cancelling { landing_runs: memory.task_runs(), ..Cancelling::default() };
        return Flow::Became(stop::stop(turn, reason, cancelling));
    }
    let deadline = turn.deadline();
    let Some(place) = ask::place(turn) else {
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::Rest);
    };
    memory.held = false;
    if let Some((reason, message)) = ask::held(turn) {
        let at = format!("{message}; what has landed stays in {}/{}", place.container, place.folder);
        turn.set_true(ConditionType::Suspended, reason, &at);
        return hold(memory, deadline);
    }
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
    }
    if let LandingStage::GivingUp { why, clean_up } = &memory.stage {
        if let Some(next) = clean_up::due(turn, clean_up, JobEnd::Finished) {
            return Flow::Do(Phase::Landing(Box::new(memory)), next);
        }
        let (reason, message) = why;
        let phase = attempt::retire_and_try_again(turn, JobOwner::Own, *reason, message);
        return Flow::Became(clean_up::carried(phase, *clean_up));
    }
    if let Some(message) = ask::storage_moved(turn) {
        turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::StorageMismatch, &message);
        turn.set_true(ConditionType::Reconciling, Reason::StorageMismatch, &message);
        return stand_still(memory, deadline);
    }
    if let LandingStage::Copying { task_since } = memory.stage {
        return land(turn, memory, task_since, &place);
    }
    match plan(turn, &memory, &place) {
        Some(plan) => conclude(turn, memory, &plan),
        None => Flow::Do(Phase::Landing(Box::new(memory)), Next::Rest),
    }
}

/// Stops the task that copies the files, if one runs, and waits.
fn hold(mut memory: Landing, deadline: Option<Timestamp>) -> Flow {
    memory.held = true;
    stand_still(memory, deadline)
}

/// Stops the task that copies the files, if one runs, and rests.
fn stand_still(mut memory: Landing, deadline: Option<Timestamp>) -> Flow {
    let next = if memory.task_runs() {
        memory.stage = LandingStage::Copying { task_since: None };
        Next::perform(Effect::StopLanding)
    } else {
        Next::wait_until(&[deadline])
    };
    Flow::Do(Phase::Landing(Box::new(memory)), next)
}

/// The plan of what lands in `place`; `None` without a server.
fn plan(turn: &Turn<'_>, memory: &Landing, place: &LandPlace) -> Option<LandPlan> {
    let compression = ask::compression(turn);
    let plan = files::plan(turn.server()?.spec(), &memory.manifest, place, compression, turn.bounds());
    Some(LandPlan { last: memory.tries.obstructed.to_vec(), ..plan })
}

/// Starts the task that copies the files, or waits for it.
fn land(turn: &mut Turn<'_>, mut memory: Landing, task_since: Option<Timestamp>, place: &LandPlace) -> Flow {
    let deadline = turn.deadline();
    let generation = turn.server().and_then(|server| server.object().metadata.generation);
    if task_since.is_some() && memory.task_generation != generation {
        // The new task no longer reads from origins that have lost trust, and uses the credentials that are named now.
        memory.stage = LandingStage::Copying { task_since: None };
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::perform(Effect::StopLanding));
    }
    let failed = memory.tries.retry.failures > 0;
    let interval = turn.tuning.progress_interval;
    let (soon, look) = (SOON.min(interval), LOOK.min(interval));
    // A landing that finishes within seconds is not worth a write of its own.
    let long = failed
        || memory.tries.refreshes > 0
        || task_since.is_some_and(|since| after(since, soon) <= turn.now);
    // Only a look that just took place, or a failure, has news to write.
    if long && (turn.task_runs || failed) {
        turn.status.transaction_time = Some(memory.manifest.transaction_time.clone());
        memory.told = true;
        progress::landed(turn, &mut memory.progress_at, memory.tries.progress, false);
    }
    if let Some(due) = memory.tries.retry.due_after(turn.now) {
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::wait_until(&[Some(due), deadline]));
    }
    if turn.task_runs {
        let look = turn.later(if long { look } else { soon });
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::wait_until(&[Some(look), deadline]));
    }
    let Some(plan) = plan(turn, &memory, place) else {
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::Rest);
    };
    if task_since.is_none() {
        memory.task_generation = generation;
    }
    memory.stage = LandingStage::Copying { task_since: task_since.or(Some(turn.now)) };
    Flow::Do(Phase::Landing(Box::new(memory)), Next::perform(Effect::Land(Arc::new(plan))))
}

/// Takes in the state of the landing.
fn stands(turn: &mut Turn<'_>, mut memory: Landing, state: files::LandState) -> Phase {
    let LandingStage::Copying { task_since } = &mut memory.stage else {
        return Phase::Landing(Box::new(memory));
    };
    match state {
        files::LandState::Running(progress) => {
            turn.task_runs = true;
            task_since.get_or_insert(turn.now);
            came_on(turn, &mut memory, progress);
            Phase::Landing(Box::new(memory))
        }
        files::LandState::Done(landed) => {
            memory.stage = LandingStage::Landed(concluding(landed));
            turn.server_answered();
            goes_on(turn);
            Phase::Landing(Box::new(memory))
        }
        files::LandState::Failed(failure) => {
            *task_since = None;
            came_on(turn, &mut memory, failure.progress);
            landing_failure::observe(turn, memory, failure)
        }
    }
}

fn concluding(landed: Arc<Vec<Landed>>) -> Concluding {
    Concluding {
        landed,
        counted_types: type_counts::TypeCounts::new(),
        log: Storing::default(),
        store: Storing::default(),
    }
}

/// Files that landed, and bytes that are kept, show that the obstacle has passed. Files that an earlier try
/// landed do not show this: each try counts them anew.
fn came_on(turn: &mut Turn<'_>, memory: &mut Landing, progress: LandProgress) {
    let tries = &mut memory.tries;
    if progress.files > tries.progress.files || progress.kept > 0 {
        tries.retry.failures = 0;
        tries.refreshes = 0;
        tries.fruitless_since = None;
        turn.server_answered();
        goes_on(turn);
    }
    if progress.files >= memory.tries.progress.files {
        memory.tries.progress = progress;
    }
}

/// Says that nothing holds up the landing any more.
fn goes_on(turn: &mut Turn<'_>) {
    if turn.is_true(ConditionType::Reconciling) {
        turn.set_false(ConditionType::Reconciling, Reason::KickedOff, "the files land");
    }
}
