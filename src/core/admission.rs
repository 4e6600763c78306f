//! Which exports may run on a `FhirServer`. Namespaces take turns, and within a namespace exports start in
//! order of creation, so a namespace that creates a thousand exports delays only its own.
//!
//! An [`Admission`] is updated at each change of an export, so that no decision looks at all exports of a server. A
//! change costs O(log n). To find out who is next costs O(log n) for each place that is free, and once more for each
//! namespace and Group whose turn passes because the Group is full.

use std::collections::btree_set::Iter;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::Peekable;
use std::ops::Bound;

use jiff::Timestamp;

/// An export that holds a place or waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The uid of the export.
    pub uid: String,
    /// The namespace of the export.
    pub namespace: String,
    /// When the export was created.
    pub created: Timestamp,
    /// The id of the Group that it exports; `None` at other levels.
    pub group: Option<String>,
    /// Whether the export already holds a place: it has left the queue and has not ended.
    pub holds: bool,
}

/// How many exports may run on a server at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most exports of the server that may run at once.
    pub places: usize,
    /// The most exports of one Group that may run at once.
    pub per_group: usize,
}

/// The exports that hold a place of a server, and those that wait for one.
#[derive(Debug, Default)]
pub struct Admission {
    /// The exports, by uid.
    candidates: HashMap<String, Candidate>,
    holding: usize,
    /// How many exports of each Group hold a place.
    groups: HashMap<String, usize>,
    /// The exports of each namespace, by namespace.
    lines: HashMap<String, Line>,
    /// The namespaces with exports that wait, in the order in which they get a place.
    turns: BTreeSet<Rank>,
}

/// The exports of one namespace.
#[derive(Debug, Default)]
struct Line {
    /// How many exports of the namespace hold a place.
    inside: usize,
    /// When an export of the namespace last left the queue.
    served: Option<Timestamp>,
    /// The exports that wait, by Group, each with the time of its creation and its uid.
    waiting: BTreeMap<Option<String>, BTreeSet<(Timestamp, String)>>,
    /// The first export that waits of each Group.
    fronts: BTreeSet<Front>,
}

/// The first export of a Group that waits: the time of its creation, its uid and the Group.
type Front = (Timestamp, String, Option<String>);

/// What decides when a namespace has its turn: the fewest places first; among equals, the one whose last turn is
/// longest ago; then the one whose first export is the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    inside: usize,
    served: Option<Timestamp>,
    created: Timestamp,
    uid: String,
    namespace: String,
}

impl Admission {
    /// Adds an export, or updates what is known of it.
    pub fn set(&mut self, candidate: Candidate) {
        if self.candidates.get(&candidate.uid) == Some(&candidate) {
            return;
        }
        self.remove(&candidate.uid);
        if candidate.holds {
            self.holding += 1;
            if let Some(group) = &candidate.group {
                *self.groups.entry(group.clone()).or_default() += 1;
            }
        }
        self.change(&candidate.namespace, |line| line.add(&candidate));
        self.candidates.insert(candidate.uid.clone(), candidate);
    }

    /// Removes an export that neither holds a place nor waits for one. Returns it if it was known.
    pub fn remove(&mut self, uid: &str) -> Option<Candidate> {
        let candidate = self.candidates.remove(uid)?;
        if candidate.holds {
            self.holding = self.holding.saturating_sub(1);
            if let Some(group) = &candidate.group
                && let Some(held) = self.groups.get_mut(group)
            {
                *held = held.saturating_sub(1);
                if *held == 0 {
                    self.groups.remove(group);
                }
            }
        }
        self.change(&candidate.namespace, |line| line.take_out(&candidate));
        Some(candidate)
    }

    /// Records that an export of a namespace left the queue at that time.
    pub fn serve(&mut self, namespace: &str, at: Timestamp) {
        if self.lines.get(namespace).is_none_or(|line| line.served < Some(at)) {
            self.change(namespace, |line| line.served = Some(at));
        }
    }

    /// Whether no export holds a place or waits for one.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The exports that wait and get a place now, in this order. A free place goes to the namespace with the
    /// fewest places; among equals, to the one whose last turn is longest ago. An export that holds a place
    /// keeps it, even if the limits were lowered. An export whose Group is full is passed over, and the turn
    /// of its namespace is not used up.
    pub fn next(&self, limits: Limits) -> impl Iterator<Item = &Candidate> {
        let free = limits.places.saturating_sub(self.holding);
        let mut next = Allotment {
            admission: self,
            per_group: limits.per_group,
            turns: Ordered::new(&self.turns),
            begun: HashMap::new(),
            given: HashMap::new(),
        };
        std::iter::from_fn(move || next.pick()).take(free)
    }

    /// Whether an export holds a place or gets one now. `asking` counts as waiting, even if it was not known to wait.
    pub fn admits(&mut self, limits: Limits, asking: Candidate) -> bool {
        let uid = asking.uid.clone();
        if self.candidates.get(&uid).is_some_and(|known| known.holds) {
            return true;
        }
        if self.holding >= limits.places {
            return false;
        }
        let known = self.candidates.get(&uid).cloned();
        self.set(asking);
        let admits = self.next(limits).any(|next| next.uid == uid);
        match known {
            Some(known) => self.set(known),
            None => drop(self.remove(&uid)),
        }
        admits
    }

