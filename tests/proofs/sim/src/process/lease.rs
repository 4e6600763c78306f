//! One process's part in the election: its steady clock, its connection to the Lease, and its end.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir_export_operator::cluster::lead::{LeaseKey, LeaseLock};
use fhir_export_operator::core::lease::{LeaseAnswer, LeaseRequest, Moment, Windows};
use fhir_export_operator::core::wire::Request;
use fhir_export_operator::ports::Clock;
use fhir_export_operator::ports::tenure::{Machine, Tenure};
use jiff::Timestamp;

use super::{Course, Process};
use crate::election::Wait;
use crate::faults::Outage;
use crate::plan::{Edge, FaultKind, Trouble};
use crate::post::{After, post};
use crate::state::{State, locked};
use crate::time::{SECOND, micros};

/// The payload of the panic with which a process ends itself.
pub struct Ended;

/// The machine of a process, with its steady clock.
#[derive(Clone)]
pub struct Board {
    state: Arc<Mutex<State>>,
    process: usize,
    /// When the clock began, and what it showed then, in microseconds.
    began: (i64, i64),
    /// How fast the clock runs, in thousandths.
    rate: i64,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the machine of process {}", self.process)
    }
}

impl Board {
    /// Creates a clock that runs up to a tenth too slow or too fast.
    pub fn new(state: &Arc<Mutex<State>>, process: usize) -> Self {
        let (began, rate) = {
            let mut state = locked(state);
            let began = state.election.now(state.time.now);
            let shown = state.chance.between(0, 1_000_000 * SECOND);
            ((began, shown), state.chance.pick(&[900, 1000, 1100], 1000))
        };
        Self { state: Arc::clone(state), process, began, rate }
    }
}

impl Machine for Board {
    fn steady(&self) -> Moment {
        let state = locked(&self.state);
        let passed = state.election.now(state.time.now) - self.began.0;
        Duration::from_micros((self.began.1 + passed * self.rate / 1000).unsigned_abs())
    }

    fn end(&self, sentence: &str) -> ! {
        {
            let mut state = locked(&self.state);
            state.tell(82, || format!("process {}: {sentence}", self.process));
            state.lapsed = true;
            state.kill = Some(self.process);
        }
        resume_unwind(Box::new(Ended))
    }
}

impl Clock for Board {
    fn now(&self) -> Timestamp {
        let state = locked(&self.state);
        state.time.shifted(state.skew)
    }

    async fn sleep(&self, time: Duration) {
        // Rounded up, so that the wait is also over by the process's own clock.
        Wait::new(&self.state, micros(time).saturating_mul(1000) / self.rate + 1).await;
    }
}

/// A process's connection to the Lease.
pub struct Way {
    process: Arc<Process>,
    board: Board,
    name: LeaseKey,
}

impl Way {
    /// Creates the connection of a process.
    pub fn new(process: &Arc<Process>, board: &Board) -> Self {
        let name = LeaseKey { namespace: "operator".to_owned(), name: "lease".to_owned() };
        Self { process: Arc::clone(process), board: board.clone(), name }
    }

    /// Sends one request. Returns `None` if no answer comes.
    async fn carry(
        &self,
        ask: LeaseRequest,
        (slow, late): (i64, i64),
        after: After,
        heard: bool,
    ) -> Option<LeaseAnswer> {
        let (there, most) = {
            let mut state = locked(&self.process.state);
            let most = state.plan.latency.max(1) * 1000;
            (state.chance.between(0, most) + slow, most)
        };
        let back = move |state: &mut State| state.chance.between(0, most) + late;
        let letter = post(&self.process.state, true, there, after, back, move |state| state.ask_lease(&ask));
        if heard {
            return Some(letter.await);
        }
        futures::future::pending().await
    }
}

impl LeaseLock for Way {
    fn name(&self) -> &LeaseKey {
        &self.name
    }

    async fn ask(&mut self, ask: &LeaseRequest) -> Result<LeaseAnswer, String> {
        let limit = Windows::default().request;
        let Course::Goes(fault) = self.process.course(Edge::Lease) else {
            self.process.for_ever().await;
            return Err(String::new());
        };
        let (trouble, late) = {
            let mut state = locked(&self.process.state);
            if fault.is_some() {
                state.disturb();
            }
            let now = state.time.now;
            let out = state.out(Outage::Api).then_some(Trouble::Hangs);
            (out.or(state.election.trouble(self.process.slot, now)), state.chance.between(0, 20 * SECOND))
        };
        if let Some(FaultKind::StopBefore(seconds) | FaultKind::StopWithin(seconds)) = fault {
            self.process.stops(seconds).await;
        }
        let after = match fault {
            Some(FaultKind::CrashAfter) => After::Dies,
            Some(FaultKind::StopAfter(seconds)) => After::Stops(seconds),
            _ => After::Goes,
        };
        if fault.is_none() && trouble.is_none() {
            // The answer arrives long before the request would time out.
            let answer = self.carry(ask.clone(), (0, 0), after, true).await;
            return answer.ok_or_else(|| "The API server did not answer.".to_owned());
        }
        let most = micros(limit) * 1000 / self.board.rate;
        let request = async {
            match (fault, trouble) {
                (_, Some(Trouble::Refuses)) => None,
                (Some(FaultKind::NotDone | FaultKind::NotSent), _) | (_, Some(Trouble::Hangs)) => {
                    futures::future::pending().await
                }
                (_, Some(Trouble::AnswersLost)) | (Some(FaultKind::AnswerLost), _) => {
                    self.carry(ask.clone(), (late, 0), After::Goes, false).await
                }
                (_, Some(Trouble::Falters)) => {
                    let late = {
                        let mut state = locked(&self.process.state);
                        if let Some((trouble, _)) = state.election.troubles.get_mut(&self.process.slot) {
                            *trouble = Trouble::Hangs;
                        }
                        state.chance.between(most / 2, most)
                    };
                    self.carry(ask.clone(), (0, late), after, true).await
                }
                (_, Some(Trouble::AnswersLate)) => self.carry(ask.clone(), (0, late / 4), after, true).await,
                (Some(FaultKind::Slow(seconds)), _) => {
                    self.carry(ask.clone(), (0, seconds * SECOND), after, true).await
                }
                _ => self.carry(ask.clone(), (0, 0), after, true).await,
            }
        };
        let limited = futures::future::select(Box::pin(request), Box::pin(self.board.sleep(limit)));
        match limited.await {
            futures::future::Either::Left((Some(answer), _)) => Ok(answer),
            _ => Err("The API server did not answer.".to_owned()),
        }
    }
}

impl Process {
    /// The last step before a request that changes anything is sent: checks the tenure. The process may be
    /// stopped right before the check and right after it.
    pub(super) async fn leaves(&self, fault: Option<&FaultKind>, request: Option<&Request>) {
        if let Some(FaultKind::StopBefore(seconds)) = fault {
            self.stops(*seconds).await;
        }
        self.tenure.look();
        {
            let mut state = locked(&self.state);
            state.check_tenure(self.number);
            if let Some(request) = request {
                state.sends(request);
            }
        }
        if let Some(FaultKind::StopWithin(seconds)) = fault {
            self.stops(*seconds).await;
        }
    }

    /// Stops the process here for this many seconds.
    pub(super) async fn stops(&self, seconds: i64) {
        locked(&self.state).stop = Some((self.number, seconds));
        self.pause(1).await;
    }

    /// The tenure of the process.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }
}
