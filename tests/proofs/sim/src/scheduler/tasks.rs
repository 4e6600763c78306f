//! The tasks: the looks of all processes, and what runs beside them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use fhir_export_operator::api::FhirExport;
use fhir_export_operator::cluster::lead::Leadership;
use fhir_export_operator::controller::export::BREATHER;
use fhir_export_operator::controller::wake::Woken;
use fhir_export_operator::core::effect::Requeue;
use fhir_export_operator::ports::{ClusterFailure, Stores};
use futures::future::BoxFuture;

use super::{Held, Simulation, Stage, Subject};
use crate::chance::Chance;
use crate::laws::Acting;
use crate::laws::Law;
use crate::process::Ended;
use crate::state::locked;

/// How a task ended.
pub(super) enum End {
    /// A look has ended.
    Looked(Result<Requeue, ClusterFailure>),
    /// A task beside the looks has ended.
    Beside,
    /// The process was elected, and begins to lead.
    Leads(Box<(Leadership, Woken)>),
    /// There is nothing left to give back, so the process ends.
    Left,
}

pub(super) struct Task {
    pub(super) future: BoxFuture<'static, End>,
    pub(super) subject: Option<Subject>,
    pub(super) acting: Acting,
    /// Set when the task is to be ended.
    pub(super) ended: Option<Arc<AtomicBool>>,
    /// When the task began, in microseconds.
    pub(super) since: i64,
}

impl Task {
    /// A task of a process that is about no object.
    pub(super) fn of(process: usize, future: BoxFuture<'static, End>) -> Self {
        let acting = Acting { process, ..Acting::default() };
        Self { future, subject: None, acting, ended: None, since: 0 }
    }
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

/// All tasks.
#[derive(Default)]
pub(super) struct Tasks {
    all: BTreeMap<u64, (Task, Arc<TaskWaker>)>,
    ready: Arc<Mutex<Vec<u64>>>,
    made: u64,
}

impl Tasks {
    /// Takes out a random task that can go on.
    pub(super) fn next(&mut self, order: &mut Chance) -> Option<u64> {
        let mut ready = locked(&self.ready);
        let count = ready.len() as u64;
        (count > 0).then(|| ready.swap_remove(usize::try_from(order.below(count)).unwrap_or(0)))
    }

    /// Adds a task, and returns its number.
    pub(super) fn add(&mut self, mut task: Task) -> u64 {
        self.made += 1;
        let number = self.made;
        task.acting.task = number;
        if task.acting.look == 0 {
            task.acting.look = number;
        }
        let ready = Arc::clone(&self.ready);
        let waker = Arc::new(TaskWaker { task: number, ready, queued: AtomicBool::new(true) });
        self.all.insert(number, (task, waker));
        locked(&self.ready).push(number);
        number
    }

    /// Marks a task as able to go on.
    pub(super) fn go_on(&mut self, number: u64) {
        locked(&self.ready).push(number);
    }

    /// Ends the tasks that `which` selects.
    pub(super) fn end(&mut self, which: impl Fn(&Task) -> bool) {
        let all = &mut self.all;
        all.retain(|_, (task, _)| !which(task));
        locked(&self.ready).retain(|number| all.contains_key(number));
    }
}

impl Simulation {
    pub(super) fn poll(&mut self, number: u64) {
        let Some((task, waker)) = self.tasks.all.get_mut(&number) else { return };
        let now = locked(&self.state).time.now;
        let stopped =
            self.processes.get_mut(&task.acting.process).filter(|running| running.stopped_until > now);
        if let Some(running) = stopped {
            running.held.push(Held::Task(number));
            return;
        }
        waker.queued.store(false, Ordering::Relaxed);
        if task.ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed)) {
            self.tasks.all.remove(&number);
            return;
        }
        locked(&self.state).laws.acting.clone_from(&task.acting);
        let waker = Waker::from(Arc::clone(waker));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context)));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) => {
                let Some((task, _)) = self.tasks.all.remove(&number) else { return };
                self.ended(task, end);
            }
            Err(why) => {
                self.tasks.all.remove(&number);
                if !why.is::<Ended>() {
                    locked(&self.state).broken(Law::NoPanic, "no task panics", "a task panicked");
                }
            }
        }
        locked(&self.state).laws.acting = Acting::default();
    }

    fn ended(&mut self, task: Task, end: End) {
        let process = task.acting.process;
        let result = match end {
            End::Looked(result) => result,
            End::Beside => return,
            End::Leads(what) => return self.leads(process, what.0, what.1),
            End::Left => return self.leaves(process),
        };
        let Some(subject) = task.subject else { return };
        let Some(running) = self.processes.get_mut(&process) else { return };
        let again = running.failed.remove(&subject);
        if result.is_err() {
            running.failed.insert(subject.clone());
        }
        let works = running.stage == Stage::Works;
        // A look that stopped at its bound of effects is not over: the next one continues with an answer.
        let goes_on = result == Ok(Requeue::After(BREATHER));
        let echo = again || goes_on || task.acting.echo || task.since != locked(&self.state).time.now;
        if works && !echo && result.is_ok() && subject.is_quiet() && self.order.one_in(8) {
            self.echo(process, &subject);
        }
        let Some(running) = self.processes.get_mut(&process) else { return };
        running.queue.finished(&self.state, process, subject, &result);
    }

    /// Repeats a look at the same time. It must write nothing.
    fn echo(&mut self, process: usize, subject: &Subject) {
        if !self.is_current(process, subject) {
            return;
        }
        let Some((number, _)) = self.begin(process, subject, true) else { return };
        self.poll(number);
        // The rest of the look may take its time, and nothing waits for it.
        self.tasks.all.remove(&number);
        locked(&self.tasks.ready).retain(|ready| *ready != number);
    }

    /// Whether the cache knows the current object, and for a schedule everything else too.
    fn is_current(&self, process: usize, subject: &Subject) -> bool {
        let Some(running) = self.processes.get(&process) else { return false };
        let state = locked(&self.state);
        let (namespace, name) = match subject {
            Subject::Export(at) => at,
            Subject::Schedule(_) => return state.kill.is_none() && running.behind(&state) == 0,
            Subject::Server(_) => return false,
        };
        let there = state.api.exports.objects.get(&(namespace.clone(), name.clone()));
        let known = running.process.cache.export(namespace, name);
        let version = |object: &Arc<FhirExport>| object.metadata.resource_version.clone();
        state.kill.is_none() && there.map(version) == known.as_ref().map(version)
    }

    pub(super) fn add(&mut self, mut task: Task) -> u64 {
        task.since = locked(&self.state).time.now;
        self.tasks.add(task)
    }

    /// Takes over the tasks that processes started beside their looks.
    pub(super) fn take_spawned(&mut self) {
        for (process, running) in &self.processes {
            for beside in std::mem::take(&mut *locked(&running.process.spawned)) {
                let task = beside.task;
                let future = Box::pin(async move {
                    task.await;
                    End::Beside
                });
                let acting = Acting { process: *process, echo: false, ..beside.acting };
                self.tasks.add(Task { acting, ended: Some(beside.ended), ..Task::of(*process, future) });
            }
        }
    }
}
