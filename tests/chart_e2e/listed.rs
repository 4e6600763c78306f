//! The chart for two namespaces, of which one holds the credentials: Roles there, and nothing anywhere else.

use azure_fhir::{Options, Script, State};
use serde_json::json;

use crate::release::{NAMESPACE, Release, export, namespace, server};

#[tokio::test]
async fn two_namespaces_are_served_and_no_other() {
    let before = [
        namespace("fhir", &json!({})),
        namespace("research", &json!({"export": "yes"})),
        namespace("elsewhere", &json!({"export": "yes"})),
    ];
    let values = json!({
        "watchNamespaces": ["research", "fhir"], "credentialNamespaces": ["fhir"],
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1},
    });
    let release = Release::install(&before, &values).await;
    let fhir = release.fhir(Options::default()).await;
    let spec = json!({
        "url": fhir.url(), "dialect": "Azure", "allowInsecureHTTP": true, "auth": {"type": "None"},
        "storage": release.storage(), "limits": {"minPollSeconds": 1, "maxPollSeconds": 1},
        "consumers": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"export": "yes"}}}},
    });
    release.apply(&release.storage_secret("fhir")).await;
    release.apply(&server("fhir", "clinic", &spec)).await;
    release.until("fserver/clinic", "fhir", "Ready=True ProbeSucceeded").await;
    let request = |container: &str| json!({"level": "System", "container": container});
    release.apply(&export("elsewhere", "unseen", "fhir/clinic", &request("unseen"), &json!({}))).await;
    release.apply(&export("fhir", "own", "clinic", &request("own"), &json!({}))).await;
    release.apply(&export("research", "guest", "fhir/clinic", &request("guest"), &json!({}))).await;
    release.until("fexp/own", "fhir", "Complete=True Exported").await;
    release.until("fexp/guest", "research", "Complete=True Exported").await;
    release.until("fexp/guest", "research", "Verified=True CountsMatch").await;
    let unseen = release.kubectl("get fexp/unseen -n elsewhere -o jsonpath={.status.conditions}").await;
    assert_eq!(unseen, "", "nobody serves that namespace");

    fhir.script(Script::stuck().container("last"));
    release.apply(&export("research", "last", "fhir/clinic", &request("last"), &json!({}))).await;
    release.until("fexp/last", "research", "Reconciling=False KickedOff").await;
    let refused = release.refused();
    assert!(refused.is_empty(), "{refused:#?}");

    // A FhirServer where the operator may read no credentials is told so.
    release.apply(&release.storage_secret("research")).await;
    release.apply(&server("research", "blind", &spec)).await;
    release.until("fserver/blind", "research", "StorageAccessible=False DependencyMissing").await;
    let said =
        release.kubectl("get fserver/blind -n research -o jsonpath={.status.conditions[*].message}").await;
    assert!(said.contains("the operator may not read Secret research/storage; have its owner add"), "{said}");

    release.kubectl("delete fexp/unseen -n elsewhere").await;
    let notes =
        release.shell(&format!("helm get notes fhir-export-operator -n {NAMESPACE}")).await.ok().unwrap();
    let command = notes.lines().find(|l| l.contains("helm uninstall")).unwrap();
    release.shell(command).await.ok().unwrap();
    assert!(matches!(fhir.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    release.nothing_is_stranded().await;
}
