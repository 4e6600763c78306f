//! Reading Secrets, ServiceAccounts and ConfigMaps.

use base64::Engine;
use fhir_export_operator::api::{KeyRef, Reason};
use fhir_export_operator::cluster::KubeCredentials;
use fhir_export_operator::credentials::{CredentialProblem, CredentialSource, Federated};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::place::{kubernetes, namespace};

const NAMESPACE: &str = "credentials";

async fn make<K>(client: &Client, body: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
}

fn key(name: &str, key: &str) -> KeyRef {
    KeyRef { name: name.into(), key: key.into() }
}

fn wrong<T>(result: Result<T, CredentialProblem>, reason: Reason, parts: &[&str]) {
    let Err(problem) = result else { panic!("{reason} was expected") };
    assert_eq!(problem.reason, reason, "{problem}");
    for part in parts {
        assert!(problem.message.contains(part), "{part} is not in: {problem}");
    }
    // The message is a clause, which longer sentences embed verbatim.
    assert!(!problem.message.ends_with('.') && !problem.message.contains("sesame"), "{problem}");
}

#[tokio::test]
async fn credentials_are_read_and_refused() {
    let client = namespace(NAMESPACE).await;
    let labels = json!({ "fhirexport.dev/credential": "true" });
    make::<k8s_openapi::api::core::v1::Secret>(
        &client,
        json!({ "metadata": { "name": "good", "labels": labels },
            "stringData": { "token": " sesame\n", "empty": " ", "username": "sesame" }, "data": { "binary": "/w==" } }),
    )
    .await;
    for (name, labels) in [("plain", json!({})), ("false", json!({ "fhirexport.dev/credential": "yes" }))] {
        let body =
            json!({ "metadata": { "name": name, "labels": labels }, "stringData": { "token": "sesame" } });
        make::<k8s_openapi::api::core::v1::Secret>(&client, body).await;
    }
    let source = KubeCredentials::new(client.clone());

    let token = source.secret_key(NAMESPACE, &key("good", "token")).await.unwrap();
    assert_eq!(token.expose_secret(), "sesame");
    let all = source.secret(NAMESPACE, "good").await.unwrap();
    assert_eq!(all.get("token").map(SecretString::expose_secret), Some(" sesame\n"));
    assert!(!all.contains_key("binary"));

    let read = |name: &'static str, k: &'static str| {
        let source = source.clone();
        async move { source.secret_key(NAMESPACE, &key(name, k)).await }
    };
    wrong(read("absent", "token").await, Reason::SecretNotFound, &["Secret credentials/absent", "create it"]);
    wrong(read("good", "other").await, Reason::SecretKeyMissing, &["credentials/good", "key other"]);
    wrong(read("good", "empty").await, Reason::SecretInvalid, &["credentials/good", "empty"]);
    wrong(read("good", "binary").await, Reason::SecretInvalid, &["credentials/good", "binary", "UTF-8"]);
    for name in ["plain", "false"] {
        let label = "fhirexport.dev/credential=true";
        wrong(read(name, "token").await, Reason::CredentialNotLabelled, &[name, label]);
        wrong(source.secret(NAMESPACE, name).await, Reason::CredentialNotLabelled, &[name, label]);
    }
    let stranger = KubeCredentials::new(kubernetes().await.client_for("default", NAMESPACE).await.unwrap());
    let refused = stranger.secret_key(NAMESPACE, &key("good", "token")).await;
    wrong(
        refused,
        Reason::ConnectionNotAllowed,
        &["Secret credentials/good", "get secrets in namespace credentials", "credentialNamespaces"],
    );
}

#[tokio::test]
async fn config_maps_need_no_label() {
    let client = namespace("config-maps").await;
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), "config-maps");
    let body = json!({ "metadata": { "name": "ca" }, "data": { "ca.crt": "PEM" } });
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
    let source = KubeCredentials::new(client);
    assert_eq!(source.config_map_key("config-maps", "ca", "ca.crt").await.unwrap(), "PEM");
    let absent = source.config_map_key("config-maps", "ca", "other").await;
    wrong(absent, Reason::DependencyMissing, &["ConfigMap config-maps/ca", "key other"]);
}

#[tokio::test]
async fn service_accounts_are_checked_before_a_token_is_asked_for() {
    let client = namespace("accounts").await;
    let api: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), "accounts");
    let account = |name: &str, label: bool, id: Option<&str>| {
        let labels = if label { json!({ "fhirexport.dev/credential": "true" }) } else { json!({}) };
        let notes = id.map_or(json!({}), |id| json!({ "azure.workload.identity/client-id": id }));
        serde_json::from_value(
            json!({ "metadata": { "name": name, "labels": labels, "annotations": notes } }),
        )
        .unwrap()
    };
    for account in [
        account("good", true, Some("client")),
        account("plain", false, Some("client")),
        account("other", true, Some("somebody")),
        account("bare", true, None),
    ] {
        api.create(&PostParams::default(), &account).await.unwrap();
    }
    let source = KubeCredentials::new(client);
    let ask = |name: &'static str| {
        let source = source.clone();
        async move { source.service_account_token("accounts", name, &Federated::Entra("client".into())).await }
    };
    let token = ask("good").await.unwrap();
    let claims = token.expose_secret().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(["api://AzureADTokenExchange"]));
    assert_eq!(claims["sub"], "system:serviceaccount:accounts:good");
    let good_for = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(good_for, 3600);

    wrong(ask("absent").await, Reason::ServiceAccountNotFound, &["ServiceAccount accounts/absent"]);
    wrong(ask("plain").await, Reason::CredentialNotLabelled, &["ServiceAccount accounts/plain"]);
    wrong(ask("other").await, Reason::ServiceAccountMismatch, &["accounts/other", "somebody", "client"]);
    wrong(ask("bare").await, Reason::ServiceAccountMismatch, &["accounts/bare", "no annotation"]);

    // A role of AWS is another identity, with an annotation and an audience of its own.
    let role = |arn: &str| {
        let (source, role) = (source.clone(), Federated::AwsRole(arn.to_owned()));
        async move { source.service_account_token("accounts", "good", &role).await }
    };
    let arn = "arn:aws:iam::123456789012:role/exports";
    wrong(
        role(arn).await,
        Reason::ServiceAccountMismatch,
        &["no annotation", "eks.amazonaws.com/role-arn", arn],
    );
    let notes = json!({ "metadata": { "annotations": { "eks.amazonaws.com/role-arn": arn } } });
    api.patch("good", &PatchParams::default(), &Patch::Merge(notes)).await.unwrap();
    let token = role(arn).await.unwrap();
    let claims = token.expose_secret().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(["sts.amazonaws.com"]));
    wrong(
        role("arn:aws:iam::123456789012:role/admin").await,
        Reason::ServiceAccountMismatch,
        &["role/admin"],
    );
}
