//! The mistakes that people make, each answered in one sentence.

use bulk_fhir::Options;
use serde_json::json;

use super::{assert_said, call, plugin};
use crate::place::Place;
use crate::site::shared;

#[tokio::test]
async fn each_mistake_has_its_sentence() {
    let place = Place::start("kubectl-wrong", Options::default(), json!({})).await;
    let namespace = place.site.namespace.clone();
    place.export("cohort-42", json!({"types": ["Patient"]}), json!({"suspend": true})).await;

    for arguments in
        [["describe", "cohrt-42"], ["wait", "cohrt-42"], ["cancel", "cohrt-42"], ["files", "cohrt-42"]]
    {
        let wrong = call(&place.site, &arguments).await;
        let said = format!(
            "error: There is no FhirExport cohrt-42 in namespace {namespace}: did you mean cohort-42?\n"
        );
        assert_said(&wrong, 1, &said);
    }
    let elsewhere =
        plugin(&place.site, &["describe", "cohort-42", "--context", "nowhere"]).run().await.unwrap();
    assert_said(&elsewhere, 1, "error: No cluster to work on: failed to load current context: nowhere; ");
    let early = call(&place.site, &["verify", "cohort-42"]).await;
    assert_said(
        &early,
        1,
        "error: The export cohort-42 has no files yet: wait for its end with kubectl fhirexport wait",
    );
}

#[tokio::test]
async fn without_rights_the_missing_one_is_named() {
    let place = Place::start("kubectl-rights", Options::default(), json!({})).await;
    let namespace = place.site.namespace.clone();
    place.export("cohort", json!({"types": ["Patient"]}), json!({"suspend": true})).await;
    let nobody = shared().await.kubernetes.kubeconfig_for("default", &namespace).await.unwrap();
    for (arguments, what) in [
        (vec!["list"], format!("list FhirExports in namespace {namespace}")),
        (vec!["list", "-A"], "list FhirExports in all namespaces".to_owned()),
        (vec!["describe", "cohort"], format!("get FhirExport {namespace}/cohort")),
        (
            vec!["create", "other", "--server", "clinic", "--level", "system"],
            format!("create FhirExport {namespace}/other"),
        ),
    ] {
        let refused = plugin(&place.site, &arguments).kubeconfig(&nobody).run().await.unwrap();
        assert_said(&refused, 1, &format!("error: You may not {what} ("));
        assert_said(&refused, 1, "ask an administrator to bind you the role for exports");
        assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{refused:?}");
    }
}

#[tokio::test]
async fn without_a_cluster_the_address_is_not_blamed_on_the_user() {
    let place = Place::without_operator("kubectl-lost", Options::default(), json!({})).await;
    let port = stage::free_port().unwrap();
    let kubeconfig = place.site.folder.path().join("lost.kubeconfig");
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "lost",
        "clusters": [{"name": "lost", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "lost", "user": {}}],
        "contexts": [{"name": "lost", "context": {"cluster": "lost", "user": "lost"}}]});
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let lost =
        plugin(&place.site, &["list", "--kubeconfig", kubeconfig.to_str().unwrap()]).run().await.unwrap();
    assert_said(&lost, 1, "error: The API server does not answer to list FhirExports");
    assert_said(&lost, 1, "check the cluster with kubectl cluster-info.");
}
