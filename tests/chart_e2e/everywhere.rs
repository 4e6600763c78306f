//! The chart as the README installs it first: for all namespaces.

use std::sync::Arc;

use azure_fhir::{Access, Entra, EntraOptions, KnownToken, Options, Script, Secret, State, TestCa};
use serde_json::{Value, json};

use crate::release::{NAMESPACE, PATIENCE, Release, export, namespace, schedule, secret, server};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "99999999-8888-7777-6666-555555555555";

/// The platform team's namespace, with a connection by a federated ServiceAccount that others may use.
async fn platform(release: &Release, url: &str, pem: &str) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "exporter", "namespace": "fhir",
        "labels": {"fhirexport.dev/credential": "true"}, "annotations": {"azure.workload.identity/client-id": CLIENT}}});
    let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": "fhir"}, "data": {"ca.crt": pem}});
    let spec = json!({
        "url": url, "dialect": "Azure", "allowInsecureHTTP": true, "storage": release.storage(),
        "tls": {"caBundleRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}},
        "auth": {"type": "Entra", "entra": {"type": "WorkloadIdentity", "tenantID": TENANT, "clientID": CLIENT,
            "workloadIdentity": {"serviceAccountRef": {"name": "exporter"}}}},
        "consumers": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"export": "yes"}}}},
        "limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 20},
    });
    for object in [account, ca, release.storage_secret("fhir"), server("fhir", "clinic", &spec)] {
        release.apply(&object).await;
    }
}

/// A namespace of its own, with a token from a Secret.
async fn lab(release: &Release, url: &str) {
    let spec = json!({
        "url": url, "dialect": "Azure", "allowInsecureHTTP": true, "storage": release.storage(),
        "auth": {"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}},
        "limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 20},
    });
    let token = secret("lab", "token", &json!({"token": "sesame"}));
    for object in [token, release.storage_secret("lab"), server("lab", "own", &spec)] {
        release.apply(&object).await;
    }
}

fn system(container: &str) -> Value {
    json!({"level": "System", "container": container})
}

#[tokio::test]
async fn exports_run_and_nothing_is_refused_or_stranded() {
    let ca = Arc::new(TestCa::new().unwrap());
    let tokens = EntraOptions { secret: Secret::Any, ..EntraOptions::default() };
    let entra = Entra::start(tokens, ca.clone()).await.unwrap();
    let before = [
        namespace(NAMESPACE, &json!({})),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities", "namespace": NAMESPACE},
            "data": {"ca.crt": ca.pem()}}),
        namespace("fhir", &json!({})),
        namespace("research", &json!({"export": "yes"})),
        namespace("guests", &json!({})),
        namespace("lab", &json!({})),
    ];
    let values = json!({
        "image": {"repository": "registry.example/fhir-export-operator"},
        "entra": {"authorityHost": entra.url()}, "extraCA": {"configMap": "authorities"},
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1, "progressIntervalSeconds": 1},
    });
    let release = Release::install(&before, &values).await;

    let fhir = release.fhir(Options { tls: Some(ca.clone()), ..Options::default() }).await;
    let url = fhir.tls_url().unwrap();
    fhir.set_access(Access::Jwt { audience: url.clone() });
    entra.change(|options| options.audiences.push(url.clone()));
    let known = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let open = release.fhir(Options { access: known, ..Options::default() }).await;

    // An export may come before its server.
    let group = json!({"level": "Group", "groupID": "cohort-42", "container": "research-lake"});
    release.apply(&export("research", "group", "fhir/clinic", &group, &json!({}))).await;
    release.until("fexp/group", "research", "Reconciling=True ServerNotFound").await;
    platform(&release, &url, ca.pem()).await;
    lab(&release, &open.url()).await;
    for (object, namespace) in [("fserver/clinic", "fhir"), ("fserver/own", "lab")] {
        release.until(object, namespace, "Ready=True ProbeSucceeded").await;
    }
    release.until("fexp/group", "research", "Complete=True Exported").await;
    release.until("fexp/group", "research", "Verified=True CountsMatch").await;
    assert!(
        entra.requests().iter().any(|r| r.body.contains("client_assertion")),
        "no token of the ServiceAccount"
    );

    let patient = json!({"level": "Patient", "container": "research-lake"});
    release.apply(&export("research", "patient", "fhir/clinic", &patient, &json!({}))).await;
    release.until("fexp/patient", "research", "Complete=True Exported").await;
    release
        .apply(&export("lab", "brief", "own", &system("lab"), &json!({"ttlSecondsAfterFinished": 1})))
        .await;
    release.kubectl("wait --for=delete fexp/brief -n lab --timeout=90s").await;

    release.apply(&export("guests", "guest", "fhir/clinic", &system("guests"), &json!({}))).await;
    release.until("fexp/guest", "guests", "Accepted=False NamespaceNotAllowed").await;
    release.kubectl("label namespace guests export=yes").await;
    release.until("fexp/guest", "guests", "Complete=True Exported").await;

    // A schedule makes its runs, takes them in, and deletes their objects, with the same rights.
    release.apply(&schedule("lab", "nightly", "own", &system("nightly"))).await;
    release.until("fexps/nightly", "lab", "Ready=True Scheduled").await;
    release.kubectl("annotate fexps/nightly -n lab fhirexport.dev/run-now=once").await;
    release.until("fexps/nightly", "lab", "LastRunSucceeded=True RunSucceeded").await;
    release.until("fexps/nightly", "lab", "ChainIntact=True Chained").await;
    release.kubectl("wait --for=delete fexp -l fhirexport.dev/schedule=nightly -n lab --timeout=90s").await;

    open.script(Script::stuck().container("deleted"));
    release.apply(&export("lab", "deleted", "own", &system("deleted"), &json!({}))).await;
    release.until("fexp/deleted", "lab", "Reconciling=False KickedOff").await;
    release.kubectl("delete fexp/deleted -n lab --timeout=90s").await;
    assert!(matches!(open.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    let events = release.kubectl("get events -n lab -o jsonpath={.items[*].reason}").await;
    assert!(events.contains("KickedOff") && events.contains("Cancelled"), "{events}");

    uninstall(&release, &fhir).await;
}

/// The README's one command, with a run under way and others that have ended.
async fn uninstall(release: &Release, fhir: &azure_fhir::Server) {
    fhir.script(Script::stuck().container("last"));
    release.apply(&export("research", "last", "fhir/clinic", &system("last"), &json!({}))).await;
    release.until("fexp/last", "research", "Reconciling=False KickedOff").await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let command = readme.lines().find(|l| l.contains("helm uninstall")).unwrap();
    release.shell(command).await.ok().unwrap();
    assert!(matches!(fhir.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    release.nothing_is_stranded().await;
    let refused = release.refused();
    assert!(refused.is_empty(), "{refused:#?}");
    let left = release.kubectl(&format!("get all,sa,roles,rolebindings -n {NAMESPACE} -o name")).await;
    assert!(!left.contains("fhir-export-operator"), "{left}");
    let definitions = readme.lines().find(|l| l.starts_with("kubectl delete crd ")).unwrap();
    release.shell(definitions).await.ok().unwrap();
    let result = stage::wait_until("the definitions to be gone", PATIENCE, || async {
        !release.kubectl("get crd -o name").await.contains("fhirexport.dev")
    })
    .await;
    result.unwrap();
}
