//! The rights that the chart's roles grant, and `spec.consumers` of a FhirServer.

use azure_fhir::{Access, KnownToken, Options};
use fhir_export_operator::api::{FhirExport, FhirServer};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::world::{Person, is_forbidden, release, shared};
use crate::release::{export, namespace, secret, server};

#[tokio::test]
async fn who_may_export_may_do_nothing_else() {
    let release = release().await;
    let tenant = Person::new(release, "rights", &json!({})).await;
    release.apply(&namespace("rights-of-others", &json!({}))).await;
    release.apply(&secret("rights", "credential", &json!({"token": "hush"}))).await;
    let mine = export("rights", "mine", "clinic", &json!({"level": "System"}), &json!({"suspend": true}));
    tenant.create::<FhirExport>(&mine).await.unwrap();

    assert!(is_forbidden(
        tenant.forge("mine", &json!({"job": {"intentTime": "2026-01-01T00:00:00Z"}})).await
    ));
    let connection = json!({"url": "https://evil.example", "dialect": "Azure", "auth": {"type": "None"}});
    assert!(is_forbidden(tenant.create::<FhirServer>(&server("rights", "own", &connection)).await));
    let secrets: Api<Secret> = Api::namespaced(tenant.client.clone(), "rights");
    assert!(
        is_forbidden(secrets.get("credential").await)
            && is_forbidden(secrets.list(&ListParams::default()).await)
    );
    let label =
        Patch::Merge(json!({"metadata": {"labels": {"fhirexport.dev/credential": "true", "study": "yes"}}}));
    assert!(is_forbidden(secrets.patch("credential", &PatchParams::default(), &label).await));
    let accounts: Api<ServiceAccount> = Api::namespaced(tenant.client.clone(), "rights");
    assert!(is_forbidden(accounts.patch("person", &PatchParams::default(), &label).await));
    assert!(is_forbidden(
        accounts.create_token_request("person", &PostParams::default(), &TokenRequest::default()).await
    ));
    let namespaces: Api<Namespace> = Api::all(tenant.client.clone());
    assert!(is_forbidden(namespaces.patch("rights", &PatchParams::default(), &label).await));
    let others: Api<FhirExport> = Api::namespaced(tenant.client.clone(), "rights-of-others");
    assert!(is_forbidden(others.list(&ListParams::default()).await));
    assert!(is_forbidden(others.delete("any", &DeleteParams::default()).await));
}

#[tokio::test]
async fn a_server_of_another_namespace_is_nobody_s_but_its_consumers() {
    let release = release().await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    release.apply(&namespace("owner", &json!({}))).await;
    release.apply(&secret("owner", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("owner")).await;
    release.apply(&server("owner", "clinic", &shared(release, &fhir.url(), &json!({})))).await;
    release.until("fserver/clinic", "owner", "Ready=True ProbeSucceeded").await;
    let guest = Person::new(release, "guest", &json!({})).await;
    let member = Person::new(release, "member", &json!({"study": "yes"})).await;

    // Labels and annotations of the export itself do not admit it.
    let mut sly = export("guest", "sly", "owner/clinic", &json!({"level": "System"}), &json!({}));
    sly["metadata"]["labels"] = json!({"study": "yes", "kubernetes.io/metadata.name": "owner"});
    sly["metadata"]["annotations"] =
        json!({"fhirexport.dev/namespace": "owner", "fhirexport.dev/credential": "true"});
    sly["metadata"]["finalizers"] = json!(["fhirexport.dev/cancel"]);
    guest.create::<FhirExport>(&sly).await.unwrap();
    release.until("fexp/sly", "guest", "Accepted=False NamespaceNotAllowed").await;
    // The container of another run does not either.
    let uid = "0123abcd-0000-4000-8000-00112233aabb";
    let squatting = json!({"level": "System", "container": format!("export-{uid}")});
    member
        .create::<FhirExport>(&export("member", "squatter", "owner/clinic", &squatting, &json!({})))
        .await
        .unwrap();
    release.until("fexp/squatter", "member", "Accepted=False NotAllowed").await;
    assert_eq!(fhir.requests().iter().filter(|r| r.is_kick_off()).count(), 0);
    // A forged finalizer does not block the deletion of an export that was never started.
    guest.exports().delete("sly", &DeleteParams::default()).await.unwrap();
    release.kubectl("wait --for=delete fexp/sly -n guest --timeout=60s").await;
    assert_eq!(fhir.requests().iter().filter(|r| r.is_cancel()).count(), 0);

    member
        .create::<FhirExport>(&export(
            "member",
            "study",
            "owner/clinic",
            &json!({"level": "System"}),
            &json!({}),
        ))
        .await
        .unwrap();
    release.until("fexp/study", "member", "Complete=True Exported").await;
    // The operator reads the server's Secret in the server's namespace only: one of the same name elsewhere has no
    // effect.
    release.apply(&secret("member", "token", &json!({"token": "another"}))).await;
    member
        .create::<FhirExport>(&export(
            "member",
            "again",
            "owner/clinic",
            &json!({"level": "System"}),
            &json!({}),
        ))
        .await
        .unwrap();
    release.until("fexp/again", "member", "Complete=True Exported").await;
}
