//! The lives of processes: they start, stand by, lead, are stopped, are told to end, and die.

use std::sync::Arc;

use fhir_export_operator::cluster::lead::Leadership;
use fhir_export_operator::controller::wake::{Wakes, Woken};
use fhir_export_operator::controller::world::World;
use fhir_export_operator::operator::stand_by::stand_by;
use fhir_export_operator::ports::tenure::Tenure;
use futures::channel::oneshot;
use futures::future::{Either, select};

use super::tasks::{End, Task};
use super::{Happening, Held, Queue, Running, Simulation, Stage};
use crate::election::identity;
use crate::faults::Outage;
use crate::process::{Board, Process, Way};
use crate::state::locked;
use crate::time::SECOND;

/// The time between SIGTERM and SIGKILL, in seconds. Shorter than the chart's, so that some requests are cut off.
const GRACE: i64 = 45;

impl Simulation {
    /// Starts a process of this replica, which lists everything.
    pub(super) fn start(&mut self, slot: usize) {
        let (cut_off, alone) = {
            let state = locked(&self.state);
            let troubled = state.election.cuts_off(slot, state.time.now);
            (state.out(Outage::Api) || troubled, state.plan.replicas < 2)
        };
        if cut_off {
            return self.later(5, Happening::Restart(slot));
        }
        self.started += 1;
        let number = self.started;
        let (wakes, woken) = Wakes::new();
        let board = Board::new(&self.state, number);
        let tenure = if alone { Tenure::default() } else { Tenure::none_on(board.clone()) };
        let process = Process::new(number, slot, &self.state, wakes, tenure);
        let concurrency = {
            let mut state = locked(&self.state);
            state.alive.insert(number);
            state.tally.processes += 1;
            state.tell(2, || format!("the operator starts (process {number}, replica {slot})"));
            state.disturb();
            state.plan.concurrency
        };
        let mut running = Running {
            process,
            slot,
            stage: Stage::Works,
            woken: Some(woken),
            leadership: None,
            stop: None,
            queue: Queue::new(concurrency),
            delivering: false,
            stopped_until: 0,
            held: Vec::new(),
            replaced: false,
            failed: std::collections::BTreeSet::new(),
        };
        running.list();
        if !alone {
            self.stands_by(number, &mut running, &board);
        }
        running.take_wakes(&self.state);
        self.processes.insert(number, running);
        self.later(600, Happening::Sweep(number));
    }

    /// Lets a process stand by, as `operator::operate` does.
    fn stands_by(&mut self, number: usize, running: &mut Running, board: &Board) {
        let way = Way::new(&running.process, board);
        let tenure = running.process.tenure().clone();
        let (mut leadership, part) = Leadership::stand(&identity(number), tenure, way, board.clone());
        let part = async move {
            part.await;
            End::Beside
        };
        self.add(Task::of(number, Box::pin(part)));
        let Some(mut woken) = running.woken.take() else { return };
        let (stop, stopped) = oneshot::channel();
        running.stop = Some(stop);
        running.stage = Stage::StandsBy;
        let clock = board.clone();
        let waits = async move {
            let leads = {
                let waits = Box::pin(stand_by(&mut leadership, &mut woken, |_| ()));
                matches!(select(waits, stopped).await, Either::Left((Ok(()), _)))
            };
            if leads {
                return End::Leads(Box::new((leadership, woken)));
            }
            leadership.release(&clock).await;
            End::Left
        };
        self.add(Task::of(number, Box::pin(waits)));
    }

    /// A process begins to lead, and looks at everything.
    pub(super) fn leads(&mut self, process: usize, leadership: Leadership, woken: Woken) {
        let Some(running) = self.processes.get_mut(&process) else { return };
        locked(&self.state).tell(83, || format!("process {process} leads"));
        running.stage = Stage::Works;
        running.stop = None;
        running.woken = Some(woken);
        running.leadership = Some(leadership);
        running.wake_all();
    }

    /// Tells a process to end.
    pub(super) fn terminate(&mut self, process: usize) {
        let Some(running) = self.processes.get_mut(&process) else { return };
        locked(&self.state).disturb();
        locked(&self.state).tell(84, || format!("process {process} is told to end"));
        match running.stage {
            Stage::StandsBy => {
                // A process that has just been elected gives the Lease back.
                if let Some(stop) = running.stop.take() {
                    let _ = stop.send(());
                }
            }
            Stage::Works => {
                running.stage = Stage::Drains;
                running.process.runs().stop();
            }
            Stage::Drains | Stage::Leaves => return,
        }
        self.later(GRACE, Happening::Kill(process));
    }

