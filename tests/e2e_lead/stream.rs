//! Exports that are created continuously while a test disturbs the operators.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fhir_export_operator::api::FhirExport;
use tokio::task::JoinHandle;

use crate::place::Place;

/// The time from one export to the next.
const EVERY: Duration = Duration::from_millis(600);

pub struct Stream {
    enough: Arc<AtomicBool>,
    work: JoinHandle<usize>,
}

fn name(number: usize) -> String {
    format!("e{number:03}")
}

impl Stream {
    /// Begins to create exports, each [`EVERY`] after the previous one.
    pub fn start(place: &Arc<Place>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let (place, done) = (place.clone(), enough.clone());
        let work = tokio::spawn(async move {
            let (mut ticks, mut number) = (tokio::time::interval(EVERY), 0);
            while !done.load(Ordering::SeqCst) {
                ticks.tick().await;
                place.export(&name(number)).await;
                number += 1;
            }
            number
        });
        Self { enough, work }
    }

    /// Stops creating exports, and asserts that all complete and that the FHIR server received one kick-off for
    /// each. An export whose kick-off was in flight when its operator was killed may have more, if its status has
    /// an unsettled job.
    pub async fn end(self, place: &Place) -> Outcome {
        self.enough.store(true, Ordering::SeqCst);
        let number = self.work.await.unwrap();
        let mut outcome = Outcome { exports: number, kick_offs: 0, told: 0 };
        for name in (0..number).map(name) {
            let export = place.ended(&name).await;
            assert!(is(&export, "Complete"), "{name}: {:?}", export.status);
            let kick_offs = place.kick_offs(&name);
            let told = export.status.iter().any(|s| !s.unsettled_jobs.is_empty());
            assert!(kick_offs == 1 || told, "{name}: {kick_offs} kick-offs, {:?}", export.status);
            outcome.kick_offs += kick_offs;
            outcome.told += usize::from(told);
        }
        let all = place.fhir.requests().iter().filter(|r| r.is_kick_off()).count();
        assert_eq!(outcome.kick_offs, all, "some kick-off is nobody's");
        outcome
    }
}

pub struct Outcome {
    pub exports: usize,
    pub kick_offs: usize,
    /// The number of exports with an unsettled job in their status.
    pub told: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exports, kick_offs, told } = self;
        write!(f, "{exports} exports complete after {kick_offs} kick-offs, {told} told of as uncertain")
    }
}

pub fn is(export: &FhirExport, type_: &str) -> bool {
    let conditions = export.status.iter().flat_map(|status| &status.conditions);
    conditions.filter(|c| c.type_ == type_).any(fhir_export_operator::api::Condition::is_true)
}

/// The seconds from one moment to another, or 0 if the order is reversed.
pub fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}
