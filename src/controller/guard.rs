//! What surrounds a reconcile: its failures are logged once and tried again, a panic included.

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
use crate::metrics::Metrics;
use crate::metrics::{Kind, Outcome};
use crate::ports::ClusterFailure;

/// The cache is behind our own write, as a rule.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Somebody must repair the operator; until then the log stays readable.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// Guards the reconciles of one kind.
pub struct Guard {
    kind: Kind,
    metrics: Arc<Metrics>,
    complaints: Complaints,
}

impl Guard {
    /// For this kind.
    pub fn new(kind: Kind, metrics: Arc<Metrics>) -> Self {
        Self { kind, metrics, complaints: Complaints::new(kind) }
    }

    /// Carries out a reconcile and says when the next is due.
    pub async fn run(
        &self,
        object: Key,
        reconcile: impl Future<Output = Result<Requeue, ClusterFailure>>,
    ) -> Action {
        let started = Instant::now();
        let (outcome, action) = match AssertUnwindSafe(reconcile).catch_unwind().await {
            Ok(Ok(requeue)) => {
                self.complaints.went_well(&object);
                (Outcome::Done, due(requeue))
            }
            Ok(Err(failure @ (ClusterFailure::Conflict | ClusterFailure::NotFound))) => {
                debug!(kind = self.kind.as_str(), namespace = object.0, name = object.1, "{failure}");
                let conflict = failure == ClusterFailure::Conflict;
                (Outcome::Conflict, soon(if conflict { AFTER_CONFLICT } else { AFTER_FAILURE }))
            }
            Ok(Err(ClusterFailure::Other(text))) => {
                self.complaints.failed(object, &text);
                (Outcome::Failed, soon(AFTER_FAILURE))
            }
            Err(panic) => {
                error!(
                    kind = self.kind.as_str(),
                    namespace = object.0,
                    name = object.1,
                    "a programming error, please report it: {}",
                    told(panic.as_ref())
                );
                (Outcome::Panicked, soon(AFTER_PANIC))
            }
        };
        self.metrics.reconciled(self.kind, outcome, started.elapsed());
        action
    }

    /// An object is gone: so is what was complained about.
    pub fn forget(&self, object: &Key) {
        self.complaints.gone(object);
    }
}

fn due(requeue: Requeue) -> Action {
    match requeue {
        Requeue::AwaitChange => Action::await_change(),
        // Zero would spin.
        Requeue::After(wait) => Action::requeue(wait.max(Duration::from_millis(1))),
    }
}

/// With jitter, so that a thousand objects that failed at once do not come back at once.
fn soon(wait: Duration) -> Action {
    Action::requeue(wait.mul_f64(1.0 + rand::random::<f64>() / 2.0))
}

fn told(panic: &(dyn Any + Send)) -> &str {
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