    /// Lets processes that have finished what they began give the Lease back.
    pub(super) fn drained(&mut self) {
        let now = locked(&self.state).time.now;
        let drained = |running: &Running| {
            running.stage == Stage::Drains
                && running.queue.is_idle()
                && running.process.runs().is_settled()
                && running.stopped_until <= now
        };
        let done: Vec<usize> = self
            .processes
            .iter()
            .filter(|(_, running)| drained(running))
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            let Some(running) = self.processes.get_mut(&number) else { continue };
            running.stage = Stage::Leaves;
            self.tasks.end(|task| task.acting.process == number && task.ended.is_some());
            let Some(leadership) = running.leadership.take() else {
                self.leaves(number);
                continue;
            };
            let clock = Arc::clone(&running.process);
            let gives_back = async move {
                leadership.release(clock.as_ref()).await;
                End::Left
            };
            self.add(Task::of(number, Box::pin(gives_back)));
        }
    }

    /// Ends a process by itself.
    pub(super) fn leaves(&mut self, process: usize) {
        {
            let mut state = locked(&self.state);
            state.tell(85, || format!("process {process} has ended"));
            state.tally.handovers += u64::from(state.election.reigns.last() == Some(&process));
        }
        self.ends(process, 1);
    }

    /// Kills a process: everything that it was doing ends at once.
    pub(super) fn crash(&mut self, process: usize, back: Option<i64>) {
        if !self.processes.contains_key(&process) {
            return;
        }
        let wait = {
            let mut state = locked(&self.state);
            if std::mem::take(&mut state.lapsed) {
                state.tally.lapsed += 1;
            } else {
                state.tally.crashes += 1;
            }
            state.tell(1, || format!("process {process} is gone"));
            back.unwrap_or_else(|| if state.chance.one_in(5) { state.chance.between(1, 900) } else { 1 })
        };
        self.ends(process, wait);
    }

    fn ends(&mut self, process: usize, back: i64) {
        let Some(running) = self.processes.remove(&process) else { return };
        self.tasks.end(|task| task.acting.process == process);
        {
            let mut state = locked(&self.state);
            let state = &mut *state;
            state.alive.remove(&process);
            state.disturb();
            let chance = &mut state.chance;
            state.post.orphaned(process, &mut || chance.one_in(3));
        }
        if !running.replaced {
            self.later(back, Happening::Restart(running.slot));
        }
    }

    /// Starts a replica, unless it is running.
    pub(super) fn restart(&mut self, slot: usize) {
        if !self.processes.values().any(|running| running.slot == slot && !running.replaced) {
            self.start(slot);
        }
    }

    /// Starts another process of a replica, and tells the running one to end a little later.
    pub(super) fn surge(&mut self, slot: usize) {
        let old = self.processes.iter_mut().find(|(_, running)| running.slot == slot && !running.replaced);
        let Some((old, running)) = old else { return };
        let old = *old;
        running.replaced = true;
        let wait = locked(&self.state).chance.between(0, 30);
        self.start(slot);
        self.later(wait, Happening::Terminate(old));
    }

    /// Stops a process for this many seconds.
    pub(super) fn stop(&mut self, process: usize, seconds: i64) {
        let Some(running) = self.processes.get_mut(&process) else { return };
        {
            let mut state = locked(&self.state);
            state.tell(86, || format!("process {process} is stopped for {seconds} s"));
            state.disturb();
            state.tally.pauses += 1;
            running.stopped_until = running.stopped_until.max(state.time.now + seconds * SECOND);
        }
        self.later(seconds, Happening::Resume(process));
    }

    /// Lets a stopped process go on.
    pub(super) fn resume(&mut self, process: usize) {
        let Some(running) = self.processes.get_mut(&process) else { return };
        {
            let mut state = locked(&self.state);
            if running.stopped_until > state.time.now && !self.healed {
                return;
            }
            state.tell(87, || format!("process {process} goes on"));
            state.disturb();
        }
        running.stopped_until = 0;
        for held in std::mem::take(&mut running.held) {
            match held {
                Held::Task(number) => self.tasks.go_on(number),
                Held::Happening(what) => self.happen(what),
            }
        }
    }

    /// Picks a process, usually the one that leads.
    pub(super) fn somebody(&self) -> Option<usize> {
        let mut state = locked(&self.state);
        let works = self.processes.iter().find(|(_, running)| running.stage == Stage::Works);
        if let Some((number, _)) = works.filter(|_| !state.chance.one_in(3)) {
            return Some(*number);
        }
        let nth = usize::try_from(state.chance.below(self.processes.len() as u64)).unwrap_or(0);
        self.processes.keys().nth(nth).copied()
    }

    /// Schedules the delivery of changes to the processes, a little later.
    pub(super) fn deliver_later(&mut self) {
        let mut state = locked(&self.state);
        let state = &mut *state;
        for (number, running) in self.processes.iter_mut().filter(|(_, running)| !running.delivering) {
            if running.behind(state) == 0 || state.out(Outage::Watch) {
                continue;
            }
            running.delivering = true;
            let most = state.plan.latency.max(1) * 1000;
            let lag = state.chance.between(0, most * 2);
            // One in thirty deliveries lags far behind.
            let lag = if state.chance.one_in(30) { lag * 50 } else { lag };
            // An API server that is down delivers nothing.
            let lag = if state.out(Outage::Api) { SECOND } else { lag };
            let tie = state.chance.draw();
            state.time.after(lag, tie, crate::time::Due::Happens(Happening::Deliver(*number)));
        }
    }
}
