//! Missing or wrong objects in the cluster: a condition reports each, and after the repair the export continues
//! without further help.

use azure_fhir::{Access, KnownToken, Options};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::site::{Site, condition, shared};

#[tokio::test]
async fn an_export_without_a_server_waits_for_it() {
    let mut site = Site::without_server("missing", Options::default()).await;
    site.start_operator().await;
    site.export("early", json!({"level": "System", "container": "missing"}), json!({})).await;
    let object = site.until_condition("early", "Reconciling", "True", "ServerNotFound").await;
    let message = condition(&object, "Reconciling").unwrap().2;
    assert_eq!(
        message,
        format!("no FhirServer \"clinic\" in namespace {}; the export starts when it exists", site.namespace)
    );
    assert_eq!(object.status.unwrap().state_word(), Some("Waiting"));
    site.apply_server(json!({})).await;
    site.complete("early").await;
}

#[tokio::test]
async fn secrets_that_are_missing_wrong_or_not_labelled_are_told_and_repaired() {
    let options = Options {
        access: Access::Tokens(vec![KnownToken::exporter("good-token-1835")]),
        ..Options::default()
    };
    let mut site = Site::without_server("secrets", options).await;
    site.apply_server(json!({"auth": {"type": "BearerToken",
        "bearerToken": {"secretRef": {"name": "token", "key": "token"}}}}))
        .await;
    site.start_operator().await;
    site.export("patient", json!({"level": "System", "container": "secrets"}), json!({})).await;
    let object = site.until_condition("patient", "Reconciling", "True", "SecretNotFound").await;
    assert!(condition(&object, "Reconciling").unwrap().2.contains("token"));
    site.secret("token", json!({"other": "good-token-1835"}), true).await;
    site.until_condition("patient", "Reconciling", "True", "SecretKeyMissing").await;
    site.secret("token", json!({"token": "good-token-1835"}), false).await;
    let object = site.until_condition("patient", "Reconciling", "True", "CredentialNotLabelled").await;
    assert!(condition(&object, "Reconciling").unwrap().2.contains("fhirexport.dev/credential"));
    site.secret("token", json!({"token": "bad-token-6622"}), true).await;
    site.until_condition("patient", "ServerReachable", "False", "Unauthorized").await;
    site.secret("token", json!({"token": "good-token-1835"}), true).await;
    let object = site.complete("patient").await;
    assert_eq!(object.status.unwrap().attempts, Some(1));
}

#[tokio::test]
async fn allow_names_what_is_allowed_and_a_change_of_it_lets_the_export_go_on() {
    let site = Site::start("allow").await;
    site.apply_server(json!({"allow": {"levels": ["Group"], "groupIDs": ["cohort-*"], "types": ["Patient"],
        "containers": ["allow-*"]}}))
        .await;
    let good =
        json!({"level": "Group", "groupID": "cohort-42", "types": ["Patient"], "container": "allow-lake"});
    for (name, change, part) in [
        ("level", json!({"level": "System", "groupID": null}), "Group"),
        ("group", json!({"groupID": "all"}), "cohort-*"),
        ("type", json!({"types": ["Observation"]}), "Patient"),
        ("alltypes", json!({"types": null}), "Patient"),
        ("container", json!({"container": "lake"}), "allow-*"),
        ("parameter", json!({"parameters": [{"name": "_format", "value": "x"}]}), "none"),
    ] {
        let mut request = good.clone();
        crate::site::merge(&mut request, change);
        site.export(name, request, json!({})).await;
        let object = site.until_condition(name, "Accepted", "False", "NotAllowed").await;
        let message = condition(&object, "Accepted").unwrap().2;
        assert!(message.contains(part), "{name}: {message}");
        assert_eq!(condition(&object, "Stalled").unwrap().0, "True", "{name}");
    }
    site.export("good", good, json!({})).await;
    site.complete("good").await;
    assert_eq!(site.kick_offs(), 1);
    site.apply_server(json!({})).await;
    site.complete("container").await;
}

#[tokio::test]
async fn another_namespace_must_be_admitted() {
    let mut site = Site::without_server("consumer", Options::default()).await;
    let platform = Site::without_server("platform", Options::default()).await;
    platform.apply_server(json!({"url": site.fhir.url()})).await;
    site.flags = vec![format!("--watch-namespaces={},{}", site.namespace, platform.namespace)];
    site.start_operator().await;
    let reference = json!({"serverRef": {"name": "clinic", "namespace": platform.namespace}});
    site.export("guest", json!({"level": "System", "container": "consumer"}), reference).await;
    let object = site.until_condition("guest", "Accepted", "False", "NamespaceNotAllowed").await;
    assert!(condition(&object, "Accepted").unwrap().2.contains("consumers"));
    platform
        .apply_server(json!({"url": site.fhir.url(), "consumers": {"namespaces": {"from": "Selector",
            "selector": {"matchLabels": {"fhir": "yes"}}}}}))
        .await;
    site.until_condition("guest", "Accepted", "False", "NamespaceNotAllowed").await;
    let namespaces: Api<Namespace> = Api::all(shared().await.kubernetes.client().await.unwrap());
    let label = json!({"metadata": {"labels": {"fhir": "yes"}}});
    namespaces.patch(&site.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    site.complete("guest").await;
}

#[tokio::test]
async fn what_the_server_cannot_do_fails_before_any_request() {
    let site = Site::start("cannot").await;
    for (name, request, part) in [
        ("comma", json!({"types": ["Patient"], "typeFilters": ["Patient?gender=female,male"]}), "comma"),
        ("elements", json!({"bulkData": {"elements": ["Patient.id"]}}), "elements"),
        ("history", json!({"level": "Patient", "includeAssociatedData": ["_history"]}), "level System"),
        ("filter", json!({"types": ["Patient"], "typeFilters": ["Observation?status=final"]}), "Observation"),
    ] {
        let mut whole = json!({"level": "System", "container": "cannot"});
        crate::site::merge(&mut whole, request);
        site.export(name, whole, json!({})).await;
        let object = site.failed(name, "UnsupportedByServer").await;
        let message = condition(&object, "Failed").unwrap().2;
        assert!(message.contains(part), "{name}: {message}");
    }
    let spec = site.server_spec(json!({"dialect": "BulkData"})).await;
    site.apply_server_named("bulk", spec).await;
    site.export("bulk", json!({"level": "System"}), json!({"serverRef": {"name": "bulk"}})).await;
    site.until("bulk", "kept from a server of the other dialect", |o| {
        condition(o, "Reconciling").is_some_and(|c| c.1 == "WrongDialect" && c.2.contains("dialect Azure"))
    })
    .await;
    assert_eq!(site.kick_offs(), 0);
}

/// An export at the head of the queue that turns out not to be allowed does not block those behind it.
#[tokio::test]
async fn a_refused_export_blocks_nobody_behind_it() {
    let mut site = Site::without_server("behind", Options::default()).await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 1}, "allow": {"levels": ["System"]}})).await;
    for n in 0..6 {
        let level = if n % 2 == 0 { "Patient" } else { "System" };
        site.export(&format!("n{n}"), json!({"level": level, "container": "behind"}), json!({})).await;
    }
    site.start_operator().await;
    for n in [1, 3, 5] {
        site.complete(&format!("n{n}")).await;
    }
    for n in [0, 2, 4] {
        site.until_condition(&format!("n{n}"), "Accepted", "False", "NotAllowed").await;
    }
}
