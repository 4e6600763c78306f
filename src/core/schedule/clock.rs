//! The runs that are due by the clock, and what prevents them from being made.

use std::sync::Arc;

use jiff::Timestamp;

use super::calendar::Calendar;
use super::decision::ScheduleEffect;
use super::instant::after;
use super::make;
use super::names::name_of_slot;
use super::readiness::Ready;
use super::turn::Turn;
use crate::api::{ConcurrencyPolicy, ConditionStatus, ConditionType, FhirExport, Reason, SkippedRun};
use crate::core::condition::whole_seconds;

/// A time more than this many seconds ahead was written while the clock was wrong.
const CLOCK_WAS_WRONG: i64 = 24 * 3600;

/// Sets `Suspended`. When a suspension has just ended, the time that was missed during it is skipped at once,
/// even if the schedule is not ready: otherwise a run would make up for it later.
pub(super) fn settle_suspension(turn: &mut Turn<'_>) {
    let was = turn.is_true(ConditionType::Suspended);
    if turn.suspended() {
        let message = "no runs are made by the clock while spec.suspend is true; those that were made go on";
        turn.set(ConditionType::Suspended, ConditionStatus::True, Reason::Suspended, message);
        return;
    }
    let message = "runs are made by the clock";
    turn.set(ConditionType::Suspended, ConditionStatus::False, Reason::Scheduled, message);
    if !was {
        return;
    }
    let handled = handled(turn);
    let Ok(calendar) = Calendar::of(turn.spec()) else {
        // Until the cron line can be read, it is not known which times were missed; all of them are before now.
        let (time, reason) = (whole_seconds(turn.now), Reason::Suspended.to_string());
        turn.status.last_skipped = Some(SkippedRun { time, reason });
        return;
    };
    if let Some(slot) = calendar.due(turn.now, handled) {
        turn.skip(slot, Reason::Suspended, "the schedule was suspended; the next run is made at its time");
    }
}

/// The instant up to which the times of the schedule have been dealt with.
pub(super) fn handled(turn: &mut Turn<'_>) -> Timestamp {
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

/// The next time at which a run is due by the clock.
pub(super) fn next_slot(turn: &Turn<'_>, ready: &Ready, handled: Timestamp) -> Option<Timestamp> {
    ready.calendar.next_after(handled.max(turn.now)).filter(|_| !turn.suspended())
}

/// Makes the run that is due by the clock, or records why it is skipped. One run makes up for all times that were
/// missed.
pub(super) fn due(turn: &mut Turn<'_>, ready: &Ready, handled: Timestamp) -> Option<ScheduleEffect> {
    let slot = ready.calendar.due(turn.now, handled).filter(|_| !turn.suspended())?;
    match obstacle(turn, slot) {
        None => {
            turn.status.last_schedule_time = Some(slot);
            let name = name_of_slot(&turn.name(), slot);
            Some(make::begin(turn, ready, &name, slot))
        }
        Some(Obstacle::Replace(run)) => Some(make::replace(turn, run)),
        Some(Obstacle::TooLate { deadline }) => {
            let why = format!("it could not be made within startingDeadlineSeconds ({deadline})");
            turn.skip(slot, Reason::StartWindowMissed, &why);
            None
        }
        Some(Obstacle::StillRunning { name }) => {
            let why = format!("{name} is not done, and concurrencyPolicy is Forbid");
            turn.skip(slot, Reason::StillRunning, &why);
            None
        }
        Some(Obstacle::TooMany { runs }) => {
            let why = format!("{runs} runs are not done, which is as many as run beside each other");
            turn.skip(slot, Reason::StillRunning, &why);
            None
        }
    }
}

/// What prevents a run from being made at its time.
enum Obstacle {
    /// This run has to be deleted first.
    Replace(Arc<FhirExport>),
    /// `startingDeadlineSeconds` have passed.
    TooLate { deadline: i64 },
    /// Another run is not done, and the policy is Forbid.
    StillRunning { name: String },
    /// The policy is Allow, and the status has no room for another run.
    TooMany { runs: usize },
}

fn obstacle(turn: &Turn<'_>, slot: Timestamp) -> Option<Obstacle> {
    if let Some(deadline) = turn.spec().starting_deadline_seconds
        && after(slot, deadline) <= turn.now
    {
        return Some(Obstacle::TooLate { deadline });
    }
    let active = turn.status.active.first()?;
    match make::policy(turn) {
        ConcurrencyPolicy::Allow => {
            let runs = turn.status.active.len();
            (runs >= make::MAX_BESIDE).then_some(Obstacle::TooMany { runs })
        }
        ConcurrencyPolicy::Forbid => Some(Obstacle::StillRunning { name: active.name.clone() }),
        ConcurrencyPolicy::Replace => make::running(turn).map(Obstacle::Replace),
    }
}
