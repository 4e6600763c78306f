//! Metrics, with labels from fixed sets only: never a name, a URL or a message. The one exception are schedules, which
//! are few and whose alerts must say which one it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::api::{ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirExportStatus, Reason};

type Labels<const N: usize> = [(&'static str, &'static str); N];
/// Namespace and name of a schedule.
type Schedule = [(&'static str, String); 2];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The kinds that are reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `FhirExport`.
    FhirExport,
    /// `FhirServer`.
    FhirServer,
    /// `FhirExportSchedule`.
    FhirExportSchedule,
}

impl Kind {
    /// As in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FhirExport => "FhirExport",
            Self::FhirServer => "FhirServer",
            Self::FhirExportSchedule => "FhirExportSchedule",
        }
    }
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done that was due.
    Done,
    /// The object changed meanwhile; it is looked at again.
    Conflict,
    /// The API server failed or refused.
    Failed,
    /// A programming error.
    Panicked,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// What a request to a FHIR server was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The kick-off.
    KickOff,
    /// A look at a job.
    Poll,
    /// A cancel.
    Cancel,
    /// The `CapabilityStatement`.
    Metadata,
    /// Whether the identity may export.
    Access,
    /// A file.
    File,
    /// How many resources of a type there are.
    Count,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::KickOff => "kickoff",
            Self::Poll => "poll",
            Self::Cancel => "cancel",
            Self::Metadata => "metadata",
            Self::Access => "access",
            Self::File => "file",
            Self::Count => "count",
        }
    }
}

