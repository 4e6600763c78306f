//! What happens in the world outside the operator.

use fhir_export_operator::api::{FhirExport, FhirServer};
use kube::ResourceExt;

use super::{Happening, Held, Simulation, export_key};
use crate::faults::Outage;
use crate::plan::{EventKind, ScheduleEvent};
use crate::state::locked;
use crate::time::{Due, SECOND};

impl Simulation {
    /// Lets something happen.
    pub(super) fn happen(&mut self, what: Happening) {
        let now = locked(&self.state).time.now;
        if let Happening::Start(process, ..)
        | Happening::Deliver(process)
        | Happening::WatchBack(process)
        | Happening::Sweep(process)
        | Happening::Terminate(process) = what
            && let Some(running) = self.processes.get_mut(&process)
            && running.stopped_until > now
        {
            running.held.push(Held::Happening(what));
            return;
        }
        match what {
            Happening::Start(process, subject, at) => self.due(process, subject, at),
            Happening::Arrive(number) => locked(&self.state).arrive(number),
            Happening::Deliver(process) => {
                let Some(running) = self.processes.get_mut(&process) else { return };
                running.delivering = false;
                let out = {
                    let state = locked(&self.state);
                    let troubled = state.election.cuts_off(running.slot, now);
                    state.out(Outage::Watch) || state.out(Outage::Api) || troubled
                };
                if !out {
                    // A watch that lags far behind delivers several changes at a time.
                    let behind = running.behind(&locked(&self.state));
                    for _ in 0..=behind / 32 {
                        running.hear();
                    }
                }
            }
            Happening::WatchBack(process) => {
                if let Some(running) = self.processes.get_mut(&process) {
                    running.list();
                }
            }
            Happening::Sweep(process) => {
                if let Some(running) = self.processes.get(&process) {
                    running.sweep();
                    self.later(600, Happening::Sweep(process));
                }
            }
            Happening::Surge(slot) => self.surge(slot),
            Happening::Terminate(process) => self.terminate(process),
            Happening::Kill(process) => self.crash(process, Some(1)),
            Happening::Resume(process) => self.resume(process),
            Happening::Calm => locked(&self.state).disturb(),
            Happening::Create(number) => locked(&self.state).create_export(number),
            Happening::CreateSchedule(number) => locked(&self.state).create_schedule(number),
            Happening::Collect => locked(&self.state).collect(),
            Happening::WindDown => self.wind_down(),
            Happening::Restart(slot) => self.restart(slot),
            Happening::Heal => {
                {
                    let mut state = locked(&self.state);
                    state.tell(3, || "nothing goes wrong any more".to_owned());
                    state.faults.heal();
                    state.election.troubles.clear();
                    state.disturb();
                }
                self.healed = true;
                self.resume_schedules();
                let all: Vec<usize> = self.processes.keys().copied().collect();
                for process in all {
                    self.resume(process);
                    if let Some(running) = self.processes.get_mut(&process) {
                        running.list();
                    }
                }
                self.happen(Happening::Repair);
            }
            Happening::Repair => {
                let count = {
                    let mut state = locked(&self.state);
                    state.repair();
                    state.plan.schedules.len()
                };
                if self.done_at.is_none() {
                    let wait = if self.wound_down || count == 0 { 60 } else { 120 };
                    self.later(wait, Happening::Repair);
                }
            }
            Happening::World(number) => {
                let event = locked(&self.state).plan.events.get(number).cloned();
                if let Some(event) = event.filter(|_| !self.healed) {
                    self.world(event.kind);
                }
            }
        }
    }

    pub(super) fn later(&mut self, seconds: i64, what: Happening) {
        let mut state = locked(&self.state);
        let tie = state.chance.draw();
        state.time.after(seconds * SECOND, tie, Due::Happens(what));
    }

    /// Lets schedules go on for some of their times after everything was repaired, and starts processes again.
    fn resume_schedules(&mut self) {
        let (count, replicas) = {
            let state = locked(&self.state);
            (state.plan.schedules.len(), state.plan.replicas)
        };
        if count == 0 {
            return;
        }
        let on = {
            let mut state = locked(&self.state);
            for number in 0..count {
                state.befall_schedule(number, ScheduleEvent::Suspend(false));
            }
            state.goes_on_for()
        };
        for slot in 0..replicas {
            self.later(1, Happening::Restart(slot));
        }
        self.later(on, Happening::WindDown);
    }

