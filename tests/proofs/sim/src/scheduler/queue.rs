//! The queues of one process, as kube's runtime keeps them: no object is looked at twice at once, repeated
//! wakes count as one, and the earliest due time counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir_export_operator::cluster::stores::Key;
use fhir_export_operator::controller::export::reconcile_export;
use fhir_export_operator::controller::guard::after_failure;
use fhir_export_operator::controller::places;
use fhir_export_operator::controller::request;
use fhir_export_operator::controller::schedule::reconcile_schedule;
use fhir_export_operator::controller::server::reconcile_server;
use fhir_export_operator::controller::world::World;
use fhir_export_operator::core::effect::Requeue;
use fhir_export_operator::ports::{ClusterFailure, Stores};
use kube::ResourceExt;

use super::tasks::{End, Task};
use super::{Happening, Running, Simulation, Stage};
use crate::laws::Acting;
use crate::state::{State, locked};
use crate::time::{Due, micros};

/// The object of a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An export.
    Export(Key),
    /// A server.
    Server(Key),
    /// A schedule.
    Schedule(Key),
}

impl Subject {
    /// Whether a look at this object, repeated at the same time, must change nothing. A look at a server probes it.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Export(_) | Self::Schedule(_) => true,
            Self::Server(_) => false,
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    running: bool,
    /// Whether the object was woken during its look.
    again: bool,
    due: Option<i64>,
    /// The number of failed looks in a row.
    failures: u32,
}

/// The queues of one process.
#[derive(Debug)]
pub struct Queue {
    slots: BTreeMap<Subject, Slot>,
    /// Objects that are due and wait for a place.
    waiting: VecDeque<Subject>,
    busy: usize,
    concurrency: usize,
}

impl Queue {
    /// Creates queues with this many places.
    pub fn new(concurrency: usize) -> Self {
        Self { slots: BTreeMap::new(), waiting: VecDeque::new(), busy: 0, concurrency }
    }

    /// Whether no look is in progress.
    pub fn is_idle(&self) -> bool {
        self.busy == 0
    }

    /// Makes an object due after `wait` microseconds, unless it is due earlier.
    fn after(&mut self, state: &mut State, process: usize, subject: Subject, wait: i64) {
        let slot = self.slots.entry(subject.clone()).or_default();
        if slot.running {
            slot.again = true;
            return;
        }
        let at = state.time.now.saturating_add(wait);
        if slot.due.is_some_and(|due| due <= at) {
            return;
        }
        slot.due = Some(at);
        let tie = state.chance.draw();
        state.time.after(wait, tie, Due::Happens(Happening::Start(process, subject, at)));
    }

    /// Handles the end of a look.
    pub fn finished(
        &mut self,
        state: &Arc<Mutex<State>>,
        process: usize,
        subject: Subject,
        result: &Result<Requeue, ClusterFailure>,
    ) {
        let mut state = locked(state);
        self.busy = self.busy.saturating_sub(1);
        let slot = self.slots.entry(subject.clone()).or_default();
        slot.running = false;
        let again = std::mem::take(&mut slot.again);
        slot.failures = if result.is_ok() { 0 } else { slot.failures.saturating_add(1) };
        let wait = match result {
            Ok(Requeue::AwaitChange) => None,
            Ok(Requeue::After(wait)) => Some(micros((*wait).max(Duration::from_millis(1)))),
            Err(failure) => Some(micros(after_failure(failure, slot.failures, state.chance.unit()))),
        };
        if let Err(failure) = result {
            state.tell(41, || format!("a look at {subject:?} failed: {failure}"));
        }
        if let Some(wait) = wait {
            self.after(&mut state, process, subject.clone(), wait);
        }
        if again {
            self.after(&mut state, process, subject, 0);
        }
    }
}

impl Running {
    /// Makes the objects due at once that were woken.
    pub fn take_wakes(&mut self, state: &Arc<Mutex<State>>) {
        let process = self.process.number;
        let Some(woken) = self.woken.as_mut() else { return };
        let (exports, servers, schedules) = (&mut woken.exports, &mut woken.servers, &mut woken.schedules);
        while let Ok(woken) = exports.try_recv() {
            let at = (woken.namespace.unwrap_or_default(), woken.name);
            self.queue.after(&mut locked(state), process, Subject::Export(at), 0);
        }
        while let Ok(woken) = servers.try_recv() {
            let at = (woken.namespace.unwrap_or_default(), woken.name);
            self.queue.after(&mut locked(state), process, Subject::Server(at), 0);
        }
        while let Ok(woken) = schedules.try_recv() {
            let at = (woken.namespace.unwrap_or_default(), woken.name);
            self.queue.after(&mut locked(state), process, Subject::Schedule(at), 0);
        }
    }

    /// Wakes all objects.
    pub fn wake_all(&self) {
        let process = &self.process;
        for (namespace, name) in locked(&process.cache.servers).keys() {
            process.wakes.server(namespace, name);
        }
        for (namespace, name) in locked(&process.cache.exports).keys() {
            process.wakes.export(namespace, name);
        }
        for (namespace, name) in locked(&process.cache.schedules).keys() {
            process.wakes.schedule(namespace, name);
        }
    }

    /// Whether an answer for this object must be written before the process ends.
    fn owes(&self, subject: &Subject) -> bool {
        let Subject::Export((namespace, name)) = subject else { return false };
        let export = self.process.cache.export(namespace, name);
        export.and_then(|export| export.uid()).is_some_and(|uid| self.process.runs().owes(&uid))
    }

