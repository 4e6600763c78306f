//! `server check`, `logs`, `jwks` and `completion`.

use bulk_fhir::{Options, Script};
use fhir_export_operator::api::FhirServer;
use serde_json::json;
use stage::wait_for;

use super::{assert_said, call, plugin, told};
use crate::place::Place;
use crate::site::{PATIENCE, shared};

/// Waits until the operator has judged the FhirServer.
async fn judged(place: &Place, ready: &str) {
    let api: kube::Api<FhirServer> = place.site.api();
    let result = wait_for(&format!("clinic to be Ready={ready}"), PATIENCE, || async {
        let server = api.get("clinic").await.map_err(|e| e.to_string())?;
        let conditions = server.status.map(|status| status.conditions).unwrap_or_default();
        let found = conditions.iter().find(|condition| condition.type_ == "Ready");
        if found.is_some_and(|found| format!("{:?}", found.status) == ready) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    place.site.told(result);
}

#[tokio::test]
async fn a_server_is_checked_from_both_sides() {
    let place = Place::start("kubectl-server", Options::default(), json!({})).await;
    judged(&place, "True").await;
    let good = told(&place.site, &["server", "check", "clinic"]).await;
    assert!(good.contains("  ok     Ready ") && good.contains("  ok     StorageAccessible "), "{good}");
    for line in [
        "  ok     Name               the host has the address 127.0.0.1",
        "TLS",
        "  ok     Metadata ",
        "  ok     Export ",
    ] {
        assert!(good.contains(line), "{line}: {good}");
    }
    place
        .change_server(json!({"storage": {"azureBlob": {"auth": {"secretRef": {"name": "missing"}}}}}))
        .await;
    judged(&place, "False").await;
    let bad = call(&place.site, &["server", "check", "clinic", "--no-request"]).await;
    assert_eq!(bad.code, 3, "{bad:?}");
    assert!(bad.stdout.contains("wrong  ") && bad.stdout.contains("Secret"), "{bad:?}");
    assert!(!bad.stdout.contains("Seen from this machine"), "{bad:?}");
    let wrong = call(&place.site, &["server", "check", "clinik"]).await;
    assert_said(&wrong, 1, "did you mean clinic?");
}

#[tokio::test]
async fn events_are_shown_where_a_log_cannot_be_read() {
    let place = Place::start("kubectl-logs", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(1));
    place.landed("cohort", json!({"types": ["Patient"]})).await;
    let shown = call(&place.site, &["logs", "cohort"]).await;
    // The operator of this test is no pod.
    assert_said(&shown, 0, "note: the operator's log is not shown: no pod of the operator was found");
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(lines.iter().any(|line| line.contains("Normal   KickedOff")), "{shown:?}");
    let rights = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "viewer"}, "subjects": [{"kind": "ServiceAccount", "name": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubectl-logs-viewer"}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "kubectl-logs-viewer"},
        "rules": [{"apiGroups": ["fhirexport.dev"], "resources": ["fhirexports"], "verbs": ["get", "list", "watch"]}]});
    for object in [role, rights] {
        let file = place.site.folder.write("rights.json", object.to_string()).unwrap();
        let arguments = ["apply", "-n", &place.site.namespace, "-f", file.to_str().unwrap()];
        shared().await.kubernetes.kubectl(arguments).await.unwrap().run().await.unwrap().ok().unwrap();
    }
    let viewer = shared().await.kubernetes.kubeconfig_for("default", &place.site.namespace).await.unwrap();
    let shown = plugin(&place.site, &["logs", "cohort"]).kubeconfig(&viewer).run().await.unwrap();
    assert_said(&shown, 0, "note: the events are not shown: you may not list events in namespace ");
    assert_said(&shown, 0, "you may not list pods in all namespaces; name that of the operator");
    let waited = plugin(&place.site, &["wait", "cohort"]).kubeconfig(&viewer).run().await.unwrap();
    assert!(waited.stdout.contains("cohort complete: "), "a viewer may wait: {waited:?}");

    // It comes last, because the pods of all namespaces were looked for above.
    let namespace = place.site.namespace.as_str();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator-0",
        "labels": {"app.kubernetes.io/part-of": "fhir-export-operator"}},
        "spec": {"containers": [{"name": "other", "image": "registry.invalid/other"}]}});
    let file = place.site.folder.write("pod.json", pod.to_string()).unwrap();
    let arguments = ["create", "-n", namespace, "-f", file.to_str().unwrap()];
    shared().await.kubernetes.kubectl(arguments).await.unwrap().run().await.unwrap().ok().unwrap();
    let shown = call(&place.site, &["logs", "cohort", "--operator-namespace", namespace]).await;
    assert_said(&shown, 0, &format!("note: the log of the pod {namespace}/operator-0 is not shown: "));
    assert!(shown.stdout.contains("Normal   KickedOff"), "{shown:?}");
}

#[tokio::test]
async fn what_needs_no_cluster_asks_none() {
    let place = Place::without_operator("kubectl-alone", Options::default(), json!({})).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let file = place.site.folder.write("key.pem", key.serialize_pem()).unwrap();
    for arguments in [
        vec!["jwks", file.to_str().unwrap(), "--key-id", "2026"],
        vec!["completion", "bash"],
        vec!["version"],
        vec!["create", "x", "--server", "clinic", "--level", "system", "--dry-run=client"],
    ] {
        let alone = plugin(&place.site, &arguments).kubeconfig("/nowhere").run().await.unwrap();
        assert!(alone.succeeded() && !alone.stdout.is_empty(), "{alone:?}");
    }
}
