//! What goes wrong at the edges: at which use of which edge, as the plan says, and outages, for a time.

use std::collections::BTreeMap;

use crate::plan::{Edge, Fault, FaultKind};

/// The faults to come.
#[derive(Debug, Default)]
pub struct Faults {
    due: BTreeMap<(Edge, u32), FaultKind>,
    used: BTreeMap<Edge, u32>,
    /// Until when each part is out, in microseconds.
    outages: BTreeMap<Outage, i64>,
    healed: bool,
}

/// What can be out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outage {
    /// The API server.
    Api,
    /// The watches.
    Watch,
    /// A FHIR server.
    Fhir(usize),
    /// Tokens are refused by a FHIR server.
    Tokens(usize),
    /// The first storage account.
    Storage,
    /// The role on the first storage account.
    Role,
}

impl Faults {
    /// These.
    pub fn new(faults: &[Fault]) -> Self {
        let due = faults.iter().map(|f| ((f.edge, f.nth), f.kind.clone())).collect();
        Self { due, ..Self::default() }
    }

    /// The edge is used: what goes wrong with it this time.
    pub fn next(&mut self, edge: Edge) -> Option<FaultKind> {
        let used = self.used.entry(edge).or_default();
        let nth = *used;
        *used += 1;
        if self.healed { None } else { self.due.remove(&(edge, nth)) }
    }

    /// Something is out until then.
    pub fn out(&mut self, what: Outage, until: i64) {
        let end = self.outages.entry(what).or_default();
        *end = (*end).max(until);
    }

    /// Whether it is out.
    pub fn is_out(&self, what: Outage, now: i64) -> bool {
        self.outages.get(&what).is_some_and(|until| *until > now)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.healed = true;
        self.outages.clear();
    }
}

/// How a kind is called in the table.
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
