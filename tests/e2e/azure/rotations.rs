//! Secrets that change while a job runs.

use azure_fhir::{Access, KnownToken, Life, Options, Script};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::site::{PATIENCE, Site, condition};

async fn rotate(site: &Site, name: &str, data: serde_json::Value) {
    let api: Api<Secret> = site.api();
    api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"stringData": data}))).await.unwrap();
}

fn access(tokens: &[&str]) -> Access {
    Access::Tokens(tokens.iter().map(|token| KnownToken::exporter(token)).collect())
}

#[tokio::test]
async fn a_bearer_token_is_rotated_while_a_job_runs() {
    let options = Options { access: access(&["first-token-1"]), ..Options::default() };
    let mut site = Site::without_server("rotate", options).await;
    site.secret("token", json!({"token": "first-token-1"}), true).await;
    site.apply_server(json!({"auth": {"type": "BearerToken",
        "bearerToken": {"secretRef": {"name": "token", "key": "token"}}}}))
        .await;
    site.start_operator().await;
    site.fhir.script(Script::stuck());
    site.export("job", json!({"level": "System", "container": "rotate"}), json!({})).await;
    let object =
        site.until("job", "running", |o| o.status.as_ref().is_some_and(|s| s.accepted_time.is_some())).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();

    // Some polls pass first: after a 401 the operator does not reread a Secret that it read a moment ago.
    let polls = || site.fhir.requests().iter().filter(|r| r.is_poll() && r.mentions(&id)).count();
    let result = stage::wait_until("some polls", PATIENCE, || async { polls() >= 8 }).await;
    site.told(result);
    // The new token comes before the old one ends, as it should: one request is refused, and no condition reports it.
    rotate(&site, "token", json!({"token": "second-token-2"})).await;
    site.fhir.set_access(access(&["second-token-2"]));
    let with = |token: &str, status: Option<u16>| {
        let header = format!("Bearer {token}");
        let requests = site.fhir.requests();
        requests
            .iter()
            .filter(|r| r.mentions(&id) && r.authorization.as_deref() == Some(&header))
            .filter(|r| r.status == status)
            .count()
    };
    let result =
        stage::wait_until("the second", PATIENCE, || async { with("second-token-2", Some(202)) >= 3 }).await;
    site.told(result);
    assert_eq!(with("first-token-1", Some(401)), 1);
    assert_eq!(with("second-token-2", Some(401)), 0);

    // The old token ends first: a condition reports it, and the job continues with the third token.
    site.fhir.set_access(access(&["third-token-3"]));
    site.until_condition("job", "ServerReachable", "False", "Unauthorized").await;
    rotate(&site, "token", json!({"token": "third-token-3"})).await;
    site.until_condition("job", "ServerReachable", "True", "").await;
    site.fhir.rescript(&id, |script| script.life = Life::Polls(1));
    let object = site.complete("job").await;
    assert_eq!((object.status.unwrap().attempts, site.kick_offs(), site.cancels()), (Some(1), 1, 0));
}

#[tokio::test]
async fn a_secret_header_is_rotated_while_a_job_runs() {
    let mut site = Site::without_server("header", Options::default()).await;
    site.secret("gateway", json!({"key": "gateway-key-1"}), true).await;
    site.secret("token", json!({"token": "good-token-1835"}), true).await;
    site.apply_server(json!({
        "auth": {"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}},
        "headers": [{"name": "Ocp-Apim-Subscription-Key", "secretRef": {"name": "gateway", "key": "key"}}],
    }))
    .await;
    site.start_operator().await;
    site.fhir.script(Script::stuck());
    site.export("job", json!({"level": "System", "container": "header"}), json!({})).await;
    let object =
        site.until("job", "running", |o| o.status.as_ref().is_some_and(|s| s.accepted_time.is_some())).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();
    let polls = || site.fhir.requests().iter().filter(|r| r.is_poll() && r.mentions(&id)).count();
    let result = stage::wait_until("some polls", PATIENCE, || async { polls() >= 8 }).await;
    site.told(result);
    let sent = |key: &str| {
        let name = "ocp-apim-subscription-key";
        site.fhir.requests().iter().filter(|r| r.headers.get(name).map(String::as_str) == Some(key)).count()
    };
    assert_eq!(
        sent("gateway-key-1"),
        site.fhir.requests().len(),
        "each request has it, and so has /metadata"
    );
    rotate(&site, "gateway", json!({"key": "gateway-key-2"})).await;
    // The gateway answers 401 to the old key.
    site.fhir.fault(
        azure_fhir::RequestFault::next(azure_fhir::On::Status, 1, azure_fhir::Fault::Unauthorized)
            .containing(&id),
    );
    let result = stage::wait_until("the new key", PATIENCE, || async { sent("gateway-key-2") >= 2 }).await;
    site.told(result);
    site.fhir.rescript(&id, |script| script.life = Life::Polls(1));
    let object = site.complete("job").await;
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True");
}
