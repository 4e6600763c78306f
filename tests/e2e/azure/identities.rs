//! The identities that a `FhirServer` may use, and the audiences that it may request tokens for.

use azure_fhir::{Access, Options, Secret, unsigned_jwt};
use serde_json::json;

use super::tenant::{Tenant, account, by_account, by_secret, subject};
use crate::site::{condition, merge};

#[tokio::test]
async fn a_service_account_must_be_there_opt_in_and_be_of_this_client() {
    let (mut tenant, mut site) = Tenant::start("account", Secret::Any, Options::default()).await;
    let subject = subject(&site);
    tenant.change(|options| options.secret = Secret::AssertionOf(subject.clone()));
    site.apply_server_named("clinic", tenant.server(&site, by_account()).await).await;
    site.start_operator().await;
    site.export("waits", json!({"level": "System", "container": "account"}), json!({})).await;
    let object = site.until_condition("waits", "Reconciling", "True", "ServiceAccountNotFound").await;
    assert!(condition(&object, "Reconciling").unwrap().2.contains("exporter"));
    account(&site, false, Some(tenant.client_id())).await;
    let object = site.until_condition("waits", "Reconciling", "True", "CredentialNotLabelled").await;
    assert!(condition(&object, "Reconciling").unwrap().2.contains("fhirexport.dev/credential"));
    account(&site, true, None).await;
    site.until_condition("waits", "Reconciling", "True", "ServiceAccountMismatch").await;
    account(&site, true, Some("somebody-else")).await;
    let object = site
        .until("waits", "told of the other client", |o| {
            condition(o, "Reconciling").is_some_and(|c| c.2.contains("somebody-else"))
        })
        .await;
    assert!(condition(&object, "Reconciling").unwrap().2.contains(tenant.client_id()));
    assert_eq!(tenant.requests().len(), 0, "no token was asked for until all was right");
    account(&site, true, Some(tenant.client_id())).await;
    let object = site.complete("waits").await;
    assert_eq!((object.status.unwrap().attempts, site.kick_offs()), (Some(1), 1));
}

#[tokio::test]
async fn another_audience_must_be_on_the_operator_s_list() {
    let (mut tenant, mut site) = Tenant::start("audience", Secret::Any, Options::default()).await;
    tenant.change(|options| options.audiences.push("api://fhir-proxy".into()));
    site.fhir.set_access(Access::Jwt { audience: "api://fhir-proxy".into() });
    site.secret("client", json!({"secret": "any-secret-7431"}), true).await;
    let with_audience = |audience: &str| {
        let mut entra = by_secret();
        merge(&mut entra, json!({"audience": audience}));
        entra
    };
    for audience in ["https://storage.azure.com", "https://graph.microsoft.com/", "api://other"] {
        let spec = tenant.server(&site, with_audience(audience)).await;
        site.apply_server_named("clinic", spec).await;
        if site.operator.is_none() {
            site.flags.push("--entra-audiences=api://fhir-proxy".into());
            site.start_operator().await;
            site.export("asks", json!({"level": "System", "container": "audience"}), json!({})).await;
        }
        let object = site
            .until("asks", audience, |o| condition(o, "Reconciling").is_some_and(|c| c.2.contains(audience)))
            .await;
        let (_, reason, message) = condition(&object, "Reconciling").unwrap();
        assert_eq!(reason, "AudienceNotAllowed");
        assert!(message.contains("--entra-audiences"), "{message}");
    }
    assert_eq!(tenant.requests().len(), 0);
    site.apply_server_named("clinic", tenant.server(&site, with_audience("api://fhir-proxy")).await).await;
    site.complete("asks").await;
    assert_eq!(tenant.sent("scope"), ["api://fhir-proxy/.default"]);
}

#[tokio::test]
async fn the_operator_s_own_identity_serves_listed_namespaces_only() {
    let (mut tenant, mut site) = Tenant::start("own", Secret::Any, Options::default()).await;
    let token = unsigned_jwt(&json!({"sub": "the operator"}));
    let file = site.folder.write("token", &token).unwrap();
    tenant.change(|options| options.secret = Secret::AssertionOf("the operator".into()));
    site.variables = vec![("AZURE_FEDERATED_TOKEN_FILE".into(), file.display().to_string())];
    for (name, entra) in
        [("workload", json!({"type": "WorkloadIdentity"})), ("managed", json!({"type": "ManagedIdentity"}))]
    {
        site.apply_server_named(name, tenant.server(&site, entra).await).await;
        let reference = json!({"serverRef": {"name": name}});
        site.export(name, json!({"level": "System", "container": "own"}), reference).await;
    }
    site.flags.push("--own-identity-namespaces=somewhere-else".into());
    site.start_operator().await;
    for name in ["workload", "managed"] {
        let object = site.until_condition(name, "Reconciling", "True", "OwnIdentityNotAllowed").await;
        let message = condition(&object, "Reconciling").unwrap().2;
        assert!(message.contains(&site.namespace), "{message}");
    }
    assert_eq!((tenant.requests().len(), site.kick_offs()), (0, 0));

    site.kill_operator().await;
    site.flags.pop();
    site.flags.push(format!("--own-identity-namespaces={}", site.namespace));
    site.start_operator().await;
    site.complete("workload").await;
    assert_eq!(tenant.sent("client_assertion"), [token]);
}
