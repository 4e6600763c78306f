//! The time of a simulation. It stands still while anything can go on, and then jumps to what is due next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use crate::scheduler::Happening;
use crate::state::{State, locked};

/// The time at which every simulation begins, in microseconds since 1970: 2026-11-24T02:00:00Z.
const BEGIN: i64 = 1_795_485_600_000_000;

/// A second, in microseconds.
pub const SECOND: i64 = 1_000_000;

/// What is due at a time.
pub enum Due {
    /// A future that waits for this time.
    Wake(Waker),
    /// Something that the scheduler lets happen.
    Happens(Happening),
}

struct Entry {
    at: i64,
    /// Random, so that what is due at the same time comes in random order.
    tie: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest entry is the greatest, because the heap returns the greatest first.
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

/// The true time, and what is due.
pub struct Time {
    /// The time in microseconds since the beginning.
    pub now: i64,
    heap: BinaryHeap<Entry>,
}

impl Time {
    /// The time at the beginning, with nothing due.
    pub fn new() -> Self {
        Self { now: 0, heap: BinaryHeap::new() }
    }

    /// The true time, as servers show it.
    pub fn stamp(&self) -> Timestamp {
        self.shifted(0)
    }

    /// The time as a clock shows it that is `skew` microseconds ahead.
    pub fn shifted(&self, skew: i64) -> Timestamp {
        Timestamp::from_microsecond(BEGIN + self.now + skew).unwrap_or(Timestamp::MAX)
    }

    /// Makes something due after `wait` microseconds.
    pub fn after(&mut self, wait: i64, tie: u64, due: Due) {
        self.heap.push(Entry { at: self.now.saturating_add(wait.max(0)), tie, due });
    }

    /// Advances the time to what is due next, and returns it.
    pub fn advance(&mut self) -> Option<Due> {
        let entry = self.heap.pop()?;
        self.now = self.now.max(entry.at);
        Some(entry.due)
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration in microseconds.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// A future that lets time pass. All others that can go on at this time may do so first.
pub struct Pause {
    state: Arc<Mutex<State>>,
    wait: i64,
    due: Option<i64>,
    waker: Option<Waker>,
}

impl Pause {
    /// Waits for this many microseconds.
    pub fn new(state: &Arc<Mutex<State>>, wait: i64) -> Self {
        Self { state: Arc::clone(state), wait, due: None, waker: None }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let state = Arc::clone(&self.state);
        let mut state = locked(&state);
        let now = state.time.now;
        let due = match self.due {
            Some(due) if due <= now => return Poll::Ready(()),
            Some(due) => {
                if self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    return Poll::Pending;
                }
                due
            }
            // A new pause takes at least one microsecond.
            None => now.saturating_add(self.wait.max(1)),
        };
        let tie = state.chance.draw();
        state.time.after(due - now, tie, Due::Wake(context.waker().clone()));
        self.due = Some(due);
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