    fn change(&mut self, namespace: &str, change: impl FnOnce(&mut Line)) {
        let line = self.lines.entry(namespace.to_owned()).or_default();
        let before = line.turn(namespace);
        change(line);
        let after = line.turn(namespace);
        if after.is_none() && line.inside == 0 && line.served.is_none() {
            self.lines.remove(namespace);
        }
        if before != after {
            if let Some(before) = before {
                self.turns.remove(&before);
            }
            self.turns.extend(after);
        }
    }
}

impl Line {
    fn turn(&self, namespace: &str) -> Option<Rank> {
        Some(self.turn_with(self.inside, self.fronts.first()?, namespace))
    }

    /// The turn of this line if `inside` of its exports hold a place and `front` is the first that waits.
    fn turn_with(&self, inside: usize, (created, uid, _): &Front, namespace: &str) -> Rank {
        let (created, uid) = (*created, uid.clone());
        Rank { inside, served: self.served, created, uid, namespace: namespace.to_owned() }
    }

    /// The next export that waits in the same Group.
    fn after(&self, (created, uid, group): &Front) -> Option<Front> {
        let rest = (Bound::Excluded((*created, uid.clone())), Bound::Unbounded);
        let (created, uid) = self.waiting.get(group)?.range(rest).next()?;
        Some((*created, uid.clone(), group.clone()))
    }

    fn add(&mut self, candidate: &Candidate) {
        if candidate.holds {
            self.inside += 1;
            return;
        }
        self.change(candidate, |queue| {
            queue.insert((candidate.created, candidate.uid.clone()));
        });
    }

    fn take_out(&mut self, candidate: &Candidate) {
        if candidate.holds {
            self.inside = self.inside.saturating_sub(1);
            return;
        }
        self.change(candidate, |queue| {
            queue.remove(&(candidate.created, candidate.uid.clone()));
        });
    }

    fn change(&mut self, candidate: &Candidate, change: impl FnOnce(&mut BTreeSet<(Timestamp, String)>)) {
        let group = &candidate.group;
        let front = |queue: &BTreeSet<(Timestamp, String)>| {
            queue.first().map(|(created, uid)| (*created, uid.clone(), group.clone()))
        };
        let queue = self.waiting.entry(group.clone()).or_default();
        let before = front(queue);
        change(queue);
        let after = front(queue);
        if after.is_none() {
            self.waiting.remove(group);
        }
        if before != after {
            if let Some(before) = before {
                self.fronts.remove(&before);
            }
            self.fronts.extend(after);
        }
    }
}

/// Gives out the free places of a server, one after the other.
struct Allotment<'a> {
    admission: &'a Admission,
    per_group: usize,
    turns: Ordered<'a, Rank>,
    /// The lines that had a turn, by namespace.
    begun: HashMap<&'a str, Begun<'a>>,
    /// How many exports of each Group got a place.
    given: HashMap<&'a str, usize>,
}

/// A line that had a turn.
struct Begun<'a> {
    line: &'a Line,
    inside: usize,
    fronts: Ordered<'a, Front>,
}

impl<'a> Allotment<'a> {
    fn pick(&mut self) -> Option<&'a Candidate> {
        loop {
            let turn = self.turns.pop()?;
            let (namespace, line) = self.admission.lines.get_key_value(&turn.namespace)?;
            let begun = self.begun.entry(namespace).or_insert_with(|| Begun {
                line,
                inside: line.inside,
                fronts: Ordered::new(&line.fronts),
            });
            let front = begun.fronts.pop()?;
            let candidate = self.admission.candidates.get(&front.1)?;
            let full = candidate.group.as_deref().is_some_and(|group| {
                let held = self.admission.groups.get(group).copied().unwrap_or(0);
                held + self.given.get(group).copied().unwrap_or(0) >= self.per_group
            });
            if !full {
                begun.inside += 1;
                begun.fronts.added.extend(begun.line.after(&front));
            }
            if let Some(front) = begun.fronts.first() {
                self.turns.added.insert(begun.line.turn_with(begun.inside, front, namespace));
            }
            if !full {
                if let Some(group) = &candidate.group {
                    *self.given.entry(group).or_default() += 1;
                }
                return Some(candidate);
            }
        }
    }
}

/// A sorted set that can be added to while it is read from its beginning.
struct Ordered<'a, T> {
    set: Peekable<Iter<'a, T>>,
    added: BTreeSet<T>,
}

impl<'a, T: Ord + Clone> Ordered<'a, T> {
    fn new(set: &'a BTreeSet<T>) -> Self {
        Self { set: set.iter().peekable(), added: BTreeSet::new() }
    }

    fn first(&mut self) -> Option<&T> {
        match (self.added.first(), self.set.peek()) {
            (Some(added), Some(of_set)) => Some(added.min(of_set)),
            (added, of_set) => added.or(of_set.copied()),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.first()?.clone();
        if self.added.remove(&first) { Some(first) } else { self.set.next().cloned() }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
