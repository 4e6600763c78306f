//! The operator's metrics, each described in docs/metrics.md. Labels come from fixed sets, except the names
//! of schedules and FHIR servers: never a URL or a message.
//!
//! Uses: api, core, ports.

mod census;
mod exports;
mod labels;
pub mod metered;
mod process;
mod requests;
mod schedules;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::api::{FhirExport, FhirExportSchedule, FhirExportStatus, FhirServer};
use crate::core::tuning::Tuning;
use crate::ports::ExportTask;
use exports::Exports;
pub use labels::{Kind, Operation, ReconcileOutcome};
use labels::{TASKS, task_label};
use process::Process;
use requests::Requests;
use schedules::Schedules;
use servers::Servers;

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    reconcile_seconds: Histograms<1>,
    status_writes: Family<Labels<1>, Counter>,
    task_panics: Family<Labels<1>, Counter>,
    events_dropped: Counter,
    spans_dropped: Counter,
    leader: Gauge,
    watches_broken: Gauge,
    unreadable_objects: Family<Labels<1>, Gauge>,
    exports: Exports,
    requests: Requests,
    servers: Servers,
    schedules: Schedules,
}

impl Metrics {
    /// Creates all metrics with the value 0. Prometheus does not see an increase in a counter that appears
    /// with its first event.
    pub fn new() -> Arc<Self> {
        let reconciles: Family<Labels<2>, Counter> = Family::default();
        let reconcile_seconds: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 9)));
        let status_writes: Family<Labels<1>, Counter> = Family::default();
        let unreadable_objects: Family<Labels<1>, Gauge> = Family::default();
        for kind in Kind::ALL {
            for outcome in ReconcileOutcome::ALL {
                drop(reconciles.get_or_create(&[("kind", kind.as_str()), ("outcome", outcome.as_str())]));
            }
            drop(reconcile_seconds.get_or_create(&[("kind", kind.as_str())]));
            drop(status_writes.get_or_create(&[("kind", kind.as_str())]));
            drop(unreadable_objects.get_or_create(&[("kind", kind.as_str())]));
        }
        let task_panics: Family<Labels<1>, Counter> = Family::default();
        for task in TASKS {
            drop(task_panics.get_or_create(&[("task", task_label(task))]));
        }
        let (events_dropped, spans_dropped) = (Counter::default(), Counter::default());
        let (leader, watches_broken) = (Gauge::default(), Gauge::default());
        let build: Family<Labels<1>, Gauge> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);

        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::started_now()));
        let r = registry.sub_registry_with_prefix("fhir_export");
        r.register("reconciles", "Reconciles of objects, by how they ended", reconciles.clone());
        r.register("reconcile_duration_seconds", "Duration of reconciles", reconcile_seconds.clone());
        r.register("status_writes", "Writes of status", status_writes.clone());
        r.register(
            "task_panics",
            "Tasks of exports that ended by a panic, which is a defect, and were started again",
            task_panics.clone(),
        );
        r.register(
            "events_dropped",
            "Kubernetes events that were not posted, since too many waited",
            events_dropped.clone(),
        );
        r.register(
            "spans_dropped",
            "Spans of traces that the collector did not take, or for which there was no room",
            spans_dropped.clone(),
        );
        r.register("leader", "1 if this process leads, else 0", leader.clone());
        r.register(
            "watches_broken",
            "Watches of the API server that are currently broken",
            watches_broken.clone(),
        );
        r.register(
            "unreadable_objects",
            "Objects that cannot be read, or only in part, and are therefore left alone",
            unreadable_objects.clone(),
        );
        r.register("build_info", "The version of the operator", build);
        let exports = Exports::register(r);
        let requests = Requests::register(r);
        let servers = Servers::register(r);
        let schedules = Schedules::register(r);
        Arc::new(Self {
            registry,
            reconciles,
            reconcile_seconds,
            status_writes,
            task_panics,
            events_dropped,
            spans_dropped,
            leader,
            watches_broken,
            unreadable_objects,
            exports,
            requests,
            servers,
            schedules,
        })
    }

    /// All metrics in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Records that a reconcile ended.
    pub fn reconciled(&self, kind: Kind, outcome: ReconcileOutcome, took: Duration) {
        self.reconciles.get_or_create(&[("kind", kind.as_str()), ("outcome", outcome.as_str())]).inc();
        self.reconcile_seconds.get_or_create(&[("kind", kind.as_str())]).observe(took.as_secs_f64());
    }

    /// Sets whether this process leads; otherwise it stands by.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Sets how many watches are currently broken.
    pub fn watches_broken(&self, count: usize) {
        self.watches_broken.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets how many objects of a kind cannot be read, or only in part.
    pub fn unreadable_objects(&self, kind: Kind, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unreadable_objects.get_or_create(&[("kind", kind.as_str())]).set(count);
    }

    /// Records a request to a FHIR server; `status` is `None` if there was no answer.
    pub fn requested(&self, operation: Operation, status: Option<u16>, took: Duration) {
        self.requests.requested(operation, status, took);
    }

    /// Records a request that was not sent because its server had asked clients to wait.
    pub fn held_back(&self, operation: Operation) {
        self.requests.held_back(operation);
    }

    /// Sets how many origins are currently throttling.
    pub fn throttled_origins(&self, count: usize) {
        self.requests.throttled_origins(count);
    }

    /// Records the wait until the next poll of a job.
    pub fn poll_in(&self, wait: Duration) {
        self.requests.poll_in(wait);
    }

    /// Records a status write.
    pub fn status_written(&self, kind: Kind) {
        self.status_writes.get_or_create(&[("kind", kind.as_str())]).inc();
    }

    /// Records that a task beside the reconciles panicked.
    pub fn task_panicked(&self, task: ExportTask) {
        self.task_panics.get_or_create(&[("task", task_label(task))]).inc();
    }

    /// Records that an event was dropped, since too many waited.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Records spans that were dropped: the collector did not take them, or too many waited.
    pub fn spans_dropped(&self, spans: u64) {
        self.spans_dropped.inc_by(spans);
    }

    /// Records a cancel that was given up.
    pub fn cancel_unconfirmed(&self) {
        self.exports.cancel_unconfirmed();
    }

    /// Records files that the operator wrote to storage, and their bytes.
    pub fn landed(&self, files: u64, bytes: u64) {
        self.exports.landed(files, bytes);
    }

    /// Records that the status `now` replaced that of `export`, and counts what began or ended with it.
    pub fn export_moved(&self, export: &FhirExport, now: &FhirExportStatus) {
        self.exports.moved(export, now);
    }

    /// Sets the gauges of the existing exports; `server_of` looks up an export's server.
    pub fn count_exports(
        &self,
        exports: &[Arc<FhirExport>],
        server_of: impl Fn(&FhirExport) -> Option<Arc<FhirServer>>,
        tuning: &Tuning,
        now: Timestamp,
    ) {
        self.exports.count(exports, server_of, tuning, now);
    }

    /// Sets the gauges of the existing servers; `throttled` says which of them have asked the operator to wait.
    pub fn count_servers(&self, servers: &[Arc<FhirServer>], throttled: impl Fn(&FhirServer) -> bool) {
        self.servers.count(servers, throttled);
    }

    /// Sets the gauges of the existing schedules.
    pub fn tell_schedules(&self, schedules: &[Arc<FhirExportSchedule>]) {
        self.schedules.tell(schedules);
    }
}

#[cfg(test)]
mod tests;
