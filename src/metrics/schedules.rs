//! Metrics of schedules. They have names as labels: schedules are few, and an alert must say which one it is about.

use std::sync::Arc;

use kube::ResourceExt;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::{ConditionStatus, ConditionType, FhirExportSchedule};
use crate::core::condition;

/// The labels of a series: namespace and name of the schedule.
type ScheduleLabels = [(&'static str, String); 2];

#[derive(Debug)]
pub(super) struct Schedules {
    last_success: Family<ScheduleLabels, Gauge>,
    last_status: Family<ScheduleLabels, Gauge>,
    ready: Family<ScheduleLabels, Gauge>,
}

impl Schedules {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self {
            last_success: Family::default(),
            last_status: Family::default(),
            ready: Family::default(),
        };
        r.register(
            "schedule_last_success_timestamp_seconds",
            "When the last run of a FhirExportSchedule that succeeded ended; before the first one, when the schedule \
             was made",
            all.last_success.clone(),
        );
        r.register(
            "schedule_last_status",
            "Whether the last run of a FhirExportSchedule that ended succeeded: 1, or 0",
            all.last_status.clone(),
        );
        r.register(
            "schedule_ready",
            "Whether a FhirExportSchedule can make runs: 1, or 0; absent before the operator has looked at it",
            all.ready.clone(),
        );
        all
    }

    /// Replaces all series with those of the schedules that exist.
    pub(super) fn tell(&self, schedules: &[Arc<FhirExportSchedule>]) {
        self.last_success.clear();
        self.last_status.clear();
        self.ready.clear();
        for schedule in schedules {
            let labels =
                [("namespace", schedule.namespace().unwrap_or_default()), ("schedule", schedule.name_any())];
            let status = schedule.status.as_ref();
            let created = schedule.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let success = status.and_then(|status| status.last_successful_time).or(created);
            if let Some(time) = success {
                self.last_success.get_or_create(&labels).set(time.as_second());
            }
            let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
            let last = condition::find(conditions, ConditionType::LastRunSucceeded);
            if let Some(last) = last.filter(|c| c.status != ConditionStatus::Unknown) {
                self.last_status.get_or_create(&labels).set(last.is_true().into());
            }
            if let Some(ready) = condition::find(conditions, ConditionType::Ready) {
                self.ready.get_or_create(&labels).set(ready.is_true().into());
            }
        }
    }
}
