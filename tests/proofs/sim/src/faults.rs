//! The faults of a plan: those that strike a certain use of an edge, and outages, which last for a time.

use std::collections::BTreeMap;

use crate::plan::{Edge, Fault, FaultKind};

/// The faults that have not struck yet, and the outages.
#[derive(Debug, Default)]
pub struct Faults {
    due: BTreeMap<(Edge, u32), FaultKind>,
    used: BTreeMap<Edge, u32>,
    /// The end of each outage, in microseconds.
    outages: BTreeMap<Outage, i64>,
    healed: bool,
}

/// A part that can be out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outage {
    /// The API server does not answer.
    Api,
    /// The watches deliver nothing.
    Watch,
    /// A FHIR server does not answer.
    Fhir(usize),
    /// A FHIR server refuses tokens.
    Tokens(usize),
    /// The first storage account does not answer.
    Storage,
    /// The role on the first storage account is missing.
    Role,
}

impl Faults {
    /// Takes over the faults of a plan.
    pub fn new(faults: &[Fault]) -> Self {
        let due = faults.iter().map(|f| ((f.edge, f.nth), f.kind.clone())).collect();
        Self { due, ..Self::default() }
    }

    /// Counts one use of an edge, and returns the fault that strikes it.
    pub fn next(&mut self, edge: Edge) -> Option<FaultKind> {
        let used = self.used.entry(edge).or_default();
        let nth = *used;
        *used += 1;
        if self.healed { None } else { self.due.remove(&(edge, nth)) }
    }

    /// Starts an outage, or extends it to `until`.
    pub fn out(&mut self, what: Outage, until: i64) {
        let end = self.outages.entry(what).or_default();
        *end = (*end).max(until);
    }

    /// Whether a part is out.
    pub fn is_out(&self, what: Outage, now: i64) -> bool {
        self.outages.get(&what).is_some_and(|until| *until > now)
    }

    /// Ends all faults and outages.
    pub fn heal(&mut self) {
        self.healed = true;
        self.outages.clear();
    }
}

/// The name of a kind of fault in the table.
pub fn name(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::CrashBefore => "killed before a request",
        FaultKind::CrashAfter => "killed before its answer",
        FaultKind::NotSent => "request not sent",
        FaultKind::NotDone => "request lost",
        FaultKind::AnswerLost => "answer lost",
        FaultKind::Repeated => "write repeated",
        FaultKind::Slow(_) => "answer delayed",
        FaultKind::Page(_) => "gateway's page",
        FaultKind::Outcome(_) => "server error",
        FaultKind::Throttled(_) => "throttled",
        FaultKind::Replayed => "stale answer",
        FaultKind::Truncated => "answer truncated",
        FaultKind::Location(_) => "Content-Location",
        FaultKind::StopBefore(_) | FaultKind::StopWithin(_) | FaultKind::StopAfter(_) => {
            "stopped at a request"
        }
        FaultKind::Denied => "storage denied",
        FaultKind::PanicsBefore | FaultKind::PanicsAfter => "task panicked",
    }
}
