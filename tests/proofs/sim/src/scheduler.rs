//! The scheduler: one thread that runs tasks, watches and the world in random order, and kills or stops
//! processes of the operator at any point where they wait.

mod life;
mod objects;
mod queue;
mod rest;
mod tasks;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fhir_export_operator::cluster::lead::Leadership;
use fhir_export_operator::cluster::stores::Key;
use fhir_export_operator::controller::wake::Woken;

use crate::chance::Chance;
use crate::laws::Law;
use crate::plan::Plan;
use crate::process::Process;
use crate::state::{State, locked};
use crate::time::{Due, SECOND};

pub use objects::NAMESPACE;
use queue::Queue;
pub use queue::Subject;
use tasks::Tasks;

/// The limit on steps. No simulation needs as many.
const MAX_STEPS: u64 = 400_000;
/// The time within which everything must end after the faults, in microseconds.
const MAX_TIME: i64 = 24 * 3600 * SECOND;
/// How long after the end the simulation goes on to see whether anything still happens, in microseconds.
const AFTERMATH: i64 = 600 * SECOND;

/// What the scheduler lets happen at a certain time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A watch event arrives at a process.
    Deliver(usize),
    /// A reconcile is due.
    Start(usize, Subject, i64),
    /// An event of the plan.
    World(usize),
    /// An export of the plan is created.
    Create(usize),
    /// A schedule of the plan is created.
    CreateSchedule(usize),
    /// The garbage collector looks for exports whose schedule is gone.
    Collect,
    /// The schedules are suspended or deleted.
    WindDown,
    /// A message arrives.
    Arrive(u64),
    /// A replica starts, unless it is running.
    Restart(usize),
    /// A new process of a replica starts beside the one that is to end.
    Surge(usize),
    /// A process is told to end.
    Terminate(usize),
    /// A process that did not end in time is killed.
    Kill(usize),
    /// A process that was stopped goes on.
    Resume(usize),
    /// The trouble of a connection to the API server is over.
    Calm,
    /// A process drops the state of objects that no longer exist.
    Sweep(usize),
    /// The watches of a process work again.
    WatchBack(usize),
    /// All faults end.
    Heal,
    /// Everything that is broken gets repaired.
    Repair,
}

/// The stage of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The process waits until it leads.
    StandsBy,
    /// The process leads and works.
    Works,
    /// The process was told to end, and finishes what it began.
    Drains,
    /// The process gives the Lease back.
    Leaves,
}

/// A running process, and its queues.
struct Running {
    process: Arc<Process>,
    slot: usize,
    stage: Stage,
    /// The receiving ends of the wakes; absent while the process stands by.
    woken: Option<Woken>,
    leadership: Option<Leadership>,
    /// Ends the standing by of a process that is told to end.
    stop: Option<futures::channel::oneshot::Sender<()>>,
    queue: Queue,
    delivering: bool,
    /// Until when the process is stopped, in microseconds.
    stopped_until: i64,
    /// What became due while the process was stopped.
    held: Vec<Held>,
    /// Whether another process takes this one's place.
    replaced: bool,
    /// The objects whose last look failed. Their next look begins with what that one observed.
    failed: BTreeSet<Subject>,
}

/// What waits until a stopped process goes on.
enum Held {
    Task(u64),
    Happening(Happening),
}

/// A simulation that runs.
pub struct Simulation {
    state: Arc<Mutex<State>>,
    tasks: Tasks,
    processes: BTreeMap<usize, Running>,
    started: usize,
    order: Chance,
    healed: bool,
    /// Whether the schedules were suspended or deleted.
    wound_down: bool,
    done_at: Option<i64>,
}

