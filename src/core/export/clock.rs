//! Corrects times after the clock of the machine was set back, or was ahead when they were written: no wait
//! may become longer by the error of the clock.

use jiff::{SignedDuration, Timestamp};

use super::phase::Phase;
use super::turn::Turn;
use crate::core::condition::whole_seconds;
use crate::core::retry::{after, set_back};

/// Smaller differences are ignored: times in the status are rounded, and the clocks of two replicas differ.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Corrects times that were written while the clock was ahead. `last_look` is the time of the last look at the run,
/// by the clock that was valid then.
pub(super) fn heed(turn: &mut Turn<'_>, phase: &mut Phase, last_look: Option<Timestamp>) {
    let now = turn.now;
    let ahead = now.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX);
    if let Some(last) = last_look.filter(|last| *last > ahead) {
        let by = last.duration_since(now);
        phase.set_back(by);
        set_back(&mut turn.status.next_attempt_time, by);
    }

    // After a restart the size of the error is unknown: times that no correct clock can have written are removed.
    let bounds = turn.bounds();
    // Doubled below, since delays are randomized.
    let longest = bounds.max.max(bounds.max_retry_after).max(turn.tuning.retry_max);
    let status = &mut turn.status;
    let past = |time: &mut Timestamp| {
        if *time > ahead {
            *time = whole_seconds(now);
        }
    };
    status.start_time.iter_mut().for_each(past);
    status.cancellation.iter_mut().for_each(|cancellation| past(&mut cancellation.request_time));
    // A job whose status URL is known has a folder named after its intent time, so that time stays.
    status.job.iter_mut().filter(|job| job.status_url.is_none()).for_each(|job| past(&mut job.intent_time));
    if status.next_attempt_time.is_some_and(|next| next > after(ahead, longest * 2)) {
        status.next_attempt_time = None;
    }
}
