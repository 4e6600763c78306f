//! Seats: how many requests may be in flight at once, for each server and for each namespace. A caller that
//! gets none waits in line, and within the line of a server namespaces take turns.
//!
//! Pure bookkeeping. A server that does not answer holds the seats of its own lane and no others, so it does
//! not slow the exports of other servers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::planted::{Fault, planted};

/// The limits of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatLimits {
    /// The number of seats in each lane.
    pub per_lane: usize,
    /// The number of seats for each namespace, over all lanes.
    pub per_namespace: usize,
}

impl Default for SeatLimits {
    fn default() -> Self {
        Self { per_lane: 32, per_namespace: 96 }
    }
}

/// A group of requests that may be slow together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Requests to the FHIR server with this base URL.
    Server(String),
    /// Cancels of jobs on the FHIR server with this base URL. They lighten its load, so they do not wait behind
    /// requests that it does not answer.
    Cancels(String),
    /// Requests to the storage of the `FhirServer` with this uid.
    Storage(String),
    /// The probe of the `FhirServer` with this uid.
    Probe(String),
}

/// The kind of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A `FhirExport`.
    Export,
    /// A `FhirServer`, for its probe.
    Server,
}

/// An object that wants a seat for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The kind of the caller.
    pub kind: CallerKind,
    /// The uid of the caller, which has one seat at most.
    pub uid: String,
    /// The namespace of the caller.
    pub namespace: String,
    /// The name of the caller.
    pub name: String,
}

/// The seats that are taken, and the callers that wait for one.
#[derive(Debug, Default)]
pub struct Seats {
    limits: SeatLimits,
    closed: bool,
    /// The lane and namespace of each caller that has a seat, by the caller's uid.
    taken: HashMap<String, (Lane, String)>,
    of_namespaces: HashMap<String, usize>,
    lanes: BTreeMap<Lane, Queues>,
    /// Lane and ticket of each caller that waits, by the caller's uid.
    tickets: HashMap<String, (Lane, u64)>,
    /// The lanes in which callers of each namespace wait.
    waits_in: HashMap<String, BTreeSet<Lane>>,
    issued: u64,
}

/// The seats of one lane, and its line.
#[derive(Debug, Default)]
struct Queues {
    taken: usize,
    /// The number of seats that each namespace has in this lane.
    of_namespaces: HashMap<String, usize>,
    /// Tickets and callers in order of arrival, by namespace. Void tickets are skipped.
    waiting: BTreeMap<String, VecDeque<(u64, Caller)>>,
}