impl Simulation {
    /// Prepares the simulation of a plan. With `told`, the trace can be read.
    pub fn new(plan: Plan, told: bool) -> Self {
        let order = Chance::new(plan.seed, 2);
        let mut state = State::new(plan, told);
        let plan = Arc::clone(&state.plan);
        for number in 0..plan.servers.len() {
            state.create_server(number);
        }
        let mut at = |seconds: i64, what: Happening| {
            let tie = state.chance.draw();
            state.time.after(seconds * SECOND, tie, Due::Happens(what));
        };
        for (number, export) in plan.exports.iter().enumerate() {
            at(export.at, Happening::Create(number));
        }
        for (number, schedule) in plan.schedules.iter().enumerate() {
            at(schedule.at, Happening::CreateSchedule(number));
        }
        for (number, event) in plan.events.iter().enumerate() {
            at(event.at, Happening::World(number));
        }
        at(plan.heal_at, Happening::Heal);
        Self {
            state: Arc::new(Mutex::new(state)),
            tasks: Tasks::default(),
            processes: BTreeMap::new(),
            started: 0,
            order,
            healed: false,
            wound_down: false,
            done_at: None,
        }
    }

    /// Runs to the end of the simulation, or to the first law that is broken.
    pub fn run(mut self) -> Arc<Mutex<State>> {
        let began = Instant::now();
        let replicas = locked(&self.state).plan.replicas;
        for slot in 0..replicas {
            self.start(slot);
        }
        loop {
            {
                let mut state = locked(&self.state);
                state.tally.steps += 1;
                if !state.laws.broken.is_empty() {
                    break;
                }
                let late = state.time.now > state.plan.heal_at * SECOND + MAX_TIME;
                if late || state.tally.steps > MAX_STEPS {
                    state.check_ended();
                    let steps = state.tally.steps;
                    if state.laws.broken.is_empty() {
                        state.broken(
                            Law::Liveness,
                            "everything ends",
                            format!("it goes on after {steps} steps"),
                        );
                    }
                    break;
                }
                if self.done_at.is_some_and(|at| state.time.now > at) {
                    state.check_ended();
                    state.check_jobs();
                    state.check_patience();
                    break;
                }
            }
            if !self.step() {
                let mut state = locked(&self.state);
                state.check_ended();
                state.check_jobs();
                state.check_patience();
                break;
            }
            self.after_step();
        }
        let listed = |running: &Running| running.process.cache.listed.load(Ordering::Relaxed);
        let listed = self.processes.values().map(listed).sum();
        self.processes.clear();
        self.tasks = Tasks::default();
        let mut state = locked(&self.state);
        state.tally.listed = listed;
        // Messages on their way hold references to the models.
        state.post = crate::post::Post::default();
        state.count_ends();
        state.tally.seeds = 1;
        let kind = state.plan.kind.name();
        state.tally.kinds.insert(kind, (1, began.elapsed()));
        state.tally.replicated = u64::from(replicas > 1);
        state.tally.broken = state.laws.broken.len() as u64;
        drop(state);
        self.state
    }

    /// Runs one thing that can go on. Returns false if there is none.
    fn step(&mut self) -> bool {
        if let Some(task) = self.tasks.next(&mut self.order) {
            self.poll(task);
            return true;
        }
        let due = locked(&self.state).time.advance();
        match due {
            Some(Due::Wake(waker)) => waker.wake(),
            Some(Due::Happens(what)) => self.happen(what),
            None => return false,
        }
        true
    }

    /// Handles the consequences of a step: new tasks, wakes, deaths, stops and deliveries.
    fn after_step(&mut self) {
        let (kill, stop) = {
            let mut state = locked(&self.state);
            (state.kill.take(), state.stop.take())
        };
        if let Some(process) = kill {
            self.crash(process, None);
        }
        if let Some((process, seconds)) = stop {
            self.stop(process, seconds);
        }
        self.take_spawned();
        for running in self.processes.values_mut() {
            running.take_wakes(&self.state);
        }
        self.begin_due();
        self.drained();
        self.deliver_later();
        self.rest();
        if self.healed && self.done_at.is_none() {
            let state = locked(&self.state);
            if (self.wound_down || state.plan.schedules.is_empty()) && state.all_ended() {
                self.done_at = Some(state.time.now + AFTERMATH);
            }
        }
    }
}

/// The namespace and name of an export of the plan.
pub fn export_key(number: usize) -> Key {
    (objects::NAMESPACE.to_owned(), format!("e{number}"))
}
