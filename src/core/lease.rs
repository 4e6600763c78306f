//! Decides which replica works, by means of a Lease of the operator's own.
//!
//! A replica may act from the answer to a write that put its name on the Lease, until `hold` after the start of the
//! last such write that succeeded. Another replica writes its name only on a version of the Lease that it has seen
//! unchanged for `lease` by its own clock, or that names nobody. Nobody can see a write before it was sent, so the
//! holder's time began before the other replica's wait did, and ends before it by `lease` - `hold`. A replica trusts no
//! clock but its own, and that one only to run at about the right speed (see [`Windows`]).

mod request;

use std::time::Duration;

use jiff::Timestamp;

use crate::core::planted::{Fault, planted};

pub use request::{CampaignEnd, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStep, SeenLease};

/// A reading of this process's monotonic clock, since a start of its own. Readings of two processes are never compared.
pub type Moment = Duration;

/// How long the parts of an election take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long a Lease must be seen unchanged before another replica takes it from its holder.
    pub lease: Duration,
    /// How long the holder may act after the start of its last write that succeeded.
    pub hold: Duration,
    /// The time from the start of one renewal to the start of the next.
    pub renew: Duration,
    /// The time between two reads of a Lease that another replica holds.
    pub look: Duration,
    /// The pause after a request that failed.
    pub pause: Duration,
    /// The longest that one request may take.
    pub request: Duration,
}

impl Default for Windows {
    /// If each clock runs at most a tenth too fast or too slow, more than two seconds pass between the end of one
    /// replica and the beginning of the next: 15 s / 1.1 - 10 s / 0.9 = 2.5 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            hold: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            look: Duration::from_secs(1),
            pause: Duration::from_millis(500),
            request: Duration::from_secs(3),
        }
    }
}

/// What a replica knows of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Absent,
    Lease(SeenLease),
}

/// One replica of an election, and what it has seen.
#[derive(Clone, Debug)]
pub struct Contender {
    me: String,
    windows: Windows,
    known: Known,
    /// When the time of the holder that was seen last is over.
    run_out: Moment,
    /// Until when this replica may act. `None` if it does not lead.
    until: Option<Moment>,
    renew_at: Moment,
    look_at: Moment,
    not_before: Moment,
    leaving: bool,
}

impl Contender {
    /// Creates a replica that has seen nothing. No other process, and no earlier one, may ever have the identity `me`.
    pub fn new(me: impl Into<String>, windows: Windows) -> Self {
        let start = Moment::ZERO;
        Self {
            me: me.into(),
            windows,
            known: Known::Nothing,
            run_out: start,
            until: None,
            renew_at: start,
            look_at: start,
            not_before: start,
            leaving: false,
        }
    }

    /// Until when this replica may act, if it leads. From then on it may do nothing.
    pub fn until(&self) -> Option<Moment> {
        self.until
    }

    /// The other replica that held the Lease when it was last seen.
    pub fn other(&self) -> Option<&str> {
        self.holder().filter(|holder| *holder != self.me)
    }

    fn holder(&self) -> Option<&str> {
        match &self.known {
            Known::Lease(seen) => seen.record.holder(),
            Known::Nothing | Known::Absent => None,
        }
    }

