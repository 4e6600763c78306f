//! The scheduler: one thread that lets tasks, watches and the world go on in random order, and kills the operator at
//! any point where it waits.

mod queue;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use fhir_export_operator::api::FhirExport;
use fhir_export_operator::cluster::stores::Key;
use fhir_export_operator::controller::wake::{Wakes, Woken};
use fhir_export_operator::controller::world::{ClusterFailure, Stores};
use fhir_export_operator::core::effect::Requeue;
use futures::future::BoxFuture;

use crate::chance::Chance;
use crate::faults::Outage;
use crate::laws::Acting;
use crate::plan::Plan;
use crate::process::Process;
use crate::state::{State, locked};
use crate::time::{Due, SECOND};

use queue::Queue;
pub use queue::Subject;

/// More steps than any simulation needs.
const MAX_STEPS: u64 = 400_000;
/// After the healing everything ends within this.
const MAX_TIME: i64 = 24 * 3600 * SECOND;
/// It is looked so long after the end whether anything stirs.
const AFTERMATH: i64 = 600 * SECOND;

/// What the scheduler has happen at a time.
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
    /// The operator starts again.
    Restart,
    /// What was forgotten to be forgotten is looked for.
    Sweep(usize),
    /// The watches of a process work again.
    WatchBack(usize),
    /// Nothing goes wrong any more.
    Heal,
    /// Whoever can repairs what is broken.
    Repair,
}

/// What a task came to.
enum End {
    Looked(Result<Requeue, ClusterFailure>),
    Beside,
}

struct Task {
    future: BoxFuture<'static, End>,
    process: usize,
    subject: Option<Subject>,
    acting: Acting,
    ended: Option<Arc<AtomicBool>>,
    /// When it began.
    since: i64,
}

struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<Vec<u64>>>,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            locked(&self.ready).push(self.task);
        }
    }
}

/// A process that runs, and its queues.
struct Running {
    process: Arc<Process>,
    woken: Woken,
    queue: Queue,
    delivering: bool,
}

/// One simulation.
pub struct Simulation {
    state: Arc<Mutex<State>>,
    tasks: BTreeMap<u64, (Task, Arc<TaskWaker>)>,
    ready: Arc<Mutex<Vec<u64>>>,
    running: Option<Running>,
    processes: usize,
    made: u64,
    order: Chance,
    healed: bool,
    done_at: Option<i64>,
    /// The last look at them failed: the next one begins with what that one saw.
    failed: BTreeSet<Subject>,
}

