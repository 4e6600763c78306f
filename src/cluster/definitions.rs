//! Waits until the custom resource definitions are installed, instead of exiting without them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use tracing::{info, warn};

use super::call::{CallError, call};
use crate::api::{GROUP, VERSION};

/// How often the API server is asked.
const EVERY: Duration = Duration::from_secs(2);
/// The resources that must be served. The API server serves a kind once its definition is established.
const NEEDED: [&str; 6] = [
    "fhirservers",
    "fhirservers/status",
    "fhirexports",
    "fhirexports/status",
    "fhirexportschedules",
    "fhirexportschedules/status",
];

/// Returns once all kinds are served. Calls `missing` with one sentence whenever what it waits for changes.
///
/// It reads the API group's discovery document, which every account may read, so it needs no right on
/// definitions.
pub async fn wait(client: &Client, mut missing: impl FnMut(&str)) {
    let version = format!("{GROUP}/{VERSION}");
    let mut last = String::new();
    loop {
        let waiting_for = match call(|| client.list_api_group_resources(&version)).await {
            Ok(served) => lacking(&served),
            Err(CallError::NotFound) => lacking(&APIResourceList::default()),
            Err(error) => Some(error.failure("list its resources").to_string()),
        };
        match waiting_for {
            None if last.is_empty() => return,
            None => {
                info!("the custom resource definitions are installed");
                return;
            }
            Some(waiting_for) if waiting_for != last => {
                warn!("{waiting_for}");
                missing(&waiting_for);
                last = waiting_for;
            }
            Some(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// A sentence that names the missing definitions, if any are missing.
fn lacking(served: &APIResourceList) -> Option<String> {
    let is_served = |name: &&&str| served.resources.iter().any(|resource| resource.name == **name);
    let lacking: Vec<String> = NEEDED
        .iter()
        .filter(|name| !is_served(name))
        .map(|name| name.split_once('/').map_or(*name, |(kind, _)| kind))
        .map(|kind| format!("{kind}.{GROUP}"))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "Waiting for the custom resource definitions {}: install the chart fhir-export-operator-crds, \
             or run `fhir-export-operator crds | kubectl apply --server-side -f -`.",
            lacking.join(" and ")
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn served(names: &[&str]) -> APIResourceList {
        serde_json::from_value(serde_json::json!({
            "groupVersion": "fhirexport.dev/v1alpha1",
            "resources": names.iter().map(|name| serde_json::json!({
                "name": name, "singularName": "", "namespaced": true, "kind": "K", "verbs": [],
            })).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn what_is_missing_is_named_once() {
        assert_eq!(lacking(&served(&NEEDED)), None);
        let text = lacking(&served(&NEEDED[..4])).unwrap();
        let one = "Waiting for the custom resource definitions fhirexportschedules.fhirexport.dev: ";
        assert!(text.starts_with(one), "{text}");
        let text = lacking(&APIResourceList::default()).unwrap();
        let all = "fhirexports.fhirexport.dev and fhirexportschedules.fhirexport.dev and fhirservers.fhirexport.dev";
        assert!(text.contains(all), "{text}");
    }
}