    /// Makes the replica give the Lease back. It must have stopped acting.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.not_before = Moment::ZERO;
    }

    /// Decides the next step. `wall` is the time of day, which the Lease shows to people.
    pub fn decide(&self, now: Moment, wall: Timestamp) -> LeaseStep {
        let holder = self.holder();
        if let (Some(until), false) = (self.until, self.leaving) {
            if now >= until {
                return LeaseStep::End(CampaignEnd::Lapsed);
            }
            if let Some(other) = self.other() {
                return LeaseStep::End(CampaignEnd::Taken(other.to_owned()));
            }
        }
        if self.leaving
            && (self.until.is_none() || self.known != Known::Nothing && holder != Some(self.me.as_str()))
        {
            return LeaseStep::Left;
        }
        if now < self.not_before {
            return self.wait(self.not_before);
        }
        match &self.known {
            Known::Nothing => LeaseStep::Ask(LeaseRequest::Read),
            Known::Lease(seen) if holder == Some(self.me.as_str()) => {
                if self.leaving || self.until.is_none() || now >= self.renew_at {
                    self.write(Some(seen), wall)
                } else {
                    self.wait(self.renew_at)
                }
            }
            // The Lease was given back, or a person removed the name.
            Known::Lease(seen) if holder.is_none() => self.write(Some(seen), wall),
            Known::Absent if self.until.is_some() || now >= self.run_out => self.write(None, wall),
            Known::Lease(seen) if now >= self.run_out => self.write(Some(seen), wall),
            _ if now >= self.look_at => LeaseStep::Ask(LeaseRequest::Read),
            _ => self.wait(self.look_at.min(self.run_out)),
        }
    }

    /// Takes in the answer to a request that was sent at `began` and answered at `ended`. No other answer may have been
    /// taken in since the request was decided on.
    pub fn learn(&mut self, request: &LeaseRequest, answer: LeaseAnswer, began: Moment, ended: Moment) {
        self.look_at = ended + self.windows.look;
        match answer {
            LeaseAnswer::Lease(seen) => {
                if let (LeaseRequest::Write { .. }, false) = (request, self.leaving) {
                    self.written(began, ended);
                } else {
                    self.read(&seen, ended);
                }
                self.known = Known::Lease(seen);
                self.not_before = ended;
            }
            // The holder that was seen last may still act, so `run_out` stays.
            LeaseAnswer::Absent => {
                self.known = Known::Absent;
                self.not_before = ended;
            }
            LeaseAnswer::Conflict => {
                self.known = Known::Nothing;
                self.not_before = ended + self.windows.pause;
            }
            // A late write on an old version changes nothing, so what is known stays valid.
            LeaseAnswer::Failed => self.not_before = ended + self.windows.pause,
        }
    }

    /// Extends the time to act, unless it was over before the answer came.
    fn written(&mut self, began: Moment, ended: Moment) {
        let since = if planted(Fault::DeadlineFromTheAnswer) { ended } else { began };
        let until = since + self.windows.hold;
        if ended < until && self.until.is_none_or(|until| ended < until) {
            self.until = Some(until);
        }
        self.renew_at = began + self.windows.renew;
    }

    fn read(&mut self, seen: &SeenLease, ended: Moment) {
        let as_before = |known: &SeenLease| {
            known.version == seen.version
                || planted(Fault::TakenAlthoughRenewed) && known.record.holder == seen.record.holder
        };
        if matches!(&self.known, Known::Lease(known) if as_before(known)) {
            return;
        }
        let said = seen.record.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        // A holder that runs another version of the operator may use a longer duration.
        self.run_out = ended + self.windows.lease.max(Duration::from_secs(said.unwrap_or(0)));
    }

    /// Waits until a moment, but not longer than this replica may act.
    fn wait(&self, moment: Moment) -> LeaseStep {
        LeaseStep::Wait(self.until.filter(|_| !self.leaving).map_or(moment, |until| moment.min(until)))
    }

    fn write(&self, seen: Option<&SeenLease>, wall: Timestamp) -> LeaseStep {
        let old = seen.map(|seen| seen.record.clone()).unwrap_or_default();
        let on = seen.map(|seen| seen.version.clone());
        if self.leaving {
            // The API server refuses a duration of 0.
            let record = LeaseRecord { holder: None, duration_seconds: Some(1), renewed: Some(wall), ..old };
            return LeaseStep::Ask(LeaseRequest::Write { record, on });
        }
        let mine = old.holder() == Some(self.me.as_str());
        let record = LeaseRecord {
            holder: Some(self.me.clone()),
            duration_seconds: Some(i32::try_from(self.windows.lease.as_secs()).unwrap_or(i32::MAX)),
            acquired: if mine { old.acquired } else { Some(wall) },
            renewed: Some(wall),
            transitions: old.transitions.saturating_add(i32::from(!mine && seen.is_some())),
        };
        LeaseStep::Ask(LeaseRequest::Write { record, on })
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lease_world_tests.rs"]
mod world_tests;
