//! The state of all models, behind one lock: whoever holds it has the world to itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fhir_export_operator::api::FhirExportStatus;

use crate::api_server::ApiServer;
use crate::chance::Chance;
use crate::container::Lake;
use crate::election::Election;
use crate::faults::Faults;
use crate::fhir::Fhir;
use crate::laws::{BrokenLaw, Law, Laws};
use crate::plan::Plan;
use crate::post::Post;
use crate::tally::Tally;
use crate::time::Time;
use crate::trace::Trace;

/// The state of all models.
pub struct State {
    /// The plan of the simulation.
    pub plan: Arc<Plan>,
    /// The true time, and what is due.
    pub time: Time,
    /// The source of everything that is left to chance.
    pub chance: Chance,
    /// The API server.
    pub api: ApiServer,
    /// The FHIR servers.
    pub fhir: Fhir,
    /// The storage account.
    pub lake: Lake,
    /// The faults and outages.
    pub faults: Faults,
    /// The laws, and what they have recorded.
    pub laws: Laws,
    /// The figures of the simulation.
    pub tally: Tally,
    /// The trace of what happened.
    pub trace: Trace,
    /// The process to kill at once.
    pub kill: Option<usize>,
    /// Whether that process ends itself because its time is over.
    pub lapsed: bool,
    /// The process to stop at once, and for how many seconds.
    pub stop: Option<(usize, i64)>,
    /// The processes that are running.
    pub alive: BTreeSet<usize>,
    /// The election.
    pub election: Election,
    /// Messages on their way.
    pub post: Post,
    /// The whole statuses of exports of which this version can read only a part, by uid.
    pub unread: BTreeMap<String, FhirExportStatus>,
    /// How far the clocks of the operator are ahead, in microseconds.
    pub skew: i64,
}

impl State {
    /// The state at the beginning of a simulation.
    pub fn new(plan: Plan, told: bool) -> Self {
        let plan = Arc::new(plan);
        Self {
            time: Time::new(),
            chance: Chance::new(plan.seed, 1),
            api: ApiServer::default(),
            fhir: Fhir::new(&plan),
            lake: Lake::default(),
            faults: Faults::new(&plan.faults),
            laws: Laws::default(),
            tally: Tally::default(),
            trace: Trace::new(told),
            kill: None,
            lapsed: false,
            stop: None,
            alive: BTreeSet::new(),
            election: Election::default(),
            post: Post::default(),
            unread: BTreeMap::new(),
            skew: 0,
            plan,
        }
    }

    /// Adds a line to the trace.
    pub fn tell(&mut self, code: u64, text: impl FnOnce() -> String) {
        self.trace.note(self.time.now, code, text);
    }

    /// Records that `rule` of a law was broken.
    pub fn broken(&mut self, law: Law, rule: &'static str, text: impl Into<String>) {
        let text = text.into();
        let broken = BrokenLaw { law, rule };
        self.trace.note(self.time.now, 666, || format!("BROKEN: {broken}: {text}"));
        self.laws.broken.push((broken, text));
    }
}

/// Takes a lock. The scheduler reports a panic that happened while it was held.
pub fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
