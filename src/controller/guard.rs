//! Guards reconciles: a failure is logged once and retried, and a panic is caught.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::runtime::controller::Action;
use tracing::{debug, error};

use super::complaints::Complaints;
use crate::cluster::stores::Key;
use crate::core::effect::Requeue;
use crate::metrics::{Kind, Metrics, ReconcileOutcome};
use crate::ports::ClusterFailure;

/// The first delay after a conflict. Usually the cache just lags behind the operator's own write.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// The longest delay after conflicts in a row.
const LONGEST_AFTER_CONFLICT: Duration = Duration::from_secs(5);
/// The first delay after another failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The longest delay after failures in a row. Ten thousand objects that all fail cause some 70 requests in a second.
const LONGEST_AFTER_FAILURE: Duration = Duration::from_mins(2);
/// The delay after a panic. Somebody must fix the operator; until then the log should stay readable.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// Guards the reconciles of one kind.
pub struct Guard {
    kind: Kind,
    metrics: Arc<Metrics>,
    complaints: Complaints,
    /// How often each object has failed in a row.
    failures: Mutex<HashMap<Key, u32>>,
}

impl Guard {
    /// A guard for `kind`.
    pub fn new(kind: Kind, metrics: Arc<Metrics>) -> Self {
        Self { kind, metrics, complaints: Complaints::new(kind), failures: Mutex::default() }
    }

    /// Runs a reconcile, and returns when the next one is due.
    pub async fn run(
        &self,
        object: Key,
        reconcile: impl Future<Output = Result<Requeue, ClusterFailure>>,
    ) -> Action {
        let started = Instant::now();
        let (outcome, action) = match AssertUnwindSafe(reconcile).catch_unwind().await {
            Ok(Ok(requeue)) => {
                self.complaints.went_well(&object);
                self.failures().remove(&object);
                (ReconcileOutcome::Done, due(requeue))
            }
            Ok(Err(failure)) => {
                let in_a_row = self.count(&object);
                let action = Action::requeue(after_failure(&failure, in_a_row, rand::random()));
                (self.tell(object, &failure), action)
            }
            Err(panic) => {
                error!(
                    kind = self.kind.as_str(),
                    namespace = object.0,
                    name = object.1,
                    "a programming error, please report it: {}",
                    panic_message(panic.as_ref())
                );
                (ReconcileOutcome::Panicked, Action::requeue(jittered(AFTER_PANIC, rand::random())))
            }
        };
        self.metrics.reconciled(self.kind, outcome, started.elapsed());
        action
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more failure of an object, and returns how many there are in a row.
    fn count(&self, object: &Key) -> u32 {
        let mut failures = self.failures();
        let count = failures.entry(object.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    fn tell(&self, object: Key, failure: &ClusterFailure) -> ReconcileOutcome {
        match failure {
            ClusterFailure::Conflict | ClusterFailure::NotFound => {
                debug!(kind = self.kind.as_str(), namespace = object.0, name = object.1, "{failure}");
                ReconcileOutcome::Conflict
            }
            ClusterFailure::Other(text) => {
                self.complaints.failed(object, text);
                ReconcileOutcome::Failed
            }
        }
    }

    /// Drops the state of an object that was deleted.
    pub fn forget(&self, object: &Key) {
        self.complaints.gone(object);
        self.failures().remove(object);
    }
}

/// The delay after a failure, of which there were `in_a_row` (from 1) with this one: it doubles with each. `jitter` is
/// between 0 and 1, so that a thousand objects that failed together do not retry together.
pub fn after_failure(failure: &ClusterFailure, in_a_row: u32, jitter: f64) -> Duration {
    let (first, longest) = match failure {
        ClusterFailure::Conflict => (AFTER_CONFLICT, LONGEST_AFTER_CONFLICT),
        ClusterFailure::NotFound | ClusterFailure::Other(_) => (AFTER_FAILURE, LONGEST_AFTER_FAILURE),
    };
    let doublings = in_a_row.saturating_sub(1).min(16);
    jittered(first.saturating_mul(1 << doublings).min(longest), jitter)
}

fn jittered(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(1.0 + jitter / 2.0)
}

fn due(requeue: Requeue) -> Action {
    match requeue {
        Requeue::AwaitChange => Action::await_change(),
        // A wait of zero would loop without a pause.
        Requeue::After(wait) => Action::requeue(wait.max(Duration::from_millis(1))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn guard() -> (Guard, Arc<Metrics>) {
        let metrics = Metrics::new();
        (Guard::new(Kind::FhirExport, metrics.clone()), metrics)
    }

    fn one() -> Key {
        ("ns".into(), "one".into())
    }

    #[tokio::test]
    async fn a_panic_is_survived_and_counted() {
        let (guard, metrics) = guard();
        let action = guard.run(one(), async { panic!("as a test") }).await;
        assert_ne!(action, Action::await_change());
        let line = r#"fhir_export_reconciles_total{kind="FhirExport",outcome="panicked"} 1"#;
        assert!(metrics.text().contains(line));
    }

    /// When the next look is due, in seconds: kube shows it in no other way.
    fn wait_of(action: &Action) -> f64 {
        let text = format!("{action:?}");
        let wait = text.split("Some(").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        let (number, unit) = wait.split_at(wait.find(|c: char| c.is_alphabetic()).unwrap_or(0));
        number.parse::<f64>().unwrap_or(0.0) * if unit == "ms" { 0.001 } else { 1.0 }
    }

    #[tokio::test]
    async fn failures_in_a_row_come_back_later_and_later_until_one_look_goes_well() {
        let (guard, _) = guard();
        let lost_role = || ClusterFailure::Other("forbidden".into());
        let mut requests = 0;
        let mut elapsed = 0.0;
        while elapsed < 3600.0 {
            elapsed += wait_of(&guard.run(one(), std::future::ready(Err(lost_role()))).await);
            requests += 1;
        }
        assert!(requests < 40, "{requests} looks in an hour");
        let other = guard.run(("ns".into(), "two".into()), std::future::ready(Err(lost_role()))).await;
        assert!(wait_of(&other) < 8.0, "each object has its own");
        guard.run(one(), std::future::ready(Ok(Requeue::AwaitChange))).await;
        assert!(wait_of(&guard.run(one(), std::future::ready(Err(lost_role()))).await) < 8.0);
        let conflicts: Vec<f64> =
            (1..20).map(|nth| after_failure(&ClusterFailure::Conflict, nth, 1.0).as_secs_f64()).collect();
        assert!(conflicts.is_sorted() && conflicts.first() < Some(&0.31) && conflicts.last() < Some(&7.6));
    }

    #[tokio::test]
    async fn failures_come_back_and_a_wait_of_zero_does_not_spin() {
        let (guard, _) = guard();
        for failure in
            [ClusterFailure::Conflict, ClusterFailure::NotFound, ClusterFailure::Other("it is down".into())]
        {
            let action = guard.run(one(), std::future::ready(Err(failure))).await;
            assert_ne!(action, Action::await_change());
        }
        let zero = guard.run(one(), std::future::ready(Ok(Requeue::After(Duration::ZERO)))).await;
        assert_eq!(zero, Action::requeue(Duration::from_millis(1)));
        let rest = guard.run(one(), std::future::ready(Ok(Requeue::AwaitChange))).await;
        assert_eq!(rest, Action::await_change());
    }
}