    /// The number of changes that the cache of one kind has not received, for the kind that has the most.
    pub fn behind(&self, state: &State) -> usize {
        let exports = state.api.exports.log.len().saturating_sub(locked(&self.process.cache.exports).upto);
        let servers = state.api.servers.log.len().saturating_sub(locked(&self.process.cache.servers).upto);
        let schedules =
            state.api.schedules.log.len().saturating_sub(locked(&self.process.cache.schedules).upto);
        exports.max(servers).max(schedules)
    }

    /// Receives the next change of each kind.
    pub fn hear(&mut self) {
        let process = &self.process;
        let (exports, servers, schedules) = {
            let state = locked(&process.state);
            (
                locked(&process.cache.exports).hear(&state.api.exports),
                locked(&process.cache.servers).hear(&state.api.servers),
                locked(&process.cache.schedules).hear(&state.api.schedules),
            )
        };
        if let Some(change) = exports {
            places::shown(process.as_ref(), &change);
            process.wakes.export_changed(&change);
        }
        if let Some(change) = servers {
            process.wakes.server_changed(&process.cache, &change);
        }
        if let Some(change) = schedules {
            process.wakes.schedule_changed(&change);
        }
    }

    /// Drops the state of objects that no longer exist.
    pub fn sweep(&self) {
        let exports = self.process.cache.exports().into_iter().filter_map(|export| export.uid());
        let servers: Vec<String> =
            locked(&self.process.cache.servers).all().filter_map(|server| server.uid()).collect();
        let alive: BTreeSet<String> = exports.chain(servers).collect();
        request::retain(self.process.as_ref(), |uid| alive.contains(uid));
    }

    /// Lists everything again.
    pub fn list(&mut self) {
        let process = &self.process;
        let (exports, servers, schedules) = {
            let state = locked(&process.state);
            (
                locked(&process.cache.exports).list(&state.api.exports),
                locked(&process.cache.servers).list(&state.api.servers),
                locked(&process.cache.schedules).list(&state.api.schedules),
            )
        };
        for change in &servers {
            process.wakes.server_changed(&process.cache, change);
        }
        for change in &exports {
            places::shown(process.as_ref(), change);
            process.wakes.export_changed(change);
        }
        for change in &schedules {
            process.wakes.schedule_changed(change);
        }
    }
}

impl Simulation {
    /// Queues an object for a look when it is due.
    pub(super) fn due(&mut self, process: usize, subject: Subject, at: i64) {
        let Some(running) = self.processes.get_mut(&process) else { return };
        let Some(slot) = running.queue.slots.get_mut(&subject).filter(|slot| slot.due == Some(at)) else {
            return;
        };
        slot.due = None;
        if !running.queue.waiting.contains(&subject) {
            running.queue.waiting.push_back(subject);
        }
    }

    /// Begins looks at objects that are due, as far as there are places.
    pub(super) fn begin_due(&mut self) {
        let now = locked(&self.state).time.now;
        let works = |r: &Running| {
            matches!(r.stage, Stage::Works | Stage::Drains)
                && r.stopped_until <= now
                && r.queue.busy < r.queue.concurrency
                && !r.queue.waiting.is_empty()
        };
        while let Some((process, running)) = self.processes.iter_mut().find(|(_, running)| works(running)) {
            let process = *process;
            let Some(subject) = running.queue.waiting.pop_front() else { return };
            if running.stage == Stage::Drains && !running.owes(&subject) {
                continue;
            }
            let slot = running.queue.slots.entry(subject.clone()).or_default();
            if slot.running {
                slot.again = true;
                continue;
            }
            slot.running = true;
            running.queue.busy += 1;
            if self.begin(process, &subject, false).is_none() {
                // The object was deleted meanwhile.
                if let Some(running) = self.processes.get_mut(&process) {
                    running.queue.busy -= 1;
                    running.queue.slots.remove(&subject);
                }
            }
        }
    }

    /// Begins a look at an object as the cache has it.
    pub(super) fn begin(&mut self, process: usize, subject: &Subject, echo: bool) -> Option<(u64, Subject)> {
        let world = Arc::clone(&self.processes.get(&process)?.process);
        let mut acting = Acting { process, echo, ..Acting::default() };
        let mut task = match subject {
            Subject::Export((namespace, name)) => {
                let object = world.cache.export(namespace, name)?;
                acting.export = name.strip_prefix('e').and_then(|number| number.parse().ok());
                acting.uid = object.uid().unwrap_or_default();
                Task::of(
                    process,
                    Box::pin(async move { End::Looked(Box::pin(reconcile_export(&world, object)).await) }),
                )
            }
            Subject::Server((namespace, name)) => {
                let object = world.cache.server(namespace, name)?;
                Task::of(
                    process,
                    Box::pin(async move { End::Looked(reconcile_server(&world, object).await) }),
                )
            }
            Subject::Schedule(at) => {
                let object = locked(&world.cache.schedules).get(at)?;
                acting.uid = object.uid().unwrap_or_default();
                Task::of(
                    process,
                    Box::pin(async move { End::Looked(Box::pin(reconcile_schedule(&world, object)).await) }),
                )
            }
        };
        task.acting = acting;
        task.subject = Some(subject.clone());
        Some((self.add(task), subject.clone()))
    }
}
