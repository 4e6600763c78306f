//! The chart installed for all namespaces, as in the first example of the README.

use azure_fhir::{Access, Failure, KnownToken, Options, Script, State};
use serde_json::{Value, json};

use crate::platform::Platform;
use crate::release::{NAMESPACE, PATIENCE, Release, export, namespace, schedule, secret, server};
use crate::rights;

/// Creates the namespace `lab` with a FhirServer of its own, which uses a token from a Secret.
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
async fn exports_run_with_each_right_and_no_more_and_nothing_is_stranded() {
    let platform = Platform::start().await;
    let before = [
        namespace(NAMESPACE, &json!({})),
        platform.authorities(),
        namespace("fhir", &json!({})),
        namespace("research", &json!({"export": "yes"})),
        namespace("guests", &json!({})),
        namespace("lab", &json!({})),
    ];
    let values = platform.values(&json!({
        "image": {"repository": "registry.example/fhir-export-operator"}, "credentialNamespaces": ["fhir", "lab"],
        "tuning": {"missingRetrySeconds": 1, "retryBaseSeconds": 1, "progressIntervalSeconds": 1},
    }));
    let mut release = Release::install(&before, &values).await;

    let fhir = platform.fhir(&release).await;
    let url = fhir.tls_url().unwrap();
    let known = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let open = release.fhir(Options { access: known, ..Options::default() }).await;

    // An export may be created before its server.
    let group = json!({"level": "Group", "groupID": "cohort-42", "container": "research-lake"});
    release.apply(&export("research", "group", "fhir/clinic", &group, &json!({}))).await;
    release.until("fexp/group", "research", "Reconciling=True ServerNotFound").await;
    platform.connect(&release, &url).await;
    lab(&release, &open.url()).await;
    for (object, namespace) in [("fserver/clinic", "fhir"), ("fserver/own", "lab")] {
        release.until(object, namespace, "Ready=True ProbeSucceeded").await;
    }
    release.until("fexp/group", "research", "Complete=True Exported").await;
    release.until("fexp/group", "research", "Verified=True CountsMatch").await;
    assert!(
        platform.entra.requests().iter().any(|r| r.body.contains("client_assertion")),
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

    release.run_by_schedule("lab", "own", "yearly").await;
    // The export's second event of one kind is counted in a series with the first.
    open.script(Script::fails(Failure::Unknown).container("twice"));
    release.apply(&export("lab", "twice", "own", &system("twice"), &json!({}))).await;
    release.until("fexp/twice", "lab", "Complete=True Exported").await;

    // With the same rights, the operator creates the runs of a schedule, records them and deletes their objects.
    release.apply(&schedule("lab", "nightly", "own", &system("nightly"))).await;
    release.until("fsched/nightly", "lab", "Ready=True Scheduled").await;
    release.kubectl("annotate fsched/nightly -n lab fhirexport.dev/run-now=once").await;
    release.until("fsched/nightly", "lab", "LastRunSucceeded=True RunSucceeded").await;
    release.until("fsched/nightly", "lab", "ChainIntact=True Chained").await;
    release.kubectl("wait --for=delete fexp -l fhirexport.dev/schedule=nightly -n lab --timeout=90s").await;

    open.script(Script::stuck().container("deleted"));
    release.apply(&export("lab", "deleted", "own", &system("deleted"), &json!({}))).await;
    release.until("fexp/deleted", "lab", "Reconciling=False KickedOff").await;
    release.kubectl("delete fexp/deleted -n lab --timeout=90s").await;
    assert!(matches!(open.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    let events = release.kubectl("get events -n lab -o jsonpath={.items[*].reason}").await;
    assert!(events.contains("KickedOff") && events.contains("Cancelled"), "{events}");

    uninstall(&mut release, &fhir).await;
}

/// Uninstalls with the README's command, while one run is active and others have ended.
async fn uninstall(release: &mut Release, fhir: &azure_fhir::Server) {
    fhir.script(Script::stuck().container("last"));
    release.apply(&export("research", "last", "fhir/clinic", &system("last"), &json!({}))).await;
    release.until("fexp/last", "research", "Reconciling=False KickedOff").await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let command = readme.lines().find(|l| l.contains("helm uninstall")).unwrap();
    let given = rights::of(release).await;
    release.shell(command).await.ok().unwrap();
    assert!(matches!(fhir.jobs().last().unwrap().state, State::Gone | State::CancelledEmpty));
    release.nothing_is_stranded().await;
    rights::are_those_used(release, &given, |_| false).await;
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
