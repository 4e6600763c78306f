//! The chart with no value but the image. In a namespace where the operator may not read credentials, the condition of
//! a FhirServer says so in one sentence. The FhirServer works once the owner of the namespace applies the documented
//! Role.

use azure_fhir::{Access, KnownToken, Options};
use serde_json::{Value, json};
use stage::AuditEntry;

use crate::platform::Platform;
use crate::release::{NAMESPACE, PATIENCE, Release, export, namespace, secret, server};

/// The reason and the message of the condition `Ready` of a FhirServer.
async fn ready(release: &Release, name: &str) -> (String, String) {
    let said = release.kubectl(&format!("get fserver {name} -n research -o json")).await;
    let server: Value = serde_json::from_str(&said).unwrap();
    let conditions = server["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c["type"] == "Ready").unwrap_or_default();
    let word = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    (word("reason"), word("message"))
}

async fn refused(release: &Release, name: &str, right: &str, what: &str) {
    let sentence = format!(
        "the operator lacks the right to {right} in namespace research, so it cannot {what}; ask its owner to add \
         research to credentialNamespaces of the chart, or apply the Role in the chart's README there"
    );
    let result = stage::wait_for(&format!("{name} to be told: {sentence}"), PATIENCE, || async {
        let (reason, message) = ready(release, name).await;
        let is_told = message.contains(&sentence);
        if is_told { Ok(()) } else { Err(format!("{reason}: {message}")) }
    })
    .await;
    result.unwrap_or_else(|error| panic!("{error}\n--- the operator's log:\n{}", release.operator.log_end()));
}

#[tokio::test]
async fn a_server_without_the_role_is_told_which_right_is_missing_and_works_with_it() {
    let platform = Platform::start().await;
    let before =
        [namespace(NAMESPACE, &json!({})), platform.authorities(), namespace("research", &json!({}))];
    let values = platform.values(&json!({
        "image": {"repository": "registry.example/fhir-export-operator"},
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1},
    }));
    let release = Release::install(&before, &values).await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    let token =
        json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}});
    let clinic = json!({"url": fhir.url(), "dialect": "Azure", "allowInsecureHTTP": true, "auth": token,
        "storage": release.storage(), "limits": {"minPollSeconds": 1, "maxPollSeconds": 1}});
    release.apply(&secret("research", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("research")).await;
    release.apply(&server("research", "clinic", &clinic)).await;
    refused(&release, "clinic", "get secrets", "read Secret research/token").await;
    // The operator still serves exports in the namespace.
    let request = json!({"level": "System", "container": "research"});
    release.apply(&export("research", "early", "clinic", &request, &json!({}))).await;
    release.until("fexp/early", "research", "Accepted=True Allowed").await;

    // This Role permits reading ServiceAccounts, but not requesting their tokens.
    release.kubectl("create role half -n research --verb=get --resource=serviceaccounts,configmaps").await;
    let half =
        "create rolebinding half -n research --role=half --serviceaccount=fhir-export:fhir-export-operator";
    release.kubectl(half).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "exporter", "namespace": "research",
        "labels": {"fhirexport.dev/credential": "true"},
        "annotations": {"azure.workload.identity/client-id": CLIENT}}});
    release.apply(&account).await;
    let mut ca = platform.authorities();
    ca["metadata"]["namespace"] = "research".into();
    release.apply(&ca).await;
    let by_entra = platform.fhir(&release).await;
    let url = by_entra.tls_url().unwrap();
    let tls = json!({"caBundleRef": {"kind": "ConfigMap", "name": "authorities", "key": "ca.crt"}});
    let federated = json!({"url": url, "dialect": "Azure", "tls": tls, "auth": {"type": "Entra", "entra": {
        "type": "WorkloadIdentity", "tenantID": TENANT, "clientID": CLIENT,
        "workloadIdentity": {"serviceAccountRef": {"name": "exporter"}}}}});
    release.apply(&server("research", "federated", &federated)).await;
    let what = "request a token of ServiceAccount research/exporter";
    refused(&release, "federated", "create serviceaccounts/token", what).await;

    release.kubectl("apply -n research -f examples/gitops/credentials-role.yaml").await;
    release.until("fserver/clinic", "research", "Ready=True ProbeSucceeded").await;
    release.until("fexp/early", "research", "Complete=True Exported").await;
    let not_credentials: Vec<_> = release.refused().into_iter().filter(|e| !is_credential(e)).collect();
    assert!(not_credentials.is_empty(), "{not_credentials:#?}");
}

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "99999999-8888-7777-6666-555555555555";

fn is_credential(entry: &AuditEntry) -> bool {
    ["secrets", "serviceaccounts"].contains(&entry.resource.as_str()) && entry.namespace == "research"
}
