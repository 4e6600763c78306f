//! Metrics, with labels from fixed sets only, but for the names of schedules: never a URL or a message. docs/metrics.md
//! tells of each.
//!
//! Uses: api, core, ports.

mod census;
mod exports;
mod labels;
pub mod metered;
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
use exports::Exports;
pub use labels::{Kind, Operation, Outcome};
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
    leader: Gauge,
    watches_broken: Gauge,
    exports: Exports,
    requests: Requests,
    servers: Servers,
    schedules: Schedules,
}

impl Metrics {
    /// All at zero, and all there: a counter that appears with its first event is no increase to Prometheus.
    pub fn new() -> Arc<Self> {
        let reconciles: Family<Labels<2>, Counter> = Family::default();
        let reconcile_seconds: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 9)));
        let status_writes: Family<Labels<1>, Counter> = Family::default();
        for kind in Kind::ALL {
            for outcome in Outcome::ALL {
                drop(reconciles.get_or_create(&[("kind", kind.as_str()), ("outcome", outcome.as_str())]));
            }
            drop(reconcile_seconds.get_or_create(&[("kind", kind.as_str())]));
            drop(status_writes.get_or_create(&[("kind", kind.as_str())]));
        }
        let (leader, watches_broken) = (Gauge::default(), Gauge::default());
        let build: Family<Labels<1>, Gauge> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);

        let mut registry = Registry::with_prefix("fhir_export");
        let r = &mut registry;
        r.register("reconciles", "Looks at an object, by how they ended", reconciles.clone());
        r.register("reconcile_seconds", "How long they took", reconcile_seconds.clone());
        r.register("status_writes", "Writes of status", status_writes.clone());
        r.register("leader", "1 where this process does the work", leader.clone());
        r.register(
            "watches_broken",
            "Watches of the API server that do not work now",
            watches_broken.clone(),
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
            leader,
            watches_broken,
            exports,
            requests,
            servers,
            schedules,
        })
    }

    /// In the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// One reconcile ended.
    pub fn reconciled(&self, kind: Kind, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&[("kind", kind.as_str()), ("outcome", outcome.as_str())]).inc();
        self.reconcile_seconds.get_or_create(&[("kind", kind.as_str())]).observe(took.as_secs_f64());
    }

    /// Whether this process does the work, or stands by for the one that does.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// So many watches do not work now.
    pub fn watches_broken(&self, count: usize) {
        self.watches_broken.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One request to a FHIR server ended; `status` is absent if there was no answer.
    pub fn requested(&self, operation: Operation, status: Option<u16>, took: Duration) {
        self.requests.requested(operation, status, took);
    }

    /// One request was not sent, since its server had asked for patience.
    pub fn held_back(&self, operation: Operation) {
        self.requests.held_back(operation);
    }

    /// So many origins ask for patience now.
    pub fn throttled_origins(&self, count: usize) {
        self.requests.throttled_origins(count);
    }

    /// A job was asked for its status and is asked again after this wait.
    pub fn poll_in(&self, wait: Duration) {
        self.requests.poll_in(wait);
    }

    /// A status was written.
    pub fn status_written(&self, kind: Kind) {
        self.status_writes.get_or_create(&[("kind", kind.as_str())]).inc();
    }

    /// A cancel was given up.
    pub fn cancel_unconfirmed(&self) {
        self.exports.cancel_unconfirmed();
    }

    /// Files and bytes landed.
    pub fn landed(&self, files: u64, bytes: u64) {
        self.exports.landed(files, bytes);
    }

    /// This status was written over that of an export: counts what began or ended with it.
    pub fn export_moved(&self, export: &FhirExport, now: &FhirExportStatus) {
        self.exports.moved(export, now);
    }

    /// Counts the exports that there are, whose servers `server_of` knows.
    pub fn count_exports(
        &self,
        exports: &[Arc<FhirExport>],
        server_of: impl Fn(&FhirExport) -> Option<Arc<FhirServer>>,
        tuning: &Tuning,
        now: Timestamp,
    ) {
        self.exports.count(exports, server_of, tuning, now);
    }

    /// Counts the servers that there are.
    pub fn count_servers(&self, servers: &[Arc<FhirServer>]) {
        self.servers.count(servers);
    }

    /// Tells of the schedules that there are.
    pub fn tell_schedules(&self, schedules: &[Arc<FhirExportSchedule>]) {
        self.schedules.tell(schedules);
    }
}

#[cfg(test)]
mod tests;
