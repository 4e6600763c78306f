//! The probe reports what is wrong with a server before an export waits for hours.

use azure_fhir::{Access, KnownToken, Options};
use fhir_export_operator::api::FhirServer;
use kube::{Api, ResourceExt};
use serde_json::json;
use stage::wait_for;

use crate::site::{PATIENCE, Site, shared};

/// Waits until a condition of a server has this status and reason, and returns its message.
pub async fn until(site: &Site, name: &str, type_: &str, status: &str, reason: &str) -> String {
    let api: Api<FhirServer> = site.api();
    let result = wait_for(&format!("{name} to be {type_}={status} {reason}"), PATIENCE, || async {
        let server = api.get(name).await.map_err(|e| e.to_string())?;
        let conditions = server.status.map(|s| s.conditions).unwrap_or_default();
        let found = conditions.iter().find(|c| c.type_ == type_);
        match found {
            Some(c) if format!("{:?}", c.status) == status && c.reason == reason => Ok(c.message.clone()),
            _ => Err(format!("{conditions:#?}")),
        }
    })
    .await;
    site.told(result)
}

#[tokio::test]
async fn a_good_server_is_ready_and_says_what_it_is() {
    let site = Site::start("ready").await;
    until(&site, "clinic", "Ready", "True", "ProbeSucceeded").await;
    until(&site, "clinic", "Authenticated", "True", "NotRequired").await;
    until(&site, "clinic", "StorageAccessible", "True", "ContainerListed").await;
    let api: Api<FhirServer> = site.api();
    let status = api.get("clinic").await.unwrap().status.unwrap();
    assert_eq!(status.fhir_version.as_deref(), Some("4.0.1"));
    assert!(status.software.unwrap().contains("Microsoft"));
    let table = shared().await.kubernetes.kubectl(["get", "fserver", "-n", &site.namespace]).await.unwrap();
    let table = table.run().await.unwrap().ok().unwrap();
    assert!(table.contains("ProbeSucceeded"), "{table}");
}

#[tokio::test]
async fn an_identity_that_may_not_export_is_known_at_once() {
    let tokens = vec![KnownToken::exporter("good-token-1835"), KnownToken::without_role("weak-token-4410")];
    let options = Options { access: Access::Tokens(tokens), ..Options::default() };
    let mut site = Site::without_server("identity", options).await;
    site.start_operator().await;
    for (name, token) in
        [("right", "good-token-1835"), ("weak", "weak-token-4410"), ("bad", "bad-token-6622")]
    {
        site.secret(name, json!({"token": token}), true).await;
        let auth = json!({"auth": {"type": "BearerToken",
            "bearerToken": {"secretRef": {"name": name, "key": "token"}}}});
        let spec = site.server_spec(auth).await;
        site.apply_server_named(name, spec).await;
    }
    until(&site, "right", "Authenticated", "True", "TokenAccepted").await;
    let message = until(&site, "weak", "Authenticated", "False", "Forbidden").await;
    assert!(message.contains("FHIR Data Exporter"), "{message}");
    until(&site, "weak", "Ready", "False", "Forbidden").await;
    until(&site, "bad", "Ready", "False", "Unauthorized").await;
    // The probe started no job.
    assert_eq!((site.kick_offs(), site.fhir.jobs().len()), (0, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told() {
    let site = Site::start("wrong").await;
    site.secret("badkey", json!({"key": "d3Jvbmc="}), true).await;
    let storage = |secret: &str| json!({"storage": {"azureBlob": {"auth": {"secretRef": {"name": secret}}}}});
    for (name, change) in [
        ("denied", storage("badkey")),
        ("nosecret", storage("nobody")),
        ("bulk", json!({"dialect": "BulkData"})),
        ("nobody", json!({"url": "http://nobody.invalid"})),
        ("path", json!({"url": format!("{}/wrong/base", site.fhir.url())})),
    ] {
        let spec = site.server_spec(change).await;
        site.apply_server_named(name, spec).await;
    }
    until(&site, "denied", "StorageAccessible", "False", "NoStorageAccess").await;
    let message = until(&site, "nosecret", "StorageAccessible", "False", "DependencyMissing").await;
    assert!(message.contains("nobody"), "{message}");
    let message = until(&site, "bulk", "Ready", "False", "WrongDialect").await;
    assert!(message.contains("dialect Azure"), "{message}");
    until(&site, "bulk", "Stalled", "True", "WrongDialect").await;
    until(&site, "nobody", "Ready", "False", "HostNotFound").await;
    until(&site, "path", "Ready", "False", "UnexpectedAnswer").await;
    // The operator notices the repair within seconds.
    site.secret("nobody", json!({"key": shared().await.azurite.key()}), true).await;
    until(&site, "nosecret", "Ready", "True", "ProbeSucceeded").await;
}

#[tokio::test]
async fn a_server_that_was_never_used_is_deleted_at_once() {
    let site = Site::start("unused").await;
    until(&site, "clinic", "Ready", "True", "ProbeSucceeded").await;
    let api: Api<FhirServer> = site.api();
    assert!(api.get("clinic").await.unwrap().finalizers().is_empty());
    api.delete("clinic", &kube::api::DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("clinic").await.unwrap().is_none());
}
