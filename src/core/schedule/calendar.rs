//! When runs are due: at the times of `schedule`, and at those of `incremental.fullSchedule`.

use jiff::Timestamp;

use super::slots::Slots;
use crate::api::FhirExportScheduleSpec;

/// The times at which a schedule makes runs.
pub(super) struct Calendar {
    regular: Slots,
    full: Option<Slots>,
}

impl Calendar {
    /// Parses the cron lines of a spec. The error is one sentence that names the field and what is wrong with it.
    pub(super) fn of(spec: &FhirExportScheduleSpec) -> Result<Self, String> {
        let zone = spec.time_zone.as_deref();
        let regular = Slots::parse(&spec.schedule, zone).map_err(|problem| problem.to_string())?;
        let full = spec.incremental.as_ref().and_then(|incremental| incremental.full_schedule.as_deref());
        let full = full.map(|cron| Slots::parse(cron, zone)).transpose();
        Ok(Self { regular, full: full.map_err(|problem| format!("incremental.fullSchedule: {problem}"))? })
    }

    /// The first time of either line after an instant.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let full = self.full.as_ref().and_then(|full| full.next_after(after));
        self.regular.next_after(after).into_iter().chain(full).min()
    }

    /// The newest time of either line that is after `handled` and not after `now`.
    pub(super) fn due(&self, now: Timestamp, handled: Timestamp) -> Option<Timestamp> {
        let full = self.full.as_ref().and_then(|full| full.last_at_or_before(now, handled));
        self.regular.last_at_or_before(now, handled).max(full)
    }

    /// Whether `fullSchedule` has a time after `last` and not after `now`.
    pub(super) fn full_due(&self, now: Timestamp, last: Timestamp) -> bool {
        self.full.as_ref().is_some_and(|full| full.last_at_or_before(now, last).is_some())
    }
}
