//! Waits for the custom resource definitions, instead of ending without them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use tracing::{info, warn};

use super::call::{CallError, call};
use crate::api::{GROUP, VERSION};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(2);
/// What must be served. The API server serves a kind once its definition is established.
const NEEDED: [&str; 6] = [
    "fhirservers",
    "fhirservers/status",
    "fhirexports",
    "fhirexports/status",
    "fhirexportschedules",
    "fhirexportschedules/status",
];

/// Returns once all kinds are served. `missing` is told, whenever that changes, what is waited for.
///
/// Asks for what every account may ask for, so that no right on definitions is needed.
pub async fn wait(client: &Client, mut missing: impl FnMut(&str)) {
    let version = format!("{GROUP}/{VERSION}");
    let mut last = String::new();
    loop {
        let told = match call(|| client.list_api_group_resources(&version)).await {
            Ok(served) => lacking(&served),
            Err(CallError::NotFound) => lacking(&APIResourceList::default()),
            Err(error) => Some(error.failure("list its resources").to_string()),
        };
        match told {
            None if last.is_empty() => return,
            None => {
                info!("the custom resource definitions are there");
                return;
            }
            Some(told) if told != last => {
                warn!("{told}");
                missing(&told);
                last = told;
            }
            Some(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// One sentence, if something is lacking.
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
