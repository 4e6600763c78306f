//! Consecutive failures, and when the next try is due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How often something has failed in a row, and when it is tried next. A restart of the operator forgets
/// this: the next try is then due at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Failures since the last success.
    pub failures: u32,
    /// The earliest time of the next try; `None` means at once.
    pub next_try: Option<Timestamp>,
}

impl Retry {
    /// When the next try is due, if that is later than `now`.
    pub fn due_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_try.filter(|due| *due > now)
    }

    /// Counts one more failure and returns how many there are now, in the type that delays are computed from.
    pub fn count(&mut self) -> i32 {
        self.failures = self.failures.saturating_add(1);
        i32::try_from(self.failures).unwrap_or(i32::MAX)
    }

    /// Moves the next try back by as much as the clock of the machine was set back.
    pub fn set_back(&mut self, by: SignedDuration) {
        set_back(&mut self.next_try, by);
    }
}

/// Moves a time back by as much as the clock of the machine was set back.
pub fn set_back(time: &mut Option<Timestamp>, by: SignedDuration) {
    *time = time.map(|time| time.checked_sub(by).unwrap_or(time));
}

/// The time `wait` after `start`, or the end of time where that cannot be represented.
pub fn after(start: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| start.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}
