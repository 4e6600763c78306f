//! One process of the operator: its memory, and its connections to the world, which end with it.

mod cluster;
mod lease;
mod storage;
mod wire;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use fhir_export_operator::controller::runs::Runs;
use fhir_export_operator::controller::wake::Wakes;
use fhir_export_operator::controller::world::World;
use fhir_export_operator::core::seats::SeatLimits;
use fhir_export_operator::core::tuning::Tuning;
use fhir_export_operator::fhir::held_back::HeldBack;
use fhir_export_operator::ports::tenure::Tenure;
use fhir_export_operator::ports::{Clock, EndTask, Randomness};
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::cache::Cache;
use crate::faults::{self, Outage};
use crate::laws::Acting;
use crate::plan::{Edge, FaultKind};
use crate::post::{After, Letter, post};
use crate::state::{State, locked};
use crate::time::{Pause, SECOND, micros};

pub use lease::{Board, Ended, Way};

/// One process of the operator, and the world as it sees it.
pub struct Process {
    /// The number of the process among all that ever ran.
    pub number: usize,
    /// The number of the replica.
    pub slot: usize,
    /// The models.
    pub state: Arc<Mutex<State>>,
    /// The stores that the process's watches fill.
    pub cache: Cache,
    /// Queues reconciles.
    pub wakes: Wakes,
    /// Tasks that were started beside the reconciles, for the scheduler to take.
    pub spawned: Mutex<Vec<Beside>>,
    tenure: Tenure,
    /// The process itself, for the uploads that it begins.
    this: Weak<Self>,
    /// How far the process's clock is ahead of the others', in microseconds.
    skew: i64,
    runs: Runs,
    tuning: Tuning,
    held_back: HeldBack,
    /// When the token of each server was issued, in microseconds.
    tokens: Mutex<BTreeMap<usize, i64>>,
}

/// A task beside the reconciles.
pub struct Beside {
    /// The work of the task.
    pub task: BoxFuture<'static, ()>,
    /// Set when the task is to be ended.
    pub ended: Arc<AtomicBool>,
    /// The task that started this one.
    pub acting: Acting,
}

/// The payload of a planned panic. If the operator does not catch it, a law is broken.
struct Defect;

/// Panics as planned.
fn panics() -> ! {
    resume_unwind(Box::new(Defect))
}

/// How one use of an edge begins.
enum Course {
    /// The request is sent, with this fault if any.
    Goes(Option<FaultKind>),
    /// The operator is killed before the request is sent.
    Dies,
}

