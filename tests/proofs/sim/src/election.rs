//! The model of the election, shared by the API server and the scheduler: the Lease, the processes that have
//! acted, and the time of the election.
//!
//! An undisturbed holder renews the Lease every two seconds, for hours. Meanwhile the election stands still,
//! and so do the steady clocks of all processes, because the renewals would only repeat themselves.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use fhir_export_operator::core::lease::{LeaseAnswer, LeaseRequest, SeenLease};

use crate::plan::Trouble;
use crate::state::{State, locked};
use crate::time::{Due, SECOND};

/// The state of the election.
#[derive(Debug, Default)]
pub struct Election {
    /// Since when the election stands still, in microseconds; `None` while it goes on.
    still: Option<i64>,
    /// How long the election stood still before that, in microseconds.
    skipped: i64,
    sleepers: Vec<Waker>,
    /// Until when the election must go on, in microseconds.
    restless: i64,
    /// The Lease, once it was created.
    pub lease: Option<SeenLease>,
    /// The processes that have acted, in order.
    pub reigns: Vec<usize>,
    /// The trouble with each replica's connection to the API server, and its end in microseconds.
    pub troubles: BTreeMap<usize, (Trouble, i64)>,
    /// Since when no process could act although one could have led, in microseconds of the election's time.
    pub vacant: i64,
}

/// The identity of a process in the election.
pub fn identity(process: usize) -> String {
    format!("process-{process}")
}

impl Election {
    /// The time of the election, in microseconds. `now` is the true time.
    pub fn now(&self, now: i64) -> i64 {
        self.still.unwrap_or(now) - self.skipped
    }

    /// Whether the election stands still.
    pub fn is_still(&self) -> bool {
        self.still.is_some()
    }

    /// Whether the election must go on, even if nothing stirs.
    pub fn is_restless(&self, now: i64) -> bool {
        self.restless > now
    }

    /// Makes the election stand still from now on.
    pub fn rest(&mut self, now: i64) {
        self.still = Some(now);
    }

    /// The trouble with a replica's connection to the API server now.
    pub fn trouble(&self, slot: usize, now: i64) -> Option<Trouble> {
        self.troubles.get(&slot).filter(|(_, until)| *until > now).map(|(trouble, _)| *trouble)
    }

    /// Whether a replica cannot reach the API server.
    pub fn cuts_off(&self, slot: usize, now: i64) -> bool {
        match self.trouble(slot, now) {
            Some(Trouble::Hangs | Trouble::Refuses | Trouble::AnswersLost) => true,
            Some(Trouble::AnswersLate | Trouble::Falters) | None => false,
        }
    }

    /// The holder of the Lease.
    pub fn holder(&self) -> Option<&str> {
        self.lease.as_ref()?.record.holder.as_deref().filter(|holder| !holder.is_empty())
    }
}

impl State {
    /// Disturbs the election, so that it goes on for a while.
    pub fn disturb(&mut self) {
        let now = self.time.now;
        let most = self.chance.between(1, 10) * SECOND;
        let election = &mut self.election;
        election.restless = election.restless.max(now + most);
        if let Some(since) = election.still.take() {
            election.skipped += now - since;
        }
        election.vacant = election.now(now);
        for waker in std::mem::take(&mut election.sleepers) {
            let tie = self.chance.draw();
            self.time.after(0, tie, Due::Wake(waker));
        }
    }

    /// The API server receives a request about the Lease.
    pub fn ask_lease(&mut self, ask: &LeaseRequest) -> LeaseAnswer {
        let answer = match (ask, &self.election.lease) {
            (LeaseRequest::Read | LeaseRequest::Write { on: Some(_), .. }, None) => LeaseAnswer::Absent,
            (LeaseRequest::Read, Some(seen)) => LeaseAnswer::Lease(seen.clone()),
            (LeaseRequest::Write { record, on }, lease)
                if *on == lease.as_ref().map(|seen| seen.version.clone()) =>
            {
                let before = lease.as_ref().and_then(|seen| seen.record.holder.clone());
                let seen = SeenLease { record: record.clone(), version: self.api.next_version() };
                if before != record.holder {
                    let after = record.holder.clone();
                    self.tell(80, || format!("the Lease of {before:?} is {after:?}'s"));
                }
                self.election.lease = Some(seen.clone());
                // Even if the answer comes late: the others wait again from now on.
                self.election.vacant = self.election.now(self.time.now);
                LeaseAnswer::Lease(seen)
            }
            _ => LeaseAnswer::Conflict,
        };
        let process = self.laws.acting.process;
        self.tell(81, || match &answer {
            LeaseAnswer::Lease(seen) => {
                let writes = if matches!(ask, LeaseRequest::Read) { "reads" } else { "writes" };
                let holder = seen.record.holder.as_deref().unwrap_or("nobody");
                format!("process {process} {writes} the Lease: {holder}'s, version {}", seen.version)
            }
            other => format!("process {process} asks for the Lease: {other:?}"),
        });
        answer
    }

    /// Somebody writes an annotation of the Lease.
    pub fn touch_lease(&mut self) {
        let version = self.api.next_version();
        if let Some(lease) = &mut self.election.lease {
            lease.version = version;
        }
    }
}

/// A future that waits by the time of the election.
pub struct Wait {
    state: Arc<Mutex<State>>,
    until: i64,
    due: Option<i64>,
}

impl Wait {
    /// Waits for this many microseconds.
    pub fn new(state: &Arc<Mutex<State>>, wait: i64) -> Self {
        let until = {
            let state = locked(state);
            state.election.now(state.time.now).saturating_add(wait.max(1))
        };
        Self { state: Arc::clone(state), until, due: None }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let state = Arc::clone(&self.state);
        let mut state = locked(&state);
        let now = state.time.now;
        let left = self.until - state.election.now(now);
        if left <= 0 {
            return Poll::Ready(());
        }
        if state.election.is_still() {
            self.due = None;
            state.election.sleepers.push(context.waker().clone());
        } else if self.due != Some(now + left) {
            self.due = Some(now + left);
            let tie = state.chance.draw();
            state.time.after(left, tie, Due::Wake(context.waker().clone()));
        }
        Poll::Pending
    }
}
