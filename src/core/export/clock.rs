//! The clock of the machine was set back, or was ahead when something was written down: what was to be waited for must not
//! take that much longer.

use jiff::{SignedDuration, Timestamp};

use super::Turn;
use super::turn::after;
use crate::core::condition::whole_seconds;

/// Less is no news: times in the status are rounded, and clocks of two replicas differ.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Brings every time that was made by a clock that was ahead back to where it belongs.
pub(super) fn heed(turn: &mut Turn<'_>) {
    let now = turn.now;
    let ahead = now.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX);
    if let Some(last) = turn.memory.last_look.filter(|last| *last > ahead) {
        set_back(turn, last.duration_since(now));
    }
    turn.memory.last_look = Some(now);

    // What a restart finds: it does not know by how much the clock was ahead.
    let bounds = turn.bounds();
    // With some chance on top.
    let longest = bounds.max.max(bounds.max_retry_after).max(turn.tuning.retry_max);
    let status = &mut turn.status;
    let past = |time: &mut Timestamp| {
        if *time > ahead {
            *time = whole_seconds(now);
        }
    };
    status.start_time.iter_mut().for_each(past);
    status.cancellation.iter_mut().for_each(|cancellation| past(&mut cancellation.request_time));
    // The folder of a job whose status URL is known is named by its intent: that one stays.
    status.job.iter_mut().filter(|job| job.status_url.is_none()).for_each(|job| past(&mut job.intent_time));
    if status.next_attempt_time.is_some_and(|next| next > after(ahead, longest * 2)) {
        status.next_attempt_time = None;
    }
}

/// Moves what was due by the clock of then.
fn set_back(turn: &mut Turn<'_>, by: SignedDuration) {
    let memory = &mut turn.memory;
    for due in [
        &mut memory.next_poll,
        &mut memory.retry_at,
        &mut memory.authorized_at,
        &mut memory.progress_at,
        &mut memory.verify_began,
        &mut memory.verify_at,
        &mut memory.store_at,
        &mut memory.cancel_at,
        &mut memory.land.began,
        &mut memory.land.retry_at,
        &mut memory.clean_up.retry_at,
        &mut turn.status.next_attempt_time,
    ] {
        *due = due.map(|due| due.checked_sub(by).unwrap_or(due));
    }
}