    /// Deletes or suspends the schedules, after they created some runs since everything was repaired.
    fn wind_down(&mut self) {
        self.wound_down = true;
        let mut state = locked(&self.state);
        state.tell(94, || "schedules come to their end".to_owned());
        state.check_kept_up();
        for number in 0..state.plan.schedules.len() {
            match state.plan.schedules.get(number).and_then(|schedule| schedule.deleted) {
                Some(propagation) => state.delete_schedule(number, propagation),
                None => state.befall_schedule(number, ScheduleEvent::Suspend(true)),
            }
        }
    }

    fn world(&mut self, kind: EventKind) {
        {
            let mut state = locked(&self.state);
            state.tally.fault(name(kind));
            state.tell(70, || format!("event: {kind:?}"));
        }
        if self.befalls(kind) {
            return;
        }
        let mut back = None;
        {
            let mut state = locked(&self.state);
            let state = &mut *state;
            let now = state.time.now;
            let until = |seconds: i64| now + seconds * SECOND;
            match kind {
                EventKind::Crash(_)
                | EventKind::Stop(_)
                | EventKind::Terminate
                | EventKind::Rollout
                | EventKind::Hinder(..) => {}
                EventKind::TouchLease => {
                    state.touch_lease();
                    state.disturb();
                }
                EventKind::Suspend(n, on) => state.edit_export(n, |e| e.spec.suspend = Some(on)),
                EventKind::Cancel(n) => state.edit_export(n, |e| e.spec.cancel = Some(true)),
                EventKind::Deadline(n, s) => {
                    state.edit_export(n, |e| e.spec.active_deadline_seconds = Some(s));
                }
                EventKind::Touch(n) => {
                    let at = now.to_string();
                    state.api.edit::<FhirExport>(&export_key(n), false, |e| {
                        e.annotations_mut().insert("touched".into(), at);
                    });
                }
                EventKind::AnotherVersion(n) => state.another_version(n),
                EventKind::ReadAgain(n) => state.read_again(n),
                EventKind::Delete(n) => state.delete_export_object(&export_key(n)),
                EventKind::CreateAgain(n) => state.create_export(n),
                EventKind::SuspendServer(n, on) => {
                    let at = state.server_key(n);
                    state.api.edit::<FhirServer>(&at, true, |s| s.spec.suspend = Some(on));
                }
                EventKind::MoveContainer(n, container) => {
                    let at = state.server_key(n);
                    let container = Some(container.to_owned());
                    state.api.edit::<FhirServer>(&at, true, |s| s.spec.default_container = container);
                }
                EventKind::MoveStorage(n, account) => state.move_storage(n, account),
                EventKind::DeleteServer(n) => {
                    let at = state.server_key(n);
                    state.delete_server_object(&at);
                }
                EventKind::CreateServer(n) => state.create_server(n),
                EventKind::DeleteSecret(n) => {
                    let (namespace, _) = state.server_key(n);
                    state.api.secrets.remove(&(namespace, format!("cred-{n}")));
                }
                EventKind::CreateSecret(n) => state.create_secret(n),
                EventKind::DeleteNamespace => state.delete_namespace(),
                EventKind::ClockJumps(s) => state.skew += s * SECOND,
                EventKind::WatchBreaks(s) => {
                    state.faults.out(Outage::Watch, until(s));
                    back = Some(s);
                }
                EventKind::ApiDown(s) => {
                    state.faults.out(Outage::Api, until(s));
                    state.disturb();
                    let tie = state.chance.draw();
                    state.time.after(s * SECOND, tie, Due::Happens(Happening::Calm));
                }
                EventKind::FhirDown(n, s) => state.faults.out(Outage::Fhir(n), until(s)),
                EventKind::FhirRefuses(n, s) => state.faults.out(Outage::Tokens(n), until(s)),
                EventKind::StorageDown(s) => state.faults.out(Outage::Storage, until(s)),
                EventKind::StorageDenies(s) => state.faults.out(Outage::Role, until(s)),
                EventKind::Stranger(n) => state.stranger(n),
                EventKind::OfSchedule(n, what) => state.befall_schedule(n, what),
                EventKind::CancelledByOthers(n) => state.cancelled_by_others(n),
                EventKind::TokensEnd(n) => {
                    if let Some(since) = state.fhir.tokens_since.get_mut(n) {
                        *since = now + 1;
                    }
                }
            }
        }
        let all: Vec<usize> = self.processes.keys().copied().collect();
        for process in all.into_iter().filter(|_| back.is_some()) {
            self.later(back.unwrap_or(0), Happening::WatchBack(process));
        }
    }