impl Seats {
    /// Creates seats within these limits, all of them free.
    pub fn new(limits: SeatLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Gives `caller` a seat in `lane`, unless it already has one there. Returns whether it has the seat, and
    /// the callers that get the seat it had elsewhere. A caller without a seat waits in line, or keeps its
    /// place in it, until [`Self::leave`] of another caller returns it.
    pub fn take(&mut self, caller: &Caller, lane: &Lane) -> (bool, Vec<Caller>) {
        // The planted fault has a single line for all servers.
        let lane = &if planted(Fault::OneLine) { Lane::Server(String::new()) } else { lane.clone() };
        if self.taken.get(&caller.uid).is_some_and(|(there, _)| there == lane) {
            return (true, Vec::new());
        }
        let waits = self.tickets.get(&caller.uid).is_some_and(|(there, _)| there == lane);
        if waits && !self.closed {
            return (false, Vec::new());
        }
        let next = self.leave(&caller.uid);
        if self.closed {
            return (false, next);
        }
        if self.has_room(lane, &caller.namespace) {
            self.seat(&caller.uid, &caller.namespace, lane);
            return (true, next);
        }
        self.issued += 1;
        let ticket = self.issued;
        self.tickets.insert(caller.uid.clone(), (lane.clone(), ticket));
        self.waits_in.entry(caller.namespace.clone()).or_default().insert(lane.clone());
        let queues = self.lanes.entry(lane.clone()).or_default();
        let line = queues.waiting.entry(caller.namespace.clone()).or_default();
        line.push_back((ticket, caller.clone()));
        (false, next)
    }

    /// Takes back the seat of a caller, or removes it from the line. Returns the callers that now get a seat.
    #[must_use = "whoever got a seat has to be woken"]
    pub fn leave(&mut self, uid: &str) -> Vec<Caller> {
        self.tickets.remove(uid);
        let Some((lane, namespace)) = self.taken.remove(uid) else { return Vec::new() };
        decrease(&mut self.of_namespaces, &namespace);
        if let Some(queues) = self.lanes.get_mut(&lane) {
            queues.taken = queues.taken.saturating_sub(1);
            decrease(&mut queues.of_namespaces, &namespace);
        }
        let mut seated = Vec::new();
        if self.closed {
            return seated;
        }
        seated.extend(self.seat_next(&lane));
        // The namespace has one more seat, which may be in another lane.
        let others: Vec<Lane> = self.waits_in.get(&namespace).into_iter().flatten().cloned().collect();
        for lane in others {
            if self.has_room(&lane, &namespace) {
                seated.extend(self.seat_next(&lane));
                self.drop_if_empty(&lane);
            }
        }
        self.drop_if_empty(&lane);
        seated
    }

    fn drop_if_empty(&mut self, lane: &Lane) {
        if self.lanes.get(lane).is_some_and(|queues| queues.taken == 0 && queues.waiting.is_empty()) {
            self.lanes.remove(lane);
        }
    }

    /// Stops giving out seats.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// How many callers wait for a seat.
    pub fn waiting(&self) -> usize {
        self.tickets.len()
    }

    fn has_room(&self, lane: &Lane, namespace: &str) -> bool {
        self.lanes.get(lane).is_none_or(|queues| queues.taken < self.limits.per_lane)
            && self.of_namespaces.get(namespace).is_none_or(|taken| *taken < self.limits.per_namespace)
    }

    fn seat(&mut self, uid: &str, namespace: &str, lane: &Lane) {
        self.taken.insert(uid.to_owned(), (lane.clone(), namespace.to_owned()));
        *self.of_namespaces.entry(namespace.to_owned()).or_default() += 1;
        let queues = self.lanes.entry(lane.clone()).or_default();
        queues.taken += 1;
        *queues.of_namespaces.entry(namespace.to_owned()).or_default() += 1;
    }

    /// Gives a seat of a lane to the next caller in its line: of the namespaces that have room, the one with
    /// the fewest seats in the lane, and within it the caller that came first.
    fn seat_next(&mut self, lane: &Lane) -> Option<Caller> {
        let (tickets, waits_in) = (&self.tickets, &mut self.waits_in);
        let queues = self.lanes.get_mut(lane)?;
        let valid = |ticket: u64, uid: &str| tickets.get(uid) == Some(&(lane.clone(), ticket));
        queues.waiting.retain(|namespace, line| {
            while line.front().is_some_and(|(ticket, caller)| !valid(*ticket, &caller.uid)) {
                line.pop_front();
            }
            if line.is_empty() {
                leave_lane(waits_in, namespace, lane);
            }
            !line.is_empty()
        });
        if queues.taken >= self.limits.per_lane {
            return None;
        }
        let full = |namespace: &String| {
            self.of_namespaces.get(namespace).is_some_and(|taken| *taken >= self.limits.per_namespace)
        };
        let turn = |(namespace, line): &(&String, &VecDeque<(u64, Caller)>)| {
            let seats = queues.of_namespaces.get(*namespace).copied().unwrap_or(0);
            (seats, line.front().map(|(ticket, _)| *ticket))
        };
        let next = queues.waiting.iter().filter(|(namespace, _)| !full(namespace)).min_by_key(turn);
        let namespace = next.map(|(namespace, _)| namespace.clone())?;
        let (_, caller) = queues.waiting.get_mut(&namespace)?.pop_front()?;
        self.tickets.remove(&caller.uid);
        self.seat(&caller.uid, &caller.namespace, lane);
        Some(caller)
    }
}

fn decrease(counts: &mut HashMap<String, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(of);
        }
    }
}

fn leave_lane(waits_in: &mut HashMap<String, BTreeSet<Lane>>, namespace: &str, lane: &Lane) {
    if let Some(lanes) = waits_in.get_mut(namespace) {
        lanes.remove(lane);
        if lanes.is_empty() {
            waits_in.remove(namespace);
        }
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
