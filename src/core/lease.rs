//! Which replica works: the decisions about a Lease of our own.
//!
//! A replica may act from the answer to a write that put its name on the Lease, until `hold` after the start of the
//! last such write that succeeded. Another one writes its name only on the very version of the Lease that it has seen
//! unchanged for `lease` by its own clock, or that names nobody. A write is never later than the first sight of what
//! it wrote, so the holder's time began before the other's wait did, and ends before it by the difference of the two.
//! No clock but the own one is trusted, and that one only to run at about the right speed (see [`Windows`]).

use std::time::Duration;

use jiff::Timestamp;

use crate::core::planted::{Fault, planted};

/// A reading of this process's own steady clock, from a beginning of its own: two processes' are never compared.
pub type Moment = Duration;

/// How long the parts of an election take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long a Lease must have been seen unchanged before it is taken from its holder.
    pub lease: Duration,
    /// How long the holder may act, from the start of its last write that succeeded.
    pub hold: Duration,
    /// From the start of one renewal to the next.
    pub renew: Duration,
    /// From one look at another's Lease to the next.
    pub look: Duration,
    /// The pause after a request that failed.
    pub pause: Duration,
    /// What one request may take.
    pub request: Duration,
}

impl Default for Windows {
    /// Clocks whose speeds differ by up to a tenth, each way, leave more than two seconds between the end of one replica and
    /// the beginning of the next: 15 s / 1.1 - 10 s / 0.9 = 2.5 s.
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

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `holderIdentity`; absent or empty: nobody.
    pub holder: Option<String>,
    /// `leaseDurationSeconds`.
    pub duration_seconds: Option<i32>,
    /// `acquireTime`, by the holder's clock; for people.
    pub acquired: Option<Timestamp>,
    /// `renewTime`, by the holder's clock; for people.
    pub renewed: Option<Timestamp>,
    /// `leaseTransitions`: how often the holder changed.
    pub transitions: i32,
}

impl Record {
    fn holder(&self) -> Option<&str> {
        self.holder.as_deref().filter(|holder| !holder.is_empty())
    }
}

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it says.
    pub record: Record,
    /// Its `resourceVersion`.
    pub version: String,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the Lease, not from a cache.
    Read,
    /// Write it: on this version of it, or as a new one if there is none.
    Write {
        /// What it is to say.
        record: Record,
        /// The version that it must still have.
        on: Option<String>,
    },
    /// Nothing until then.
    Wait(Moment),
    /// This process may do nothing more: end it.
    End(Ending),
    /// The Lease is given back, or was not held.
    Left,
}

/// Why a replica that led must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It could not renew the Lease in time, so another one may lead.
    Lapsed,
    /// The Lease names this one.
    Taken(String),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The Lease: as it is, or as it was just written.
    Lease(Seen),
    /// There is none.
    Absent,
    /// It is not of the version that the write was for any more.
    Conflict,
    /// No answer, or one that says nothing about the Lease: a write may or may not have been done.
    Failed,
}

/// What is known of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Absent,
    Lease(Seen),
}

/// One replica, and what it has seen.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: String,
    windows: Windows,
    known: Known,
    /// When the holder that was seen last has run out, by the own clock.
    run_out: Moment,
    /// The end of the time in which this replica may act.
    until: Option<Moment>,
    renew_at: Moment,
    look_at: Moment,
    not_before: Moment,
    leaving: bool,
}

impl Candidate {
    /// A replica that has seen nothing. No other process, and no earlier one, may ever be called `me`.
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

    /// The end of the time in which this replica may act, if it leads: from then on it may do nothing.
    pub fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Another replica that holds the Lease, as last seen.
    pub fn other(&self) -> Option<&str> {
        self.holder().filter(|holder| *holder != self.me)
    }

    fn holder(&self) -> Option<&str> {
        match &self.known {
            Known::Lease(seen) => seen.record.holder(),
            Known::Nothing | Known::Absent => None,
        }
    }

