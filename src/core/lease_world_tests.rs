//! Replicas in a world of pauses, delays, losses and clocks that run wrong.

#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn wall() -> Timestamp {
    "2026-11-24T02:00:00Z".parse().unwrap()
}

/// The true time of the world in milliseconds, which no process knows.
type Time = u64;

/// How fast clocks run, in thousandths.
const SLOW: u64 = 900;
const FAST: u64 = 1100;

/// What happens, and to which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake,
    /// A request reaches the API server.
    Arrive(usize),
    /// Its answer reaches the process.
    Answered(usize),
    TimedOut(usize),
}

struct Request {
    ask: LeaseRequest,
    began: Moment,
    answer: LeaseAnswer,
}

struct Process {
    contender: Contender,
    rate: u64,
    offset: Time,
    started: Time,
    paused_until: Time,
    /// The request under way.
    waits_for: Option<usize>,
    /// The end of its time to act, in the world's time.
    acts_until: Time,
    ended: bool,
}

/// An API server and some replicas.
struct World {
    dice: StdRng,
    windows: Windows,
    now: Time,
    lease: Option<SeenLease>,
    version: u64,
    processes: Vec<Process>,
    requests: Vec<Request>,
    /// The events to come: time, order, process and event.
    events: BinaryHeap<Reverse<(Time, usize, usize, Event)>>,
    order: usize,
    /// The time from which nothing goes wrong any more.
    calm: Time,
    together: Vec<Time>,
    reigns: usize,
}

impl World {
    fn new(seed: u64, replicas: usize, windows: Windows, calm: Time) -> Self {
        let mut world = Self {
            dice: StdRng::seed_from_u64(seed),
            windows,
            now: 0,
            lease: None,
            version: 0,
            processes: Vec::new(),
            requests: Vec::new(),
            events: BinaryHeap::new(),
            order: 0,
            calm,
            together: Vec::new(),
            reigns: 0,
        };
        for _ in 0..replicas {
            world.start(0);
        }
        world
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.now < self.calm && self.dice.random_ratio(1, times)
    }

