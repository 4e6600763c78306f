//! The clock of the machine was set back, or was ahead when something was written down: what is waited for must
//! not take that much longer.

use jiff::{SignedDuration, Timestamp};

use super::phase::Phase;
use super::turn::Turn;
use crate::core::condition::whole_seconds;
use crate::core::retry::{after, set_back};

/// Less is no news: times in the status are rounded, and the clocks of two replicas differ.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Brings every time that was made by a clock that was ahead back to where it belongs. `last_look` is when the run was
/// last looked at, by the clock of then.
pub(super) fn heed(turn: &mut Turn<'_>, phase: &mut Phase, last_look: Option<Timestamp>) {
    let now = turn.now;
    let ahead = now.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX);
    if let Some(last) = last_look.filter(|last| *last > ahead) {
        let by = last.duration_since(now);
        phase.set_back(by);
        set_back(&mut turn.status.next_attempt_time, by);
    }

    // A restart does not know by how much the clock was ahead: what no clock that was right can have written goes.
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
