//! How the check of the files stands, and when one that failed is tried again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::memory::Checking;
use super::turn::Turn;
use crate::api::{ConditionStatus, ConditionType, Reason};
use crate::core::effect::NoteType;
use crate::core::ledger::{Checked, StorageFailure, StorageFailureKind, Verification};
use crate::core::poll::retry_delay;
use crate::core::retry::after;

/// How often a check that failed in a way that may pass is tried.
const TRIES: u32 = 10;
/// How often a check is tried while something is missing in the cluster. These tries are cheap, and a repair
/// should be noticed at once.
const TRIES_MISSING: u32 = 100;
/// The first delay between two tries; it doubles up to [`DELAY_MAX`].
const DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// Takes in the state of the check.
pub(super) fn observe(turn: &mut Turn<'_>, memory: &mut Checking, state: Verification) {
    match state {
        Verification::Running { .. } => {
            turn.task_runs = true;
            memory.check_began.get_or_insert(turn.now);
        }
        Verification::Done(checked) => memory.outcome = Some(Ok(Arc::new(checked))),
        Verification::Failed(failure) => failed(turn, memory, &failure),
        Verification::Panicked => panicked(turn, memory),
    }
}

/// The task that checks panicked: it is started again, and given up after too many tries.
fn panicked(turn: &mut Turn<'_>, memory: &mut Checking) {
    let wait = retry_delay(DELAY, DELAY_MAX, memory.check.count(), turn.jitter);
    let why = "the task that checks the files ended by a defect of the operator, see its log";
    if memory.check.failures == 1 {
        turn.note(NoteType::Warning, Reason::TaskPanicked, "Verify", &format!("{why}; it is started again"));
    }
    if memory.check.failures < TRIES {
        memory.check.next_try = Some(turn.later(wait));
        let message = format!("the files are not checked yet: {why}");
        turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::TaskPanicked, &message);
    } else {
        memory.outcome = Some(Err((Reason::TaskPanicked, format!("the files were not checked: {why}"))));
    }
}

/// When an unfinished check is given up: one cancel grace after `spec.cancel` was seen or the deadline passed. The
/// server has finished the job, so there is nothing to cancel, and a short check can still finish.
pub(super) fn end(turn: &Turn<'_>, memory: &Checking) -> Option<Timestamp> {
    let deadline = turn.deadline().filter(|_| turn.status.cancellation.is_none());
    memory.end_asked.or(deadline).map(|asked| after(asked, turn.tuning.cancel_grace))
}

/// Gives the check up when its time is over. The run then ends with what is known of its files.
pub(super) fn heed_end(turn: &Turn<'_>, memory: &mut Checking) {
    if memory.outcome.is_some() {
        return;
    }
    if turn.cancel_requested() || turn.out_of_time() {
        memory.end_asked.get_or_insert(turn.now);
    }
    if memory.end_asked.is_some() && end(turn, memory).is_some_and(|end| end <= turn.now) {
        let why =
            if turn.cancel_requested() { "spec.cancel is set" } else { "activeDeadlineSeconds is over" };
        let message = format!("the check of the files was given up before its end: {why}");
        memory.outcome = Some(Err((Reason::PartlyChecked, message)));
    }
}

fn failed(turn: &mut Turn<'_>, memory: &mut Checking, failure: &StorageFailure) {
    let own = retry_delay(DELAY, DELAY_MAX, memory.check.count(), turn.jitter);
    let again = match failure.kind {
        StorageFailureKind::Transient { retry_after } => {
            Some((TRIES, retry_after.unwrap_or(own).min(DELAY_MAX)))
        }
        StorageFailureKind::Missing => Some((TRIES_MISSING, turn.tuning.missing_retry)),
        StorageFailureKind::NotFound => {
            // Without the container, none of its files exists.
            let none = Checked { bytes: None, lines: None };
            memory.outcome = Some(Ok(Arc::new(vec![none; memory.manifest.files()])));
            return;
        }
        StorageFailureKind::NotConfigured
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::NotGranted
        | StorageFailureKind::NotMounted
        | StorageFailureKind::Denied
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => None,
    };
    match again {
        Some((limit, wait)) if memory.check.failures < limit => {
            memory.check.next_try = Some(turn.later(wait));
            let why = format!("the files are not checked yet: {}", failure.message);
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, failure.access_reason(), &why);
        }
        Some(_) | None => {
            let why = format!("the files were not checked: {}", failure.message);
            memory.outcome = Some(Err((failure.access_reason(), why)));
        }
    }
}
