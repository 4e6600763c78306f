//! Tokens that expire, are refused, or cannot be obtained for a while, while a job continues.

use azure_fhir::{EntraFault, Fault, Life, On, Options, RequestFault, Script, Secret};
use fhir_export_operator::api::FhirExport;
use kube::ResourceExt;
use serde_json::json;

use super::tenant::{Tenant, by_secret};
use crate::site::{PATIENCE, Site, condition};

/// Starts a tenant with a client secret, its `FhirServer` and an operator.
async fn clinic(name: &str) -> (Tenant, Site) {
    let (tenant, mut site) =
        Tenant::start(name, Secret::Text("right-secret-2207".into()), Options::default()).await;
    site.secret("client", json!({"secret": "right-secret-2207"}), true).await;
    site.apply_server_named("clinic", tenant.server(&site, by_secret()).await).await;
    site.start_operator().await;
    (tenant, site)
}

/// Starts a job that does not end, and returns its id.
async fn stuck(site: &Site, name: &str) -> String {
    site.fhir.script(Script::stuck());
    site.export(name, json!({"level": "System", "container": site.namespace}), json!({})).await;
    running(site, name).await
}

async fn running(site: &Site, name: &str) -> String {
    let id = |o: &FhirExport| o.status.as_ref()?.job.as_ref()?.id.clone();
    let object = site.until(name, "running", |o| id(o).is_some()).await;
    id(&object).unwrap()
}

/// Lets a job end, and asserts that the export never had another one.
async fn ends_as_the_only_one(site: &Site, name: &str, id: &str) {
    site.fhir.rescript(id, |script| script.life = Life::Polls(1));
    let object = site.complete(name).await;
    let status = object.status.clone().unwrap();
    assert_eq!((status.attempts, status.previous_jobs.len()), (Some(1), 0));
    assert_eq!((site.kick_offs(), site.cancels()), (1, 0));
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True");
}

fn refused_polls(site: &Site, id: &str) -> usize {
    let requests = site.fhir.requests();
    requests.iter().filter(|r| r.is_poll() && r.mentions(id) && r.status == Some(401)).count()
}

#[tokio::test]
async fn a_job_outlives_many_tokens() {
    let (mut tenant, site) = clinic("short").await;
    tenant.change(|options| options.lifetime = 5);
    site.fhir.script(Script { life: Life::Millis(15_000), ..Script::default() });
    site.export("long", json!({"level": "System", "container": "short"}), json!({})).await;
    let id = running(&site, "long").await;
    let object = site.complete("long").await;
    assert_eq!(object.status.unwrap().attempts, Some(1));
    let tokens: std::collections::BTreeSet<_> =
        site.fhir.requests().into_iter().filter_map(|r| r.authorization).collect();
    assert!(tokens.len() >= 4, "{} tokens", tokens.len());
    let asked = tenant.requests().len();
    assert!((4..=20).contains(&asked), "{asked} token requests in 15 s");
    assert_eq!(refused_polls(&site, &id), 0, "each is renewed before it ends");
    assert_eq!(site.kick_offs(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_is_renewed_once() {
    let (mut tenant, site) = clinic("middle").await;
    let id = stuck(&site, "job").await;
    assert_eq!(tenant.requests().len(), 1);
    // The other role makes the second token differ from the first, even if both are issued in the same second.
    tenant.change(|options| options.roles = Some(vec!["globalExporter".into()]));
    site.fhir.fault(RequestFault::next(On::Status, 1, Fault::Unauthorized).containing(&id));
    let result =
        stage::wait_until("a second token", PATIENCE, || async { tenant.requests().len() == 2 }).await;
    site.told(result);
    ends_as_the_only_one(&site, "job", &id).await;
    assert_eq!((tenant.requests().len(), refused_polls(&site, &id)), (2, 1));
    site.until("job", "let go", |o| o.finalizers().is_empty()).await;
    let reasons: Vec<String> = site.events("job").await.into_iter().map(|e| e.0).collect();
    assert_eq!(reasons, ["KickedOff", "Exported"]);
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_and_the_right_one_is_taken_soon() {
    let (tenant, mut site) =
        Tenant::start("wrong", Secret::Text("changed-secret-9312".into()), Options::default()).await;
    site.secret("client", json!({"secret": "secret-of-yesterday-66"}), true).await;
    let server = tenant.server(&site, by_secret()).await;
    site.apply_server_named("clinic", server).await;
    site.start_operator().await;
    site.export("waits", json!({"level": "System", "container": "wrong"}), json!({})).await;
    let object = site.until_condition("waits", "ServerReachable", "False", "TokenRefused").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(message.contains("AADSTS7000215") && message.contains("client secret"), "{message}");
    let told = tokio::time::Instant::now();
    site.secret("client", json!({"secret": "changed-secret-9312"}), true).await;
    let object = site.complete("waits").await;
    assert!(told.elapsed().as_secs() < 30, "{:?} to take the new secret", told.elapsed());
    assert_eq!((object.status.unwrap().attempts, site.kick_offs()), (Some(1), 1));
}

#[tokio::test]
async fn entra_that_is_down_before_the_start_is_waited_for() {
    let (mut tenant, mut site) = Tenant::start("beforehand", Secret::Any, Options::default()).await;
    tenant.down();
    site.secret("client", json!({"secret": "any-secret-7431"}), true).await;
    site.apply_server_named("clinic", tenant.server(&site, by_secret()).await).await;
    site.start_operator().await;
    site.export("waits", json!({"level": "System", "container": "beforehand"}), json!({"backoffLimit": 0}))
        .await;
    let object = site.until_condition("waits", "ServerReachable", "False", "TokenUnavailable").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(message.contains("localhost refused the connection"), "{message}");
    tenant.up().await;
    // A gateway's page and 503 are not refusals.
    tenant.fail_next([EntraFault::GatewayPage, EntraFault::Unavailable, EntraFault::Close]);
    let object = site.complete("waits").await;
    assert_eq!((object.status.unwrap().attempts, site.kick_offs()), (Some(1), 1));
}

#[tokio::test]
async fn a_job_survives_entra_being_down_and_refusing() {
    let (mut tenant, site) = clinic("survives").await;
    tenant.change(|options| options.lifetime = 5);
    let id = stuck(&site, "job").await;
    tenant.down();
    site.until_condition("job", "ServerReachable", "False", "TokenUnavailable").await;
    tenant.change(|options| options.secret = Secret::Text("another".into()));
    tenant.up().await;
    let object = site.until_condition("job", "ServerReachable", "False", "TokenRefused").await;
    let status = object.status.unwrap();
    assert_eq!(
        (status.state_word(), status.job.unwrap().id.as_deref()),
        (Some("Running"), Some(id.as_str()))
    );
    tenant.change(|options| options.secret = Secret::Text("right-secret-2207".into()));
    site.until_condition("job", "ServerReachable", "True", "").await;
    ends_as_the_only_one(&site, "job", &id).await;
}