/// The words of `status.state`; anything else counts as `New`.
const STATES: [&str; 13] = [
    "New",
    "Waiting",
    "Queued",
    "Suspended",
    "Starting",
    "Uncertain",
    "Running",
    "Landing",
    "Verifying",
    "Cancelling",
    "Complete",
    "Failed",
    "Cancelled",
];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    reconcile_seconds: Histograms<1>,
    exports: Family<Labels<1>, Gauge>,
    exports_finished: Family<Labels<2>, Counter>,
    export_duration: Histograms<1>,
    requests: Family<Labels<2>, Counter>,
    request_seconds: Histograms<1>,
    status_writes: Family<Labels<1>, Counter>,
    cancel_unconfirmed: Counter,
    landed_files: Counter,
    landed_bytes: Counter,
    schedule_last_success: Family<Schedule, Gauge>,
    schedule_last_status: Family<Schedule, Gauge>,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        let reconciles = Family::default();
        let reconcile_seconds: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 9)));
        let exports = Family::default();
        let exports_finished = Family::default();
        // From ten seconds to a month.
        let export_duration: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(10.0, 4.0, 10)));
        let requests = Family::default();
        let request_seconds: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 3.0, 9)));
        let status_writes = Family::default();
        let cancel_unconfirmed = Counter::default();
        let (landed_files, landed_bytes): (Counter, Counter) = Default::default();
        let (schedule_last_success, schedule_last_status): (
            Family<Schedule, Gauge>,
            Family<Schedule, Gauge>,
        ) = Default::default();
        let build: Family<Labels<1>, Gauge> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);

        let mut registry = Registry::with_prefix("fhir_export");
        let r = &mut registry;
        r.register("reconciles", "Looks at an object, by how they ended", reconciles.clone());
        r.register("reconcile_seconds", "How long they took", reconcile_seconds.clone());
        r.register("exports", "FhirExports, by status.state", exports.clone());
        r.register("exports_finished", "FhirExports that ended, by reason", exports_finished.clone());
        r.register("export_duration_seconds", "From start to end of a FhirExport", export_duration.clone());
        r.register("http_requests", "Requests to FHIR servers, by answer", requests.clone());
        r.register("http_request_seconds", "How long they took", request_seconds.clone());
        r.register("status_writes", "Writes of status", status_writes.clone());
        r.register("cancel_unconfirmed", "Cancels that were given up", cancel_unconfirmed.clone());
        r.register("landed_files", "Files that the operator landed", landed_files.clone());
        r.register(
            "landed_bytes",
            "Bytes of files that the operator wrote to storage accounts",
            landed_bytes.clone(),
        );
        r.register(
            "schedule_last_success_timestamp_seconds",
            "When the last run of a FhirExportSchedule that succeeded ended",
            schedule_last_success.clone(),
        );
        r.register(
            "schedule_last_status",
            "Whether the last run of a FhirExportSchedule that ended succeeded: 1, or 0",
            schedule_last_status.clone(),
        );
        r.register("build_info", "The version of the operator", build);
        Arc::new(Self {
            registry,
            reconciles,
            reconcile_seconds,
            exports,
            exports_finished,
            export_duration,
            requests,
            request_seconds,
            status_writes,
            cancel_unconfirmed,
            landed_files,
            landed_bytes,
            schedule_last_success,
            schedule_last_status,
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

    /// One request to a FHIR server ended; `status` is absent if there was no answer.
    pub fn requested(&self, operation: Operation, status: Option<u16>, took: Duration) {
        let class = match status.map(|code| code / 100) {
            Some(1 | 2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "none",
        };
        self.requests.get_or_create(&[("op", operation.as_str()), ("code_class", class)]).inc();
        self.request_seconds.get_or_create(&[("op", operation.as_str())]).observe(took.as_secs_f64());
    }

    /// A status was written.
    pub fn status_written(&self, kind: Kind) {
        self.status_writes.get_or_create(&[("kind", kind.as_str())]).inc();
    }

    /// A cancel was given up.
    pub fn cancel_unconfirmed(&self) {
        self.cancel_unconfirmed.inc();
    }

    /// Files and bytes landed.
    pub fn landed(&self, files: u64, bytes: u64) {
        self.landed_files.inc_by(files);
        self.landed_bytes.inc_by(bytes);
    }

    /// The status of an export was written over this one: counts it if that ended it.
    pub fn export_moved(&self, before: Option<&FhirExportStatus>, now: &FhirExportStatus) {
        let Some(end) = now.completion_time else { return };
        if before.is_some_and(|status| status.completion_time.is_some()) {
            return;
        }
        let (outcome, reason) = ending(now);
        self.exports_finished.get_or_create(&[("outcome", outcome), ("reason", reason)]).inc();
        if let Some(start) = now.start_time {
            self.export_duration.get_or_create(&[("outcome", outcome)]).observe(seconds(start, end));
        }
    }

    /// Counts the exports that there are.
    pub fn count_exports(&self, exports: &[Arc<FhirExport>]) {
        for state in STATES {
            let count = exports.iter().filter(|export| state_of(export) == state).count();
            self.exports.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Tells of the schedules that there are, and of no others.
    pub fn tell_schedules(&self, schedules: &[Arc<FhirExportSchedule>]) {
        self.schedule_last_success.clear();
        self.schedule_last_status.clear();
        for schedule in schedules {
            let Some(status) = &schedule.status else { continue };
            let labels =
                [("namespace", schedule.namespace().unwrap_or_default()), ("schedule", schedule.name_any())];
            if let Some(time) = status.last_successful_time {
                self.schedule_last_success.get_or_create(&labels).set(time.as_second());
            }
            let last = status.conditions.iter().find(|c| c.is(ConditionType::LastRunSucceeded));
            if let Some(last) = last.filter(|c| c.status != ConditionStatus::Unknown) {
                self.schedule_last_status.get_or_create(&labels).set(i64::from(last.is_true()));
            }
        }
    }
}

fn state_of(export: &FhirExport) -> &'static str {
    let state = export.status.as_ref().and_then(|status| status.state.as_deref());
    STATES.into_iter().find(|known| Some(*known) == state).unwrap_or("New")
}

fn ending(status: &FhirExportStatus) -> (&'static str, &'static str) {
    let of = |type_| status.conditions.iter().find(|c| c.is(type_) && c.is_true());
    let (outcome, condition) = match of(ConditionType::Complete) {
        Some(complete) => ("complete", Some(complete)),
        None => ("failed", of(ConditionType::Failed)),
    };
    let known = condition.and_then(|c| Reason::ALL.iter().find(|reason| c.because(**reason)));
    (outcome, known.map_or("Unknown", |reason| reason.as_str()))
}

fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64().max(0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::{Condition, ConditionStatus};

    fn ended(type_: ConditionType, reason: &str) -> FhirExportStatus {
        let at: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        FhirExportStatus {
            start_time: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            completion_time: Some(at),
            conditions: vec![Condition {
                type_: type_.to_string(),
                status: ConditionStatus::True,
                observed_generation: None,
                last_transition_time: at,
                reason: reason.into(),
                message: String::new(),
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_end_is_counted_once_and_by_a_known_reason() {
        let metrics = Metrics::new();
        let complete = ended(ConditionType::Complete, "Exported");
        metrics.export_moved(None, &complete);
        metrics.export_moved(Some(&complete), &complete);
        metrics.export_moved(None, &ended(ConditionType::Failed, "Patient/1 was not found"));
        metrics.export_moved(None, &FhirExportStatus::default());
        let text = metrics.text();
        for line in [
            r#"fhir_export_exports_finished_total{outcome="complete",reason="Exported"} 1"#,
            r#"fhir_export_exports_finished_total{outcome="failed",reason="Unknown"} 1"#,
            r#"fhir_export_export_duration_seconds_sum{outcome="complete"} 60.0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("Patient"));
    }

    #[test]
    fn schedules_are_told_by_name_and_go_with_their_objects() {
        let schedule = |name: &str, status: serde_json::Value| {
            Arc::new(
                serde_json::from_value::<FhirExportSchedule>(serde_json::json!({
                    "metadata": { "name": name, "namespace": "ns" },
                    "spec": { "schedule": "0 2 * * *", "template": { "spec": { "serverRef": { "name": "clinic" },
                        "request": { "level": "System" } } } },
                    "status": status,
                }))
                .unwrap(),
            )
        };
        let ended = |status: &str| {
            serde_json::json!({ "lastSuccessfulTime": "2026-01-01T00:00:00Z", "conditions": [{ "type":
                "LastRunSucceeded", "status": status, "reason": "X", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
        };
        let metrics = Metrics::new();
        metrics.tell_schedules(&[
            schedule("good", ended("True")),
            schedule("bad", ended("False")),
            schedule("new", ended("Unknown")),
            schedule("unseen", serde_json::json!({})),
        ]);
        let text = metrics.text();
        for line in [
            r#"fhir_export_schedule_last_success_timestamp_seconds{namespace="ns",schedule="good"} 1767225600"#,
            r#"fhir_export_schedule_last_status{namespace="ns",schedule="good"} 1"#,
            r#"fhir_export_schedule_last_status{namespace="ns",schedule="bad"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"last_status{namespace="ns",schedule="new"}"#));
        assert!(!text.contains("unseen"));
        metrics.tell_schedules(&[]);
        assert!(!metrics.text().contains("good"));
    }

    #[test]
    fn requests_are_told_apart_by_class() {
        let metrics = Metrics::new();
        for status in [Some(202), Some(200), Some(429), Some(503), None] {
            metrics.requested(Operation::Poll, status, Duration::from_millis(5));
        }
        let text = metrics.text();
        for (class, count) in [("2xx", 2), ("4xx", 1), ("5xx", 1), ("none", 1)] {
            let line =
                format!(r#"fhir_export_http_requests_total{{op="poll",code_class="{class}"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