impl Process {
    /// Creates a process with this number and replica. `wakes` leads to its queues.
    pub fn new(
        number: usize,
        slot: usize,
        state: &Arc<Mutex<State>>,
        wakes: Wakes,
        tenure: Tenure,
    ) -> Arc<Self> {
        let (skew, seats) = {
            let mut state = locked(state);
            let several = state.plan.replicas > 1;
            let skew = if several { state.chance.between(-2 * SECOND, 2 * SECOND) } else { 0 };
            (skew, state.plan.seats)
        };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            number,
            slot,
            tenure,
            skew,
            state: Arc::clone(state),
            cache: Cache::default(),
            wakes,
            spawned: Mutex::default(),
            runs: Runs::with_seats(SeatLimits { per_lane: seats.0, per_namespace: seats.1 }),
            tuning: Tuning::default(),
            held_back: HeldBack::default(),
            tokens: Mutex::default(),
        })
    }

    /// Counts one use of an edge, and decides which fault strikes it.
    fn course(&self, edge: Edge) -> Course {
        let mut state = locked(&self.state);
        let fault = state.faults.next(edge);
        if let Some(kind) = &fault {
            let name = faults::name(kind);
            state.tally.fault(name);
            state.tell(50, || format!("fault at {edge:?}: {kind:?}"));
        }
        match fault {
            Some(FaultKind::CrashBefore) => {
                state.kill = Some(self.number);
                Course::Dies
            }
            Some(FaultKind::PanicsBefore) => {
                drop(state);
                panics()
            }
            fault => Course::Goes(fault),
        }
    }

    /// Kills the operator at this point.
    fn dies(&self) {
        locked(&self.state).kill = Some(self.number);
    }

    /// Whether the process cannot reach the API server.
    fn is_cut_off(&self) -> bool {
        let state = locked(&self.state);
        state.out(Outage::Api) || state.election.cuts_off(self.slot, state.time.now)
    }

    /// Waits for ever.
    async fn for_ever(&self) {
        self.pause(i64::MAX / 8).await;
    }

    async fn pause(&self, wait: i64) {
        Pause::new(&self.state, wait).await;
    }

    /// Waits for the time that a message is on its way.
    async fn travel(&self) {
        let wait = locked(&self.state).way();
        self.pause(wait).await;
    }

    /// Carries out one use of an edge: the message is on its way, `act` is carried out, and the answer is on
    /// its way. The operator may be killed or stopped meanwhile.
    async fn carry<T: Send + 'static>(
        &self,
        fault: Option<&FaultKind>,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> T {
        let slow = if let Some(FaultKind::Slow(seconds)) = fault { *seconds } else { 0 };
        self.hand_over(fault, slow, act).await
    }

    /// Sends the message, whether or not anybody awaits its answer, which takes `slow` seconds longer.
    fn hand_over<T: Send + 'static>(
        &self,
        fault: Option<&FaultKind>,
        slow: i64,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Letter<T> {
        let after = match fault {
            Some(FaultKind::CrashAfter) => After::Dies,
            Some(FaultKind::StopAfter(seconds)) => After::Stops(*seconds),
            _ => After::Goes,
        };
        let there = locked(&self.state).way();
        post(&self.state, false, there, after, move |state| slow * SECOND + state.way(), act)
    }
}

impl State {
    /// Draws how long a message is on its way, in microseconds.
    fn way(&mut self) -> i64 {
        let most = self.plan.latency.max(1);
        let wait = self.chance.between(0, most * 1000);
        // One in twenty messages takes ten times as long.
        if self.chance.one_in(20) { wait * 10 } else { wait }
    }
}

impl Clock for Process {
    fn now(&self) -> Timestamp {
        let state = locked(&self.state);
        state.time.shifted(state.skew + self.skew)
    }

    async fn sleep(&self, time: Duration) {
        self.pause(micros(time)).await;
    }
}

impl Randomness for Process {
    fn unit(&self) -> f64 {
        locked(&self.state).chance.unit()
    }
}

impl World for Process {
    type Cluster = Self;
    type Wire = Self;
    type Objects = Self;
    type Clock = Self;
    type Randomness = Self;
    type Stores = Cache;

    fn cluster(&self) -> &Self {
        self
    }
    fn wire(&self) -> &Self {
        self
    }
    fn objects(&self) -> &Self {
        self
    }
    fn clock(&self) -> &Self {
        self
    }
    fn randomness(&self) -> &Self {
        self
    }
    fn stores(&self) -> &Cache {
        &self.cache
    }
    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
    fn runs(&self) -> &Runs {
        &self.runs
    }
    fn note_landed(&self, _: u64, _: u64) {}

    fn spawn(&self, task: BoxFuture<'static, ()>) -> EndTask {
        let ended = Arc::new(AtomicBool::new(false));
        let acting = locked(&self.state).laws.acting.clone();
        let beside = Beside { task, ended: Arc::clone(&ended), acting };
        locked(&self.spawned).push(beside);
        Box::new(move || ended.store(true, Ordering::Relaxed))
    }

    fn wake_export(&self, namespace: &str, name: &str) {
        self.wakes.export(namespace, name);
    }

    fn wake_server(&self, namespace: &str, name: &str) {
        self.wakes.server(namespace, name);
    }

    fn wake_schedule(&self, namespace: &str, name: &str) {
        self.wakes.schedule(namespace, name);
    }
}