    /// Applies an event to a process. Returns false if the event is not about a process.
    fn befalls(&mut self, kind: EventKind) -> bool {
        match kind {
            EventKind::Crash(back) => {
                if let Some(process) = self.somebody() {
                    self.crash(process, Some(back));
                }
            }
            EventKind::Stop(seconds) => {
                if let Some(process) = self.somebody() {
                    self.stop(process, seconds);
                }
            }
            EventKind::Terminate => {
                let Some(process) = self.somebody() else { return true };
                // With several replicas, the next pod does not wait for the end of this one.
                let several = locked(&self.state).plan.replicas > 1;
                if several
                    && let Some(running) =
                        self.processes.get_mut(&process).filter(|running| !running.replaced)
                {
                    running.replaced = true;
                    let (slot, wait) = (running.slot, locked(&self.state).chance.between(0, 20));
                    self.later(wait, Happening::Restart(slot));
                }
                self.happen(Happening::Terminate(process));
            }
            EventKind::Rollout => {
                let (mut wait, replicas) = (0, locked(&self.state).plan.replicas);
                for slot in (0..replicas).filter(|_| replicas > 1) {
                    self.later(wait, Happening::Surge(slot));
                    wait += locked(&self.state).chance.between(0, 60);
                }
            }
            EventKind::Hinder(trouble, seconds) => {
                let Some(running) = self.somebody().and_then(|process| self.processes.get(&process)) else {
                    return true;
                };
                {
                    let mut state = locked(&self.state);
                    let until = state.time.now + seconds * SECOND;
                    state.election.troubles.insert(running.slot, (trouble, until));
                    state.disturb();
                }
                self.later(seconds, Happening::Calm);
            }
            _ => return false,
        }
        true
    }
}

/// The name of an event in the table.
fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Crash(_) => "operator killed",
        EventKind::Stop(_) => "operator stopped",
        EventKind::Terminate => "operator told to end",
        EventKind::Rollout => "rollout",
        EventKind::Hinder(..) => "API server out of reach of one",
        EventKind::TouchLease => "Lease edited",
        EventKind::Suspend(..) | EventKind::SuspendServer(..) => "suspended or resumed",
        EventKind::Cancel(_) => "cancelled",
        EventKind::Deadline(..) | EventKind::Touch(_) => "object edited",
        EventKind::AnotherVersion(_) | EventKind::ReadAgain(_) => "status of another version",
        EventKind::Delete(_) => "export deleted",
        EventKind::CreateAgain(_) => "export made again",
        EventKind::MoveContainer(..) | EventKind::MoveStorage(..) => "place edited",
        EventKind::DeleteServer(_) | EventKind::CreateServer(_) => "FhirServer deleted or made",
        EventKind::DeleteSecret(_) | EventKind::CreateSecret(_) => "Secret deleted or made",
        EventKind::DeleteNamespace => "namespace deleted",
        EventKind::ClockJumps(_) => "clock jumped",
        EventKind::WatchBreaks(_) => "watch broken",
        EventKind::ApiDown(_) => "API server down",
        EventKind::FhirDown(..) => "FHIR server down",
        EventKind::FhirRefuses(..) | EventKind::TokensEnd(_) => "tokens refused",
        EventKind::StorageDown(_) | EventKind::StorageDenies(_) => "storage down or denied",
        EventKind::Stranger(_) => "somebody else's job",
        EventKind::CancelledByOthers(_) => "job cancelled by others",
        EventKind::OfSchedule(_, what) => of_schedule(what),
    }
}

fn of_schedule(what: ScheduleEvent) -> &'static str {
    match what {
        ScheduleEvent::Suspend(_) => "schedule suspended or resumed",
        ScheduleEvent::RunNow(..) => "run asked for by hand",
        ScheduleEvent::Edit(_) => "schedule edited",
        ScheduleEvent::DeleteRun(_) => "run deleted",
        ScheduleEvent::CancelRun => "run cancelled",
        ScheduleEvent::LoseStatus => "schedule lost its status",
        ScheduleEvent::Foreign => "somebody took the name of a run",
        ScheduleEvent::Delete(_) => "schedule deleted",
        ScheduleEvent::CreateAgain => "schedule made again",
    }
}
