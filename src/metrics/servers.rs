//! Metrics of FHIR servers: the status of their conditions, and which of them ask the operator to wait.

use std::sync::Arc;

use kube::ResourceExt;
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

/// The name of a `FhirServer` as labels, and further labels.
type NamedLabels<const N: usize> = [(&'static str, String); N];

#[derive(Debug)]
pub(super) struct Servers {
    counts: Family<Labels<2>, Gauge>,
    conditions: Family<NamedLabels<3>, Gauge>,
    throttled: Family<NamedLabels<2>, Gauge>,
}

impl Servers {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all =
            Self { counts: Family::default(), conditions: Family::default(), throttled: Family::default() };
        r.register("servers", "FhirServers, by a condition and its status", all.counts.clone());
        r.register(
            "server_condition",
            "Whether a condition of a FhirServer is True: 1, or 0; absent while it is Unknown",
            all.conditions.clone(),
        );
        r.register(
            "server_throttled",
            "Whether a FHIR server has asked the operator to wait: 1, or 0",
            all.throttled.clone(),
        );
        all.count(&[], |_| false);
        all
    }

    /// Sets the gauges of the existing servers, and removes those of others. A condition that a server lacks counts as
    /// Unknown.
    pub(super) fn count(&self, servers: &[Arc<FhirServer>], throttled: impl Fn(&FhirServer) -> bool) {
        self.conditions.clear();
        self.throttled.clear();
        for (type_, name) in CONDITIONS {
            for wanted in STATUSES {
                let count = servers.iter().filter(|server| status_of(server, type_) == wanted).count();
                let gauge = self.counts.get_or_create(&[("condition", name), ("status", wanted)]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        for server in servers {
            let named =
                [("namespace", server.namespace().unwrap_or_default()), ("server", server.name_any())];
            self.throttled.get_or_create(&named).set(throttled(server).into());
            for (type_, name) in CONDITIONS {
                let [namespace, name_of_server] = named.clone();
                let labels = [namespace, name_of_server, ("condition", name.to_owned())];
                let status = status_of(server, type_);
                if status != "Unknown" {
                    self.conditions.get_or_create(&labels).set((status == "True").into());
                }
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
