//! Mistakes of new users that `kubectl apply` rejects, with a message that names the field and the rule.

use azure_fhir::Options;
use serde_json::{Value, json};
use stage::Output;

use crate::site::{Site, shared};

async fn apply(site: &Site, object: &Value) -> Output {
    let tool = shared().await.kubernetes.kubectl(["apply", "-n", &site.namespace, "-f", "-"]).await.unwrap();
    tool.stdin(&object.to_string()).unwrap().run().await.unwrap()
}

/// Asserts that the API server rejects the object, and that its message contains `words`.
async fn refused(site: &Site, kind: &str, name: &str, spec: &Value, words: &[&str]) {
    let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
        "spec": spec});
    let output = apply(site, &object).await;
    assert!(!output.succeeded(), "{spec} was taken");
    for word in words {
        assert!(output.stderr.contains(word), "{spec}: {word:?} is not in {}", output.stderr);
    }
}

#[tokio::test]
async fn kubectl_apply_names_the_field_and_the_rule() {
    let site = Site::without_server("apply", Options::default()).await;
    let rows: [(Value, &[&str]); 10] = [
        (
            json!({"level": "Group"}),
            &["spec.request.groupID: Required value: groupID is required when level is Group"],
        ),
        (
            json!({"level": "Group", "groupID": ".."}),
            &["spec.request.groupID: Invalid value: \"..\": use a FHIR id"],
        ),
        (
            json!({"level": "System", "typeFilters": ["Patient?active=true"]}),
            &["spec.request.types: Required value: types is required when typeFilters are given"],
        ),
        (
            json!({"level": "System", "container": "My_Data"}),
            &[
                "spec.request.container: Invalid value: \"My_Data\": use 3 to 63 lower-case letters, digits and single \
                 hyphens",
            ],
        ),
        (
            json!({"level": "System", "since": "yesterday"}),
            &[
                "spec.request.since: Invalid value: \"yesterday\": use an instant with a time zone, such as 2026-",
            ],
        ),
        (
            json!({"level": "Group", "container": "My_Data"}),
            &["* spec.request.groupID: Required value", "* spec.request.container: Invalid value"],
        ),
        (
            json!({"level": "Grp"}),
            &["spec.request.level: Unsupported value: \"Grp\"", "\"System\", \"Patient\", \"Group\""],
        ),
        (json!({}), &["spec.request.level: Required value"]),
        (json!({"level": "System", "typs": ["Patient"]}), &["unknown field \"spec.request.typs\""]),
        (
            json!({"level": "System", "parameters": [{"name": "_since", "value": "x"}]}),
            &["spec.request.parameters: Forbidden: this parameter has a field of its own in spec.request"],
        ),
    ];
    for (request, words) in rows {
        refused(
            &site,
            "FhirExport",
            "bad",
            &json!({"serverRef": {"name": "clinic"}, "request": request}),
            words,
        )
        .await;
    }
    let token = json!({"secretRef": {"name": "token", "key": "token"}});
    let rows: [(Value, &[&str]); 6] = [
        (
            json!({"url": "http://x.example", "auth": {"type": "None"}}),
            &["spec.url: Invalid value: use https (allowInsecureHTTP: true permits http, for tests only)"],
        ),
        (
            json!({"auth": {"type": "None", "bearerToken": token}}),
            &[
                "spec.auth.bearerToken: Invalid value: bearerToken is required when type is BearerToken, and forbidden \
                 otherwise",
            ],
        ),
        (
            json!({"auth": {"type": "BearerToken", "bearerToken": token, "basic": {"secretRef": {"name": "x"}}}}),
            &[
                "spec.auth.basic: Invalid value: basic is required when type is Basic, and forbidden otherwise",
            ],
        ),
        (json!({"auth": {"bearerToken": token}}), &["spec.auth.type: Required value"]),
        (
            json!({"auth": {"type": "Entra"}}),
            &["spec.auth.entra: Invalid value: entra is required when type is Entra"],
        ),
        (json!({}), &["spec.auth: Required value"]),
    ];
    for (change, words) in rows {
        let mut spec = json!({"url": "https://x.example", "dialect": "Azure"});
        crate::site::merge(&mut spec, change);
        refused(&site, "FhirServer", "bad", &spec, words).await;
    }
}

#[tokio::test]
async fn kubectl_apply_does_not_change_what_was_asked_for() {
    let site = Site::without_server("change", Options::default()).await;
    let spec = |server: &str, group: &str, cancel: bool| {
        json!({"serverRef": {"name": server},
        "request": {"level": "Group", "groupID": group}, "cancel": cancel})
    };
    site.export("run", json!({"level": "Group", "groupID": "a"}), json!({"cancel": true})).await;
    for (spec, words) in [
        (
            spec("clinic", "b", true),
            "spec.request: Forbidden: a request cannot be changed: create a new FhirExport",
        ),
        (
            spec("other", "a", true),
            "spec.serverRef: Forbidden: serverRef cannot be changed: create a new FhirExport",
        ),
        (
            spec("clinic", "a", false),
            "spec.cancel: Forbidden: cancel cannot be taken back: create a new FhirExport",
        ),
    ] {
        refused(&site, "FhirExport", "run", &spec, &[words]).await;
    }
    let server = site.server_spec(json!({})).await;
    site.apply_server_named("clinic", server.clone()).await;
    for (change, words) in [
        (
            json!({"url": "http://127.0.0.1:1"}),
            "spec.url: Forbidden: url cannot be changed: create a new FhirServer",
        ),
        (json!({"dialect": "BulkData"}), "spec.dialect: Forbidden: dialect cannot be changed"),
    ] {
        let mut spec = server.clone();
        crate::site::merge(&mut spec, change);
        refused(&site, "FhirServer", "clinic", &spec, &[words]).await;
    }
}
