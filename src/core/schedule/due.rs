//! Which run is due: by the clock, or since somebody asked for one.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::child::{self, Plan, name_of_slot, name_of_token};
use super::ready::Ready;
use super::turn::{Turn, after};
use super::{Effect, Step, absorb, chain, history, ready, retention, stages};
use crate::api::{
    ActiveRun, ConcurrencyPolicy, ConditionStatus, ConditionType, FhirExport, RUN_NOW_ANNOTATION, Reason,
    RunStage,
};
use crate::core::condition::{self, next_whole_second, whole_seconds};
use crate::core::effect::NoteType;

/// How long a run may wait for its start unless the schedule says otherwise, in seconds. A run that is restored or
/// made anew later exports nothing.
const WINDOW: i64 = 24 * 3600;
/// Times that are further ahead than this are those of a clock that was wrong, in seconds.
const CLOCK_WAS_WRONG: i64 = 24 * 3600;
/// A token that begins so asks for a full run.
const FULL: &str = "full-";
/// How soon a run is tried again that the API server refuses, in seconds.
const AFTER_REFUSAL: i64 = 60;

/// Goes on: a run, or a run's object that is to go, or the next time.
pub(super) fn decide(mut turn: Turn<'_>) -> Step {
    retention::forget_unless_asked(&mut turn);
    let resumed = tell_suspended(&mut turn);
    if condition::find(&turn.status.conditions, ConditionType::LastRunSucceeded).is_none() {
        let message = "no run has ended yet";
        turn.set(ConditionType::LastRunSucceeded, ConditionStatus::Unknown, Reason::NoRunYet, message);
    }
    drop_the_late(&mut turn);
    let retry = turn.held_up.then(|| after(turn.now, AFTER_REFUSAL));
    let ready = if turn.held_up { None } else { ready::check(&mut turn) };
    let Some(ready) = ready else {
        if !turn.held_up {
            turn.status.next_schedule_time = None;
        }
        return tidy(turn, &[retry]);
    };
    chain::tell(&mut turn, &ready);
    let handled = handled(&mut turn);
    let suspended = turn.spec().suspend == Some(true);
    let next = ready.calendar.next_after(handled.max(turn.now)).filter(|_| !suspended);
    turn.status.next_schedule_time = next;
    if let Some(run) = turn.status.active.iter().find(|run| run.uid.is_none()).cloned() {
        if !stages::outdated(&turn, &ready, &run) {
            return make(turn, &ready, &run);
        }
        stages::give_up(&mut turn, &run);
    }
    let due = ready.calendar.due(turn.now, handled).filter(|_| !suspended);
    if let Some(slot) = due {
        match obstacle(&turn, slot, resumed) {
            None => {
                turn.status.last_schedule_time = Some(slot);
                let name = name_of_slot(&turn.name(), slot);
                return begin(turn, &ready, &name, slot);
            }
            Some(Obstacle::Replace(run)) => return replace(turn, run),
            Some(Obstacle::Skip(reason, why)) => turn.skip(slot, reason, &why),
        }
    }
    if let Some((name, full)) = asked_for(&turn) {
        match running(&turn) {
            Some(run) if policy(&turn) == ConcurrencyPolicy::Replace => return replace(turn, run),
            Some(_) if policy(&turn) == ConcurrencyPolicy::Forbid => {}
            _ => {
                turn.status.last_run_now = Some(name.clone());
                if full {
                    chain::ask_for_full(&mut turn);
                }
                let slot = whole_seconds(turn.now);
                return begin(turn, &ready, &name, slot);
            }
        }
    }
    if let Some(effect) = stages::to_read(&turn, &ready) {
        return turn.perform(effect);
    }
    match retention::due(&mut turn) {
        retention::Due::Delete(server, plan) => turn.perform(Effect::DeleteFolder(server, plan)),
        retention::Due::Wait(until) => tidy(turn, &[next, until]),
    }
}

/// Sets `Suspended`; true if it has just ended.
fn tell_suspended(turn: &mut Turn<'_>) -> bool {
    let was = turn.is_true(ConditionType::Suspended);
    if turn.spec().suspend == Some(true) {
        let message = "no runs are made by the clock while spec.suspend is true; those that were made go on";
        turn.set(ConditionType::Suspended, ConditionStatus::True, Reason::Suspended, message);
    } else {
        let message = "runs are made by the clock";
        turn.set(ConditionType::Suspended, ConditionStatus::False, Reason::Scheduled, message);
    }
    was && turn.spec().suspend != Some(true)
}

/// Up to when times of the schedule are dealt with.
fn handled(turn: &mut Turn<'_>) -> Timestamp {
    let skipped = turn.status.last_skipped.as_ref().map(|skipped| skipped.time);
    let last = turn.status.last_schedule_time.max(skipped);
    if last.is_some_and(|last| last > after(turn.now, CLOCK_WAS_WRONG)) {
        turn.status.last_schedule_time = None;
        let now = whole_seconds(turn.now);
        turn.skip(now, Reason::ClockWentBack, "the clock was ahead, and goes on from here");
        return now;
    }
    let created = turn.schedule.metadata.creation_timestamp.as_ref().map(|time| time.0);
    created.max(last).unwrap_or(turn.now)
}

