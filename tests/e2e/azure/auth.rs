//! A whole export with each way to authenticate.

use azure_fhir::{Listener, Options, Secret};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::authentication::v1::TokenReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::tenant::{Tenant, account, by_account, by_secret, claims, subject};
use crate::site::{Site, condition};

/// The `Authorization` headers that the FHIR server received, except with `/metadata`, which needs none.
fn authorizations(site: &Site) -> Vec<String> {
    let asked = site.fhir.requests().into_iter().filter(|r| !r.path.ends_with("/metadata"));
    asked.map(|r| r.authorization.unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_client_secret() {
    let (tenant, mut site) =
        Tenant::start("client", Secret::Text("s3cr+t of clinic".into()), Options::default()).await;
    site.secret("client", json!({"secret": "s3cr+t of clinic"}), true).await;
    site.apply_server_named("clinic", tenant.server(&site, by_secret()).await).await;
    site.start_operator().await;
    site.export("whole", json!({"level": "System", "container": "client"}), json!({})).await;
    let object = site.complete("whole").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    assert_eq!(object.status.unwrap().attempts, Some(1));

    let url = site.fhir.tls_url().unwrap();
    assert_eq!(tenant.sent("scope"), [format!("{url}/.default")], "the audience is the origin of url");
    assert_eq!(tenant.sent("client_id"), [tenant.client_id()]);
    assert!(site.fhir.requests().iter().all(|r| r.listener == Listener::FhirTls));
    for authorization in authorizations(&site) {
        assert_eq!(claims(authorization.strip_prefix("Bearer ").unwrap())["aud"], url);
    }
}

#[tokio::test]
async fn a_service_account_of_the_namespace() {
    let (mut tenant, mut site) = Tenant::start("workload", Secret::Any, Options::default()).await;
    tenant.change(|options| options.secret = Secret::AssertionOf("nobody".into()));
    let subject = subject(&site);
    account(&site, true, Some(tenant.client_id())).await;
    site.apply_server_named("clinic", tenant.server(&site, by_account()).await).await;
    site.start_operator().await;
    site.export("whole", json!({"level": "Patient", "container": "workload"}), json!({})).await;
    let object = site.until_condition("whole", "ServerReachable", "False", "TokenRefused").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(message.contains("AADSTS700213") && message.contains("federated"), "{message}");

    tenant.change(|options| options.secret = Secret::AssertionOf(subject.clone()));
    let object = site.complete("whole").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");

    let assertion = tenant.sent("client_assertion").pop().unwrap();
    let said = claims(&assertion);
    assert_eq!(said["aud"], json!(["api://AzureADTokenExchange"]));
    assert_eq!(said["sub"], json!(subject));
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 3607, "{said}");
    let types = tenant.sent("client_assertion_type");
    assert!(types.iter().all(|t| t == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    // The assertion is a token of the API server, valid for that audience and no other.
    let reviews: Api<TokenReview> = Api::all(site.client.clone());
    for (audience, good) in [("api://AzureADTokenExchange", true), ("https://kubernetes.default.svc", false)]
    {
        let review = json!({"metadata": {}, "spec": {"token": assertion, "audiences": [audience]}});
        let review: TokenReview = serde_json::from_value(review).unwrap();
        let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        assert_eq!(status.authenticated.unwrap_or_default(), good, "{audience}: {status:?}");
        let user = status.user.and_then(|user| user.username).unwrap_or_default();
        assert_eq!(user, if good { subject.as_str() } else { "" });
    }
}

#[tokio::test]
async fn user_name_and_password() {
    let mut site = Site::without_server("basic", Options::default()).await;
    site.secret("login", json!({"username": "exporter", "password": "pass:wörd\n"}), true).await;
    site.apply_server(json!({"auth": {"type": "Basic", "basic": {"secretRef": {"name": "login"}}}})).await;
    site.start_operator().await;
    site.export("whole", json!({"level": "System", "container": "basic"}), json!({})).await;
    site.complete("whole").await;
    let expected = format!("Basic {}", BASE64_STANDARD.encode("exporter:pass:wörd"));
    let sent = authorizations(&site);
    assert!(sent.len() >= 3 && sent.iter().all(|sent| *sent == expected), "{sent:?}");
}

#[tokio::test]
async fn a_role_that_is_missing_is_told_by_its_name() {
    let (mut tenant, mut site) = Tenant::start("norole", Secret::Any, Options::default()).await;
    site.secret("client", json!({"secret": "any-secret-7431"}), true).await;
    site.apply_server_named("clinic", tenant.server(&site, by_secret()).await).await;
    tenant.change(|options| {
        options.roles = Some(vec!["globalReader".into()]);
        // The lifetime is short, so that the next token soon carries the role.
        options.lifetime = 5;
    });
    site.start_operator().await;
    site.export("role", json!({"level": "System", "container": "norole"}), json!({})).await;
    let object = site.until_condition("role", "ServerReachable", "False", "Forbidden").await;
    assert!(condition(&object, "ServerReachable").unwrap().2.contains("FHIR Data Exporter"));
    tenant.change(|options| options.roles = Some(vec!["globalExporter".into()]));
    let object = site.complete("role").await;
    assert_eq!(object.status.unwrap().attempts, Some(1));
}