    /// From now on this replica wants to give the Lease back. It must have ceased to act.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.not_before = Moment::ZERO;
    }

    /// What to do next. `wall` is the time of day, to be written for people to read.
    pub fn decide(&self, now: Moment, wall: Timestamp) -> Ask {
        let holder = self.holder();
        if let (Some(until), false) = (self.until, self.leaving) {
            if now >= until {
                return Ask::End(Ending::Lapsed);
            }
            if let Some(other) = self.other() {
                return Ask::End(Ending::Taken(other.to_owned()));
            }
        }
        if self.leaving
            && (self.until.is_none() || self.known != Known::Nothing && holder != Some(self.me.as_str()))
        {
            return Ask::Left;
        }
        if now < self.not_before {
            return self.wait(self.not_before);
        }
        match &self.known {
            Known::Nothing => Ask::Read,
            Known::Lease(seen) if holder == Some(self.me.as_str()) => {
                if self.leaving || self.until.is_none() || now >= self.renew_at {
                    self.write(Some(seen), wall)
                } else {
                    self.wait(self.renew_at)
                }
            }
            // Taken away by hand from one who leads, or given back.
            Known::Lease(seen) if holder.is_none() => self.write(Some(seen), wall),
            Known::Absent if self.until.is_some() || now >= self.run_out => self.write(None, wall),
            Known::Lease(seen) if now >= self.run_out => self.write(Some(seen), wall),
            _ if now >= self.look_at => Ask::Read,
            _ => self.wait(self.look_at.min(self.run_out)),
        }
    }

    /// Learns what came of a request, between which two moments. What `ask` was decided on must be the last that this was told.
    pub fn learn(&mut self, ask: &Ask, answer: Answer, began: Moment, ended: Moment) {
        self.look_at = ended + self.windows.look;
        match answer {
            Answer::Lease(seen) => {
                if let (Ask::Write { .. }, false) = (ask, self.leaving) {
                    self.written(began, ended);
                } else {
                    self.read(&seen, ended);
                }
                self.known = Known::Lease(seen);
                self.not_before = ended;
            }
            // Whoever was seen on it may still act: `run_out` stays.
            Answer::Absent => {
                self.known = Known::Absent;
                self.not_before = ended;
            }
            Answer::Conflict => {
                self.known = Known::Nothing;
                self.not_before = ended + self.windows.pause;
            }
            // A write on a version that has passed does no harm, so what is known is as good as before.
            Answer::Failed => self.not_before = ended + self.windows.pause,
        }
    }

    /// The time to act begins anew, unless it was over before the answer came.
    fn written(&mut self, began: Moment, ended: Moment) {
        let since = if planted(Fault::DeadlineFromTheAnswer) { ended } else { began };
        let until = since + self.windows.hold;
        if ended < until && self.until.is_none_or(|until| ended < until) {
            self.until = Some(until);
        }
        self.renew_at = began + self.windows.renew;
    }

    fn read(&mut self, seen: &Seen, ended: Moment) {
        let as_before = |known: &Seen| {
            known.version == seen.version
                || planted(Fault::TakenAlthoughRenewed) && known.record.holder == seen.record.holder
        };
        if matches!(&self.known, Known::Lease(known) if as_before(known)) {
            return;
        }
        let said = seen.record.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        // A holder of another version may be allowed more than this one would be.
        self.run_out = ended + self.windows.lease.max(Duration::from_secs(said.unwrap_or(0)));
    }

    /// No wait outlasts the time to act.
    fn wait(&self, moment: Moment) -> Ask {
        Ask::Wait(self.until.filter(|_| !self.leaving).map_or(moment, |until| moment.min(until)))
    }

    fn write(&self, seen: Option<&Seen>, wall: Timestamp) -> Ask {
        let old = seen.map(|seen| seen.record.clone()).unwrap_or_default();
        let on = seen.map(|seen| seen.version.clone());
        if self.leaving {
            // A duration of 0 is not allowed.
            let record = Record { holder: None, duration_seconds: Some(1), renewed: Some(wall), ..old };
            return Ask::Write { record, on };
        }
        let mine = old.holder() == Some(self.me.as_str());
        let record = Record {
            holder: Some(self.me.clone()),
            duration_seconds: Some(i32::try_from(self.windows.lease.as_secs()).unwrap_or(i32::MAX)),
            acquired: if mine { old.acquired } else { Some(wall) },
            renewed: Some(wall),
            transitions: old.transitions.saturating_add(i32::from(!mine && seen.is_some())),
        };
        Ask::Write { record, on }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lease_world_tests.rs"]
mod world_tests;
