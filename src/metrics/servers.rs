//! Metrics of FHIR servers: the status of their conditions.

use std::sync::Arc;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labels;
use crate::api::{ConditionStatus, ConditionType, FhirServer};
use crate::core::condition;

const CONDITIONS: [(ConditionType, &str); 4] = [
    (ConditionType::Ready, "Ready"),
    (ConditionType::Authenticated, "Authenticated"),
    (ConditionType::StorageAccessible, "StorageAccessible"),
    (ConditionType::Stalled, "Stalled"),
];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

#[derive(Debug)]
pub(super) struct Servers(Family<Labels<2>, Gauge>);

impl Servers {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self(Family::default());
        r.register("servers", "FhirServers, by a condition and its status", all.0.clone());
        all.count(&[]);
        all
    }

    /// Sets the gauges of the existing servers. A condition that a server lacks counts as Unknown.
    pub(super) fn count(&self, servers: &[Arc<FhirServer>]) {
        for (type_, name) in CONDITIONS {
            for wanted in STATUSES {
                let count = servers.iter().filter(|server| status_of(server, type_) == wanted).count();
                let gauge = self.0.get_or_create(&[("condition", name), ("status", wanted)]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}

fn status_of(server: &FhirServer, type_: ConditionType) -> &'static str {
    let conditions = server.status.as_ref().map(|status| status.conditions.as_slice());
    match condition::find(conditions.unwrap_or_default(), type_).map(|c| c.status) {
        Some(ConditionStatus::True) => "True",
        Some(ConditionStatus::False) => "False",
        Some(ConditionStatus::Unknown) | None => "Unknown",
    }
}
