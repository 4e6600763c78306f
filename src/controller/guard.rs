//! Guards reconciles: a failure is logged once and retried, and a panic is caught.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::runtime::controller::Action;
use tracing::{debug, error};

use super::complaints::Complaints;
use crate::cluster::stores::Key;
use crate::core::effect::Requeue;
use crate::metrics::{Kind, Metrics, ReconcileOutcome};
use crate::ports::ClusterFailure;

/// The delay after a conflict. Usually the cache just lags behind the operator's own write.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The delay after a panic. Somebody must fix the operator; until then the log should stay readable.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// Guards the reconciles of one kind.
pub struct Guard {
    kind: Kind,
    metrics: Arc<Metrics>,
    complaints: Complaints,
}

impl Guard {
    /// A guard for `kind`.
    pub fn new(kind: Kind, metrics: Arc<Metrics>) -> Self {
        Self { kind, metrics, complaints: Complaints::new(kind) }
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
                (ReconcileOutcome::Done, due(requeue))
            }
            Ok(Err(failure @ (ClusterFailure::Conflict | ClusterFailure::NotFound))) => {
                debug!(kind = self.kind.as_str(), namespace = object.0, name = object.1, "{failure}");
                let conflict = failure == ClusterFailure::Conflict;
                (ReconcileOutcome::Conflict, soon(if conflict { AFTER_CONFLICT } else { AFTER_FAILURE }))
            }
            Ok(Err(ClusterFailure::Other(text))) => {
                self.complaints.failed(object, &text);
                (ReconcileOutcome::Failed, soon(AFTER_FAILURE))
            }
            Err(panic) => {
                error!(
                    kind = self.kind.as_str(),
                    namespace = object.0,
                    name = object.1,
                    "a programming error, please report it: {}",
                    panic_message(panic.as_ref())
                );
                (ReconcileOutcome::Panicked, soon(AFTER_PANIC))
            }
        };
        self.metrics.reconciled(self.kind, outcome, started.elapsed());
        action
    }

    /// Drops the complaints about an object that was deleted.
    pub fn forget(&self, object: &Key) {
        self.complaints.gone(object);
    }
}

fn due(requeue: Requeue) -> Action {
    match requeue {
        Requeue::AwaitChange => Action::await_change(),
        // A wait of zero would loop without a pause.
        Requeue::After(wait) => Action::requeue(wait.max(Duration::from_millis(1))),
    }
}

/// Requeues after `wait` plus jitter, so that a thousand objects that failed together do not retry together.
fn soon(wait: Duration) -> Action {
    Action::requeue(wait.mul_f64(1.0 + rand::random::<f64>() / 2.0))
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
