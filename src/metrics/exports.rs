//! Metrics of exports: their current states, their starts and ends, and their results.

use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::census::{self, Census, OUTCOMES, RESULTS};
use super::{Histograms, Labels};
use crate::api::{FhirExport, FhirExportStatus, FhirServer, Reason};
use crate::core::tuning::Tuning;

#[derive(Debug)]
pub(super) struct Exports {
    states: Family<Labels<1>, Gauge>,
    oldest: Family<Labels<1>, Gauge>,
    blocked: Family<Labels<1>, Gauge>,
    near_deadline: Gauge,
    unsettled: Gauge,
    finished: Family<Labels<2>, Counter>,
    duration: Histograms<1>,
    queue_wait: Histogram,
    retries: Counter,
    uncertain: Counter,
    cancel_unconfirmed: Counter,
    verifications: Family<Labels<1>, Counter>,
    files: Counter,
    resources: Counter,
    bytes: Counter,
    landed_files: Counter,
    landed_bytes: Counter,
}

impl Exports {
    pub(super) fn register(r: &mut Registry) -> Self {
        // From ten seconds to a month.
        let duration: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(10.0, 4.0, 10)));
        let all = Self {
            states: Family::default(),
            oldest: Family::default(),
            blocked: Family::default(),
            near_deadline: Gauge::default(),
            unsettled: Gauge::default(),
            finished: Family::default(),
            duration,
            // From a second to three days.
            queue_wait: Histogram::new(exponential_buckets(1.0, 4.0, 10)),
            retries: Counter::default(),
            uncertain: Counter::default(),
            cancel_unconfirmed: Counter::default(),
            verifications: Family::default(),
            files: Counter::default(),
            resources: Counter::default(),
            bytes: Counter::default(),
            landed_files: Counter::default(),
            landed_bytes: Counter::default(),
        };
        r.register("runs", "FhirExports, by status.state", all.states.clone());
        r.register(
            "runs_idle_seconds",
            "Time since the conditions of the longest idle export in a state last changed",
            all.oldest.clone(),
        );
        r.register("runs_blocked", "Exports that are blocked, by reason", all.blocked.clone());
        r.register(
            "runs_near_deadline",
            "Exports that have used nine tenths of their deadline",
            all.near_deadline.clone(),
        );
        r.register("unsettled_jobs", "Jobs on servers that may be running unnoticed", all.unsettled.clone());
        r.register("runs_finished", "FhirExports that ended, by reason", all.finished.clone());
        r.register(
            "run_duration_seconds",
            "Time from the start to the end of a FhirExport",
            all.duration.clone(),
        );
        r.register(
            "queue_wait_seconds",
            "Time from the creation of a FhirExport to its start",
            all.queue_wait.clone(),
        );
        r.register("retries", "Failed attempts that are followed by another one", all.retries.clone());
        r.register("kick_offs_uncertain", "Kick-offs whose answer was lost", all.uncertain.clone());
        r.register("cancels_unconfirmed", "Cancels that were given up", all.cancel_unconfirmed.clone());
        r.register(
            "verifications",
            "Exports that ended, by the result of their verification",
            all.verifications.clone(),
        );
        r.register("completed_files", "NDJSON files of exports that completed", all.files.clone());
        r.register(
            "completed_resources",
            "Resources of exports that completed, where they were counted",
            all.resources.clone(),
        );
        r.register(
            "completed_bytes",
            "Bytes of exports that completed, where the container was listed",
            all.bytes.clone(),
        );
        r.register("landed_files", "Files that the operator wrote to storage", all.landed_files.clone());
        r.register(
            "landed_bytes",
            "Bytes of files that the operator wrote to storage",
            all.landed_bytes.clone(),
        );
        all.begin();
        all
    }

    /// Creates all series with the value 0. Prometheus does not see an increase in a counter that appears
    /// with its first event.
    fn begin(&self) {
        self.set(&Census::default());
        for reason in bad_news() {
            drop(self.finished.get_or_create(&[("outcome", "failed"), ("reason", reason.as_str())]));
        }
        for reason in [Reason::Exported, Reason::CompletedWithErrors] {
            drop(self.finished.get_or_create(&[("outcome", "complete"), ("reason", reason.as_str())]));
        }
        for outcome in OUTCOMES {
            drop(self.duration.get_or_create(&[("outcome", outcome)]));
        }
        for result in RESULTS {
            drop(self.verifications.get_or_create(&[("result", result)]));
        }
    }

    /// Counts the existing exports; `server_of` looks up an export's server.
    pub(super) fn count(
        &self,
        exports: &[Arc<FhirExport>],
        server_of: impl Fn(&FhirExport) -> Option<Arc<FhirServer>>,
        tuning: &Tuning,
        now: Timestamp,
    ) {
        let mut census = Census::default();
        for export in exports {
            census.count(export, server_of(export).as_deref(), tuning, now);
        }
        self.set(&census);
    }

    fn set(&self, census: &Census) {
        for state in census::open().chain(census::ended()) {
            let count = census.states.get(state).copied().unwrap_or(0);
            self.states.get_or_create(&[("state", state)]).set(count);
        }
        for state in census::open() {
            let idle = census.oldest.get(state).copied().unwrap_or(0);
            self.oldest.get_or_create(&[("state", state)]).set(idle);
        }
        for reason in bad_news() {
            let count = census.blocked.get(reason.as_str()).copied().unwrap_or(0);
            self.blocked.get_or_create(&[("reason", reason.as_str())]).set(count);
        }
        self.near_deadline.set(census.near_deadline);
        self.unsettled.set(census.unsettled);
    }

    /// Records that the status `now` replaced that of `export`.
    pub(super) fn moved(&self, export: &FhirExport, now: &FhirExportStatus) {
        let moved = census::moved(export, now);
        if let Some(waited) = moved.waited {
            self.queue_wait.observe(waited);
        }
        self.retries.inc_by(moved.retried.into());
        self.uncertain.inc_by(moved.uncertain.into());
        if let Some(result) = moved.verified {
            self.verifications.get_or_create(&[("result", result)]).inc();
        }
        let Some((outcome, reason)) = moved.ended else { return };
        self.finished.get_or_create(&[("outcome", outcome), ("reason", reason)]).inc();
        if let Some(took) = moved.took {
            self.duration.get_or_create(&[("outcome", outcome)]).observe(took);
        }
        if let Some(output) = now.output.as_ref().filter(|_| outcome == "complete") {
            let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            self.files.inc_by(count(output.files));
            self.resources.inc_by(count(output.resources));
            self.bytes.inc_by(count(output.bytes));
        }
    }

    pub(super) fn cancel_unconfirmed(&self) {
        self.cancel_unconfirmed.inc();
    }

    pub(super) fn landed(&self, files: u64, bytes: u64) {
        self.landed_files.inc_by(files);
        self.landed_bytes.inc_by(bytes);
    }
}

/// The reasons that call for action, which are those with advice.
fn bad_news() -> impl Iterator<Item = Reason> {
    Reason::ALL.iter().copied().filter(|reason| !reason.advice().is_empty())
}
