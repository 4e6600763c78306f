//! The election, as the API server and the scheduler know it: the Lease, who has acted, and the time of all of it.
//!
//! A holder that is well renews every two seconds, for hours. While nothing disturbs it the election stands still, with the
//! steady clocks of all processes: what is left out is the same again and again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use fhir_export_operator::core::lease::{LeaseAnswer, LeaseRequest, SeenLease};

use crate::plan::Trouble;
use crate::state::{State, locked};
use crate::time::{Due, SECOND};

/// The election.
#[derive(Debug, Default)]
pub struct Election {
    /// It stands still since then.
    still: Option<i64>,
    /// For so long it stood still before, in microseconds.
    skipped: i64,
    sleepers: Vec<Waker>,
    /// Until then it goes on in any case.
    restless: i64,
    /// The Lease.
    pub lease: Option<SeenLease>,
    /// Who has acted, one after the other.
    pub reigns: Vec<usize>,
    /// Until when the way of each replica to the API server is troubled, and how.
    pub troubles: BTreeMap<usize, (Trouble, i64)>,
    /// Nobody could act since then, in time of the election, though somebody could have led.
    pub vacant: i64,
}

/// What each process is called.
pub fn identity(process: usize) -> String {
    format!("process-{process}")
}

impl Election {
    /// The time by which it goes on.
    pub fn now(&self, now: i64) -> i64 {
        self.still.unwrap_or(now) - self.skipped
    }

    /// Whether it stands still.
    pub fn is_still(&self) -> bool {
        self.still.is_some()
    }

    /// Whether it must go on, whatever else.
    pub fn is_restless(&self, now: i64) -> bool {
        self.restless > now
    }

    /// It stands still from now on.
    pub fn rest(&mut self, now: i64) {
        self.still = Some(now);
    }

    /// The trouble of a replica.
    pub fn trouble(&self, slot: usize, now: i64) -> Option<Trouble> {
        self.troubles.get(&slot).filter(|(_, until)| *until > now).map(|(trouble, _)| *trouble)
    }

    /// Whether a replica has no way to the API server.
    pub fn cuts_off(&self, slot: usize, now: i64) -> bool {
        match self.trouble(slot, now) {
            Some(Trouble::Hangs | Trouble::Refuses | Trouble::AnswersLost) => true,
            Some(Trouble::AnswersLate | Trouble::Falters) | None => false,
        }
    }

    /// Who holds the Lease.
    pub fn holder(&self) -> Option<&str> {
        self.lease.as_ref()?.record.holder.as_deref().filter(|holder| !holder.is_empty())
    }
}

impl State {
    /// Something disturbs the election: it goes on for a while.
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

    /// A request about the Lease arrives.
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
                // Also if it comes late: others wait anew from here on.
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

/// Lets the time of the election pass.
pub struct Wait {
    state: Arc<Mutex<State>>,
    until: i64,
    due: Option<i64>,
}

impl Wait {
    /// So many microseconds.
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