impl Simulation {
    /// Of this plan; `told`: with a trace to read.
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
        for (number, event) in plan.events.iter().enumerate() {
            at(event.at, Happening::World(number));
        }
        at(plan.heal_at, Happening::Heal);
        Self {
            state: Arc::new(Mutex::new(state)),
            tasks: BTreeMap::new(),
            ready: Arc::default(),
            running: None,
            processes: 0,
            made: 0,
            order,
            healed: false,
            done_at: None,
            failed: BTreeSet::new(),
        }
    }

    /// To its end, or to the first law that is broken.
    pub fn run(mut self) -> Arc<Mutex<State>> {
        self.start();
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
                        state.broken("liveness: everything ends", format!("it goes on after {steps} steps"));
                    }
                    break;
                }
                if self.done_at.is_some_and(|at| state.time.now > at) {
                    state.check_ended();
                    state.check_jobs();
                    break;
                }
            }
            if !self.step() {
                let mut state = locked(&self.state);
                state.check_ended();
                state.check_jobs();
                break;
            }
            self.after_step();
        }
        self.running = None;
        self.tasks.clear();
        let mut state = locked(&self.state);
        state.count_ends();
        state.tally.seeds = 1;
        state.tally.broken = state.laws.broken.len() as u64;
        drop(state);
        self.state
    }

    /// One thing that can go on; false if there is nothing.
    fn step(&mut self) -> bool {
        let next = {
            let mut ready = locked(&self.ready);
            let count = ready.len() as u64;
            (count > 0).then(|| ready.swap_remove(usize::try_from(self.order.below(count)).unwrap_or(0)))
        };
        if let Some(task) = next {
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

    fn poll(&mut self, number: u64) {
        let Some((task, waker)) = self.tasks.get_mut(&number) else { return };
        waker.queued.store(false, Ordering::Relaxed);
        if task.ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed)) {
            self.tasks.remove(&number);
            return;
        }
        locked(&self.state).laws.acting.clone_from(&task.acting);
        let waker = Waker::from(Arc::clone(waker));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context)));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) => {
                let Some((task, _)) = self.tasks.remove(&number) else { return };
                self.ended(task, end);
            }
            Err(_) => {
                self.tasks.remove(&number);
                locked(&self.state).broken("no panic", "a task panicked");
            }
        }
        locked(&self.state).laws.acting = Acting::default();
    }

    fn ended(&mut self, task: Task, end: End) {
        let (End::Looked(result), Some(subject)) = (end, task.subject) else { return };
        let alive = self.running.as_ref().is_some_and(|running| running.process.number == task.process);
        if !alive {
            return;
        }
        let again = self.failed.remove(&subject);
        if result.is_err() {
            self.failed.insert(subject.clone());
        }
        let echo = again || task.acting.echo || task.since != locked(&self.state).time.now;
        if !echo && result.is_ok() && subject.is_export() && self.order.one_in(8) {
            self.echo(&subject);
        }
        let Some(running) = self.running.as_mut() else { return };
        running.queue.finished(&self.state, running.process.number, subject, &result);
    }

    /// The same look again, at the same time: nothing may be written.
    fn echo(&mut self, subject: &Subject) {
        if !self.is_current(subject) {
            return;
        }
        let Some((number, _)) = self.begin(subject, true) else { return };
        self.poll(number);
        // What it does beside writing and telling may take its time; nobody waits for it.
        self.tasks.remove(&number);
        locked(&self.ready).retain(|ready| *ready != number);
    }

    /// Whether the cache knows the object as it is.
    fn is_current(&self, subject: &Subject) -> bool {
        let (Some(running), Subject::Export((namespace, name))) = (self.running.as_ref(), subject) else {
            return false;
        };
        let state = locked(&self.state);
        let there = state.api.exports.objects.get(&(namespace.clone(), name.clone()));
        let known = running.process.cache.export(namespace, name);
        let version = |object: &Arc<FhirExport>| object.metadata.resource_version.clone();
        state.kill.is_none() && there.map(version) == known.as_ref().map(version)
    }

    /// What follows from a step: tasks beside, wakes, deaths, deliveries.
    fn after_step(&mut self) {
        let kill = locked(&self.state).kill.take();
        if kill.is_some() && kill == self.running.as_ref().map(|running| running.process.number) {
            self.crash(None);
        }
        self.take_spawned();
        if let Some(running) = self.running.as_mut() {
            running.take_wakes(&self.state);
        }
        self.begin_due();
        self.deliver_later();
        if self.healed && self.done_at.is_none() {
            let state = locked(&self.state);
            if state.all_ended() {
                self.done_at = Some(state.time.now + AFTERMATH);
            }
        }
    }

    fn take_spawned(&mut self) {
        let Some(running) = self.running.as_ref() else { return };
        let spawned = std::mem::take(&mut *locked(&running.process.spawned));
        let process = running.process.number;
        for beside in spawned {
            let uid = beside.uid;
            let task = beside.task;
            let future = Box::pin(async move {
                task.await;
                End::Beside
            });
            let acting = Acting { process, task: 0, export: beside.export, uid, echo: false };
            self.add(Task { future, process, subject: None, acting, ended: Some(beside.ended), since: 0 });
        }
    }

    fn add(&mut self, mut task: Task) -> u64 {
        self.made += 1;
        let number = self.made;
        task.acting.task = number;
        task.since = locked(&self.state).time.now;
        let waker = Arc::new(TaskWaker {
            task: number,
            ready: Arc::clone(&self.ready),
            queued: AtomicBool::new(true),
        });
        self.tasks.insert(number, (task, waker));
        locked(&self.ready).push(number);
        number
    }

    /// The operator dies: all that it was doing ends where it is.
    fn crash(&mut self, back: Option<i64>) {
        if self.running.take().is_none() {
            return;
        }
        self.tasks.clear();
        locked(&self.ready).clear();
        let mut state = locked(&self.state);
        state.tally.crashes += 1;
        state.tell(1, || "the operator is killed".to_owned());
        let wait =
            back.unwrap_or_else(|| if state.chance.one_in(5) { state.chance.between(1, 900) } else { 1 });
        let tie = state.chance.draw();
        state.time.after(wait * SECOND, tie, Due::Happens(Happening::Restart));
    }

    /// The operator starts, and lists everything.
    fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        if locked(&self.state).out(Outage::Api) {
            let mut state = locked(&self.state);
            let tie = state.chance.draw();
            state.time.after(5 * SECOND, tie, Due::Happens(Happening::Restart));
            return;
        }
        self.processes += 1;
        let (wakes, woken) = Wakes::new();
        let process = Arc::new(Process::new(self.processes, &self.state, wakes));
        let concurrency = locked(&self.state).plan.concurrency;
        let queue = Queue::new(concurrency);
        let mut running = Running { process, woken, queue, delivering: false };
        running.list();
        running.take_wakes(&self.state);
        let mut state = locked(&self.state);
        state.tell(2, || format!("the operator starts (process {})", self.processes));
        let tie = state.chance.draw();
        state.time.after(600 * SECOND, tie, Due::Happens(Happening::Sweep(self.processes)));
        drop(state);
        self.running = Some(running);
    }

    /// Has what changed be heard of, a little later.
    fn deliver_later(&mut self) {
        let Some(running) = self.running.as_mut().filter(|running| !running.delivering) else { return };
        let mut state = locked(&self.state);
        if !running.is_behind(&state) || state.out(Outage::Watch) {
            return;
        }
        running.delivering = true;
        let most = state.plan.latency.max(1) * 1000;
        let lag = state.chance.between(0, most * 2);
        // Now and then a cache lags behind by far.
        let lag = if state.chance.one_in(30) { lag * 50 } else { lag };
        // Nothing comes from an API server that is down.
        let lag = if state.out(Outage::Api) { SECOND } else { lag };
        let tie = state.chance.draw();
        state.time.after(lag, tie, Due::Happens(Happening::Deliver(running.process.number)));
    }
}

/// Where an object of the plan is.
pub fn export_key(number: usize) -> Key {
    (world::NAMESPACE.to_owned(), format!("e{number}"))
}