/// What keeps a run from being made.
enum Obstacle {
    Skip(Reason, String),
    /// This one goes first.
    Replace(Arc<FhirExport>),
}

fn obstacle(turn: &Turn<'_>, slot: Timestamp, resumed: bool) -> Option<Obstacle> {
    if resumed {
        let why = "the schedule was suspended; the next run is made at its time";
        return Some(Obstacle::Skip(Reason::Suspended, why.to_owned()));
    }
    if let Some(deadline) = turn.spec().starting_deadline_seconds
        && after(slot, deadline) <= turn.now
    {
        let why = format!("it could not be made within startingDeadlineSeconds ({deadline})");
        return Some(Obstacle::Skip(Reason::StartWindowMissed, why));
    }
    let active = turn.status.active.first()?;
    match policy(turn) {
        ConcurrencyPolicy::Allow => None,
        ConcurrencyPolicy::Forbid => {
            let why = format!("{} is not done, and concurrencyPolicy is Forbid", active.name);
            Some(Obstacle::Skip(Reason::StillRunning, why))
        }
        ConcurrencyPolicy::Replace => running(turn).map(Obstacle::Replace),
    }
}

fn policy(turn: &Turn<'_>) -> ConcurrencyPolicy {
    let set = turn.spec().concurrency_policy.unwrap_or_default();
    // The schema says so, too: runs of a chain build on each other.
    let chained = turn.spec().incremental.is_some() && set == ConcurrencyPolicy::Allow;
    if chained { ConcurrencyPolicy::Forbid } else { set }
}

/// The oldest run that is not done.
fn running(turn: &Turn<'_>) -> Option<Arc<FhirExport>> {
    turn.status.active.iter().find_map(|run| turn.child(&run.name)).cloned()
}

fn replace(mut turn: Turn<'_>, run: Arc<FhirExport>) -> Step {
    let message = format!("deletes FhirExport {}, since the next run is due", run.name_any());
    turn.note(NoteType::Warning, Reason::Replaced, "Replace", &message);
    turn.perform(Effect::Delete(run))
}

/// The run that the annotation asks for, and whether it is to be full, if it was not made yet.
fn asked_for(turn: &Turn<'_>) -> Option<(String, bool)> {
    let token = turn.schedule.annotations().get(RUN_NOW_ANNOTATION).filter(|token| !token.is_empty())?;
    let name = name_of_token(&turn.name(), token);
    let made = turn.children().any(|child| stages::run_of(&child.name_any()) == name);
    let done = turn.status.last_run_now.as_ref() == Some(&name) || made;
    (!done).then(|| (name, token.starts_with(FULL)))
}

/// Writes down that a run is to be made, and makes it.
fn begin(mut turn: Turn<'_>, ready: &Ready, name: &str, slot: Timestamp) -> Step {
    let stage = ready.tracks.then_some(RunStage::Members);
    let run = ActiveRun { name: stages::name_of(name, stage), uid: None, slot_time: slot, stage };
    turn.status.active.push(run.clone());
    make(turn, ready, &run)
}

/// Makes a run that is written down, as spec and chain are now: it is not there yet.
fn make(mut turn: Turn<'_>, ready: &Ready, run: &ActiveRun) -> Step {
    let link = chain::link(&turn, ready, stages::run_of(&run.name), run.slot_time);
    if let Some(link) = &link {
        turn.status.chain.get_or_insert_default().pending = Some(link.pending.clone());
    }
    let plan = Plan {
        name: run.name.clone(),
        slot_time: run.slot_time,
        stage: run.stage,
        request: stages::request(&turn, run, link.as_ref()),
        kick_off_before: next_whole_second(window(&turn, run).unwrap_or_else(|| after(turn.now, WINDOW))),
        link,
    };
    let export = child::export(turn.schedule, &plan);
    turn.perform(Effect::Create(Box::new(export)))
}

/// Until when a run may start, if the schedule says so, and it has not started.
fn window(turn: &Turn<'_>, run: &ActiveRun) -> Option<Timestamp> {
    let deadline = turn.spec().starting_deadline_seconds.filter(|_| !stages::under_way(turn, run));
    deadline.map(|deadline| after(run.slot_time, deadline))
}

/// Runs that are written down and could not be made in time.
fn drop_the_late(turn: &mut Turn<'_>) {
    for run in turn.status.active.clone() {
        if run.uid.is_none() && window(turn, &run).is_some_and(|end| end <= turn.now) {
            absorb::forget(turn, &run);
            turn.skip(run.slot_time, Reason::StartWindowMissed, "it could not be made in time");
        }
    }
}

/// Nothing is due: what is done and taken in goes, if it is time.
fn tidy(turn: Turn<'_>, moments: &[Option<Timestamp>]) -> Step {
    let (expired, next) = history::expired(&turn);
    if let Some(run) = expired {
        return turn.perform(Effect::Delete(run));
    }
    let moments: Vec<Option<Timestamp>> = moments.iter().copied().chain([next]).collect();
    turn.wait_until(&moments)
}
