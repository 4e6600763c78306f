//! The chart installed for two namespaces, one of which holds the credentials: Roles there, and no rights elsewhere.

use azure_fhir::{Failure, Script, State};
use serde_json::json;

use crate::platform::Platform;
use crate::release::{NAMESPACE, Release, export, namespace, server};
use crate::rights;

#[tokio::test]
async fn two_namespaces_are_served_and_no_other() {
    let platform = Platform::start().await;
    let before = [
        namespace(NAMESPACE, &json!({})),
        platform.authorities(),
        namespace("fhir", &json!({})),
        namespace("research", &json!({"export": "yes"})),
        namespace("elsewhere", &json!({"export": "yes"})),
    ];
    let values = platform.values(&json!({
        "image": {"repository": "registry.example/fhir-export-operator"}, "watchNamespaces": ["research", "fhir"],
        "credentialNamespaces": ["fhir"],
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1},
    }));
    let mut release = Release::install(&before, &values).await;
    let fhir = platform.fhir(&release).await;
    platform.connect(&release, &fhir.tls_url().unwrap()).await;
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

    let brief = json!({"ttlSecondsAfterFinished": 1});
    release.apply(&export("research", "brief", "fhir/clinic", &request("brief"), &brief)).await;
    release.kubectl("wait --for=delete fexp/brief -n research --timeout=90s").await;
    release.run_by_schedule("research", "fhir/clinic", "yearly").await;
    fhir.script(Script::fails(Failure::Unknown).container("twice"));
    release.apply(&export("research", "twice", "fhir/clinic", &request("twice"), &json!({}))).await;
    release.until("fexp/twice", "research", "Complete=True Exported").await;

    fhir.script(Script::stuck().container("last"));
    release.apply(&export("research", "last", "fhir/clinic", &request("last"), &json!({}))).await;
    release.until("fexp/last", "research", "Reconciling=False KickedOff").await;
    let refused = release.refused();
    assert!(refused.is_empty(), "{refused:#?}");
    let given = rights::of(&release).await;

    // Where the operator may not read credentials, the condition of a FhirServer says so.
    release.apply(&release.storage_secret("research")).await;
    let spec = json!({"url": fhir.url(), "dialect": "Azure", "allowInsecureHTTP": true, "auth": {"type": "None"},
        "storage": release.storage()});
    release.apply(&server("research", "blind", &spec)).await;
    release.until("fserver/blind", "research", "StorageAccessible=False DependencyMissing").await;
    let said =
        release.kubectl("get fserver/blind -n research -o jsonpath={.status.conditions[*].message}").await;
    assert!(said.contains("the operator lacks the right to get secrets in namespace research"), "{said}");

    release.kubectl("delete fexp/unseen -n elsewhere").await;
    let notes =
        release.shell(&format!("helm get notes fhir-export-operator -n {NAMESPACE}")).await.ok().unwrap();
    let command = notes.lines().find(|l| l.contains("helm uninstall")).unwrap();
    release.shell(command).await.ok().unwrap();
    assert!(matches!(fhir.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    release.nothing_is_stranded().await;
    rights::are_those_used(&mut release, &given, |entry| {
        entry.resource == "secrets" && entry.namespace == "research"
    })
    .await;
}
