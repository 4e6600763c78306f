//! All that the models know, behind one lock: whoever holds it is alone in the world.

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

/// The models.
pub struct State {
    /// What was decided before.
    pub plan: Arc<Plan>,
    /// The time.
    pub time: Time,
    /// What is left to chance.
    pub chance: Chance,
    /// The API server.
    pub api: ApiServer,
    /// The FHIR servers.
    pub fhir: Fhir,
    /// The storage account.
    pub lake: Lake,
    /// What goes wrong.
    pub faults: Faults,
    /// What must stay true.
    pub laws: Laws,
    /// Figures.
    pub tally: Tally,
    /// What happened.
    pub trace: Trace,
    /// The process that is to be killed at once.
    pub kill: Option<usize>,
    /// It ends itself.
    pub lapsed: bool,
    /// The process that is to be stopped at once, and for how many seconds.
    pub stop: Option<(usize, i64)>,
    /// Processes that are there.
    pub alive: BTreeSet<usize>,
    /// The election.
    pub election: Election,
    /// Messages on their way.
    pub post: Post,
    /// The whole statuses of which this version reads a part, by uid.
    pub unread: BTreeMap<String, FhirExportStatus>,
    /// How far the operator's clocks are ahead, in microseconds.
    pub skew: i64,
}

impl State {
    /// The beginning.
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

    /// Takes something into the trace.
    pub fn tell(&mut self, code: u64, text: impl FnOnce() -> String) {
        self.trace.note(self.time.now, code, text);
    }

    /// A law is broken, in that it says `rule`.
    pub fn broken(&mut self, law: Law, rule: &'static str, text: impl Into<String>) {
        let text = text.into();
        let broken = BrokenLaw { law, rule };
        self.trace.note(self.time.now, 666, || format!("BROKEN: {broken}: {text}"));
        self.laws.broken.push((broken, text));
    }
}

/// The lock. A panic while it was held is told by the scheduler.
pub fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