    fn plan(&mut self, after: Time, process: usize, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + after, self.order, process, event)));
    }

    fn start(&mut self, after: Time) {
        let id = self.processes.len();
        let rate = if self.dice.random() { SLOW } else { FAST };
        self.processes.push(Process {
            contender: Contender::new(format!("process {id}"), self.windows),
            rate,
            offset: self.dice.random_range(0..1_000_000),
            started: self.now,
            paused_until: 0,
            waits_for: None,
            acts_until: 0,
            ended: false,
        });
        self.plan(after, id, Event::Wake);
    }

    fn local(&self, id: usize) -> Moment {
        let process = &self.processes[id];
        Duration::from_millis(process.offset + (self.now - process.started) * process.rate / 1000)
    }

    /// The true time, rounded up, at which the clock of the process shows `moment`.
    fn real(&self, id: usize, moment: Moment) -> Time {
        let process = &self.processes[id];
        let local = u64::try_from(moment.as_millis()).unwrap().saturating_sub(process.offset);
        process.started + (local * 1000).div_ceil(process.rate)
    }

    fn end(&mut self, id: usize) {
        let process = &mut self.processes[id];
        process.ended = true;
        process.acts_until = process.acts_until.min(self.now);
        let after = self.dice.random_range(1..5000);
        self.start(after);
    }

    fn run(&mut self, end: Time) {
        while let Some(Reverse((at, _, id, event))) = self.events.pop() {
            if at > end {
                return;
            }
            self.now = at;
            let process = &self.processes[id];
            if let Event::Arrive(request) = event {
                self.arrive(id, request);
            } else if process.ended {
                // The process does not run.
            } else if at < process.paused_until {
                let after = process.paused_until - at;
                self.plan(after, id, event);
            } else if self.once_in(60) {
                self.processes[id].paused_until = at + self.dice.random_range(1..40_000);
                self.plan(0, id, event);
            } else if self.once_in(200) {
                self.end(id);
            } else {
                self.happens(id, event);
            }
        }
    }

    fn happens(&mut self, id: usize, event: Event) {
        let ended = self.local(id);
        match event {
            Event::Answered(request) | Event::TimedOut(request)
                if self.processes[id].waits_for == Some(request) =>
            {
                let Request { ask, began, answer } = &self.requests[request];
                let timed_out = matches!(event, Event::TimedOut(_));
                let answer = if timed_out { LeaseAnswer::Failed } else { answer.clone() };
                let (ask, began) = (ask.clone(), *began);
                self.processes[id].waits_for = None;
                self.processes[id].contender.learn(&ask, answer, began, ended);
                self.may_act(id);
            }
            Event::Wake if self.processes[id].waits_for.is_none() => {}
            _ => return,
        }
        if self.once_in(100) {
            // The process stops acting before it says so.
            self.processes[id].acts_until = self.now.min(self.processes[id].acts_until);
            self.processes[id].contender.leave();
        }
        match self.processes[id].contender.decide(ended, wall()) {
            LeaseStep::End(_) | LeaseStep::Left => self.end(id),
            LeaseStep::Wait(until) => {
                let after = self.real(id, until) - self.now;
                self.plan(after, id, Event::Wake);
            }
            LeaseStep::Ask(ask) => self.send(id, ask, ended),
        }
    }

    fn send(&mut self, id: usize, ask: LeaseRequest, began: Moment) {
        let request = self.requests.len();
        self.requests.push(Request { ask, began, answer: LeaseAnswer::Failed });
        self.processes[id].waits_for = Some(request);
        let time_out = self.real(id, began + self.windows.request) - self.now;
        self.plan(time_out, id, Event::TimedOut(request));
        if !self.once_in(12) {
            let after = self.delay();
            self.plan(after, id, Event::Arrive(request));
        }
    }

    /// A delay in milliseconds: usually short, sometimes as long as the longest waits of the election.
    fn delay(&mut self) -> Time {
        let most = if self.once_in(8) { 25_000 } else { 100 };
        self.dice.random_range(1..most)
    }

    /// The API server performs the request, whether or not the replica still waits for the answer.
    fn arrive(&mut self, id: usize, request: usize) {
        let answer = match (&self.requests[request].ask, &self.lease) {
            (LeaseRequest::Read | LeaseRequest::Write { on: Some(_), .. }, None) => LeaseAnswer::Absent,
            (LeaseRequest::Read, Some(seen)) => LeaseAnswer::Lease(seen.clone()),
            (LeaseRequest::Write { record, on }, lease)
                if *on == lease.as_ref().map(|seen| seen.version.clone()) =>
            {
                self.version += 1;
                let seen = SeenLease { record: record.clone(), version: self.version.to_string() };
                self.lease = Some(seen.clone());
                LeaseAnswer::Lease(seen)
            }
            _ => LeaseAnswer::Conflict,
        };
        self.requests[request].answer = answer;
        if !self.once_in(12) {
            let after = self.delay();
            self.plan(after, id, Event::Answered(request));
        }
    }

    /// A replica that may act now may do so until its own clock says otherwise, whatever happens to it.
    fn may_act(&mut self, id: usize) {
        let process = &self.processes[id];
        let Some(until) = process.contender.until().filter(|until| self.local(id) < *until) else { return };
        if !process.contender.leaving {
            let until = self.real(id, until);
            self.reigns += usize::from(self.processes[id].acts_until < self.now);
            self.processes[id].acts_until = until;
        }
        let acting = self.processes.iter().filter(|process| process.acts_until > self.now).count();
        if acting > 1 {
            self.together.push(self.now);
        }
    }
}

fn world_of(seed: u64, replicas: usize, windows: Windows) -> World {
    let mut world = World::new(seed, replicas, windows, 300_000);
    world.run(360_000);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_two_act_at_once_and_in_calm_one_does(seed in any::<u64>(), replicas in 2_usize..=3) {
        let world = world_of(seed, replicas, Windows::default());
        prop_assert!(world.together.is_empty(), "two act at {:?}", world.together);
        let acting = world.processes.iter().filter(|process| process.acts_until > world.now).count();
        prop_assert_eq!(acting, 1);
        prop_assert!(world.reigns > 1);
    }
}

#[test]
fn replicas_that_may_act_as_long_as_others_wait_are_found_out() {
    let windows = Windows { hold: Windows::default().lease, ..Windows::default() };
    let found = (0..400).filter(|seed| !world_of(*seed, 3, windows).together.is_empty()).count();
    assert!(found > 0);
}
