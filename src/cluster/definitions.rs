//! Waits until the custom resource definitions are installed and not older than this version of the operator.
//! Without them the operator would exit, and with older ones it would lose fields that they do not define.

use std::time::Duration;

use axum::http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use serde_json::Value;
use tracing::{info, warn};

use super::call::{CallError, call};
use crate::api::{GROUP, VERSION, crds};
use crate::core::definitions::Differences;

/// The interval between two requests to the API server.
const EVERY: Duration = Duration::from_secs(2);
/// How many times the API server is asked for schemas that it does not publish. It publishes them a moment after a
/// definition is established.
const UNPUBLISHED: u32 = 15;
/// The resources that must be served. The API server serves a kind once its definition is established.
const NEEDED: [&str; 6] = [
    "fhirservers",
    "fhirservers/status",
    "fhirexports",
    "fhirexports/status",
    "fhirexportschedules",
    "fhirexportschedules/status",
];

/// What the API server says of the definitions.
enum Found {
    /// All are installed, and this operator can work with them.
    Fit(Differences),
    /// The operator must wait. The sentence says what for.
    WaitFor(String),
    /// All are installed, but their schemas are not published, at least not yet.
    Unpublished,
    /// All are installed, but their schemas cannot be read, for this cause.
    Unread(String),
}

/// Returns once all kinds are served by definitions that are not older than this version. Calls `missing` with one
/// sentence whenever what it waits for changes.
///
/// It reads the API group's discovery and `OpenAPI` documents, which every account may read, so it needs no right on
/// definitions. If the API server does not give out the latter, it logs that and returns.
pub async fn wait(client: &Client, mut missing: impl FnMut(&str)) {
    let mut last = String::new();
    let mut tries = 0;
    loop {
        let found = match served(client).await {
            Some(waiting_for) => Found::WaitFor(waiting_for),
            None => published(client).await,
        };
        let unread = |why: &str| {
            warn!(
                "it is not known whether the custom resource definitions fit this version of the operator: {why}"
            );
        };
        match found {
            Found::Fit(differences) => {
                if let Some(newer) = differences.newer() {
                    warn!("{newer}");
                }
                break;
            }
            Found::Unread(why) => {
                unread(&why);
                break;
            }
            Found::Unpublished if tries == UNPUBLISHED => {
                unread("the API server does not publish their schemas");
                break;
            }
            Found::Unpublished => tries += 1,
            Found::WaitFor(waiting_for) if waiting_for != last => {
                warn!("{waiting_for}");
                missing(&waiting_for);
                last = waiting_for;
            }
            Found::WaitFor(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
    if !last.is_empty() {
        info!("the custom resource definitions are installed");
    }
}

/// A sentence that says what to wait for, unless all kinds are served.
async fn served(client: &Client) -> Option<String> {
    let version = format!("{GROUP}/{VERSION}");
    match call(|| client.list_api_group_resources(&version)).await {
        Ok(served) => lacking(&served),
        Err(CallError::NotFound) => lacking(&APIResourceList::default()),
        Err(error) => Some(error.failure("list its resources").to_string()),
    }
}

/// Compares the schemas that the API server publishes with those of this version.
async fn published(client: &Client) -> Found {
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let get = || async {
        let request = Request::get(&path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        client.request::<Value>(request).await
    };
    match call(get).await {
        Ok(document) => compared(&document),
        Err(CallError::NotFound) => Found::Unpublished,
        Err(error @ CallError::Unreachable(_)) => {
            Found::WaitFor(error.failure("publish its schemas").to_string())
        }
        Err(error) => Found::Unread(error.failure("read its schemas").to_string()),
    }
}

fn compared(document: &Value) -> Found {
    let own = match crds() {
        Ok(own) => own,
        Err(error) => return Found::Unread(format!("their own form cannot be made: {error}")),
    };
    let mut differences = Differences::default();
    for crd in own {
        let installed = schema(document, &crd.spec.names.kind);
        let version = crd.spec.versions.into_iter().find(|version| version.name == VERSION);
        let own = version.and_then(|v| serde_json::to_value(v.schema?.open_api_v3_schema?).ok());
        let (Some(own), Some(installed)) = (own, installed) else { return Found::Unpublished };
        differences.add(&crd.spec.names.plural, &own, installed);
    }
    differences.too_old().map_or(Found::Fit(differences), Found::WaitFor)
}

/// The schema of a kind in an `OpenAPI` document.
fn schema<'d>(document: &'d Value, kind: &str) -> Option<&'d Value> {
    let is_of_kind = |schema: &&Value| {
        let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        kinds.into_iter().flatten().any(|of| of.get("kind").and_then(Value::as_str) == Some(kind))
    };
    document.pointer("/components/schemas")?.as_object()?.values().find(is_of_kind)
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
