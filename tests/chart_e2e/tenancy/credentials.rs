//! An attacker who may write a `FhirServer` and has a host: the operator sends the host nothing from a Secret or
//! ServiceAccount that its owner did not label.

use azure_fhir::{Access, KnownToken, Options, Script};
use fhir_export_operator::api::{FhirExport, FhirServer};
use serde_json::{Value, json};

use super::ear::Ear;
use super::world::{Person, release, shared};
use crate::release::{Release, export, secret, server};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const CLIENT: &str = "99999999-8888-7777-6666-555555555555";

/// Creates a Secret and a ServiceAccount without the credential label.
async fn unlabelled(release: &Release, namespace: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hush", "namespace": namespace},
        "stringData": {"token": "hush-token", "username": "hush-user", "password": "hush-password", "key": "aHVzaA==",
            "sas": "sv=1&sig=hush-sas", "tls.crt": "hush-certificate", "tls.key": "hush-key", "ca.crt": "hush-ca"}});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": namespace,
        "annotations": {"azure.workload.identity/client-id": CLIENT}}});
    release.apply(&secret).await;
    release.apply(&account).await;
}

fn key(key: &str) -> Value {
    json!({"name": "hush", "key": key})
}

fn entra(more: &Value) -> Value {
    let mut entra = json!({"tenantID": TENANT, "clientID": CLIENT});
    entra.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": "Entra", "entra": entra})
}

/// The attacks: the name and spec of each FhirServer, and the reason that its condition must have.
fn attacks(host: &str) -> Vec<(&'static str, Value, &'static str)> {
    let none = json!({"type": "None"});
    let storage = |auth: Value| {
        json!({"type": "AzureBlob",
        "azureBlob": {"endpoint": format!("{host}/acc"), "auth": auth}})
    };
    let smart =
        json!({"clientID": "c", "privateKeySecretRef": key("key"), "tokenURL": format!("{host}/token")});
    let oauth = json!({"clientID": "c", "secretRef": key("token"), "tokenURL": format!("{host}/token")});
    let federated =
        json!({"type": "WorkloadIdentity", "workloadIdentity": {"serviceAccountRef": {"name": "robot"}}});
    let by_secret = json!({"type": "ClientSecret", "clientSecretRef": key("token")});
    let own = json!({"type": "ManagedIdentity"});
    let audience = json!({"type": "ClientSecret", "clientSecretRef": key("token"),
        "audience": "https://management.azure.com"});
    let https = host.replace("http:", "https:");
    let unlabelled = "CredentialNotLabelled";
    vec![
        (
            "bearer",
            json!({"auth": {"type": "BearerToken", "bearerToken": {"secretRef": key("token")}}}),
            unlabelled,
        ),
        ("basic", json!({"auth": {"type": "Basic", "basic": {"secretRef": {"name": "hush"}}}}), unlabelled),
        (
            "header",
            json!({"auth": none, "headers": [{"name": "X-Key", "secretRef": key("token")}]}),
            unlabelled,
        ),
        (
            "smart",
            json!({"auth": {"type": "SmartBackendServices", "smartBackendServices": smart}}),
            unlabelled,
        ),
        ("oauth", json!({"auth": {"type": "OAuthClientSecret", "oauthClientSecret": oauth}}), unlabelled),
        ("federated", json!({"auth": entra(&federated)}), unlabelled),
        ("by-secret", json!({"auth": entra(&by_secret)}), unlabelled),
        ("own", json!({"auth": entra(&own)}), "OwnIdentityNotAllowed"),
        ("audience", json!({"auth": entra(&audience)}), "AudienceNotAllowed"),
        (
            "certificate",
            json!({"auth": none, "tls": {"clientCertificateSecretRef": {"name": "hush"}}}),
            unlabelled,
        ),
        (
            "ca",
            json!({"auth": none, "tls": {"caBundleRef": {"kind": "Secret", "name": "hush", "key": "ca.crt"}}}),
            unlabelled,
        ),
        (
            "sas",
            json!({"auth": none, "storage": storage(json!({"type": "SASToken", "secretRef": key("sas")}))}),
            "DependencyMissing",
        ),
        (
            "account",
            json!({"auth": none, "storage": storage(json!({"type": "AccountKey", "secretRef": key("key")}))}),
            "DependencyMissing",
        ),
        (
            "storage",
            json!({"auth": entra(&federated), "storage": {"type": "AzureBlob", "azureBlob":
                {"endpoint": https, "auth": {"type": "SameAsServer"}}}}),
            "StorageHostNotAllowed",
        ),
    ]
}

#[tokio::test]
async fn nothing_unlabelled_reaches_a_host_of_the_writer_s() {
    let release = release().await;
    let writer = Person::new(release, "plot", &json!({})).await;
    let writer =
        writer.with(release, "connections", &["fhirservers"], &["create", "get", "update", "patch"]).await;
    unlabelled(release, "plot").await;
    let ear = Ear::listen().await;
    let attacks = attacks(&ear.url());
    for (name, spec, _) in &attacks {
        let mut spec = spec.clone();
        spec["url"] = ear.url().into();
        spec["dialect"] = "BulkData".into();
        spec["allowInsecureHTTP"] = true.into();
        // Trusted origins do not widen what the FhirServer may read.
        spec["trustedOrigins"] = json!([ear.url()]);
        spec["fileOrigins"] = json!([ear.url()]);
        if spec["storage"].is_null() {
            spec["storage"] = release.storage();
        }
        writer.create::<FhirServer>(&server("plot", name, &spec)).await.unwrap();
    }
    for (name, _, reason) in &attacks {
        told(release, name, reason).await;
    }
    for request in ear.heard() {
        let lower = request.to_ascii_lowercase();
        assert!(!lower.contains("hush") && !lower.contains("authorization:"), "{request}");
        assert!(
            !lower.contains("eyj") && !lower.contains("sig=") && !lower.contains("client_assertion"),
            "{request}"
        );
    }
    let status = release.kubectl("get fserver -n plot -o json").await;
    let written: Value = serde_json::from_str(&status).unwrap();
    for server in written["items"].as_array().unwrap() {
        assert!(!server["status"].to_string().contains("hush-"), "{}", server["status"]);
    }
}

/// Waits until one of the FhirServer's conditions has this reason.
async fn told(release: &Release, name: &str, reason: &str) {
    let result =
        stage::wait_for(&format!("{name} to be told {reason}"), crate::release::PATIENCE, || async {
            let output = release.kubectl(&format!("get fserver {name} -n plot -o json")).await;
            let server: Value = serde_json::from_str(&output).unwrap();
            let conditions = server["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|c| c["reason"] == reason) {
                Ok(())
            } else {
                Err(format!("{conditions:#?}"))
            }
        })
        .await;
    result.unwrap_or_else(|error| panic!("{error}\n--- the operator's log:\n{}", release.operator.log_end()));
}

#[tokio::test]
async fn a_label_that_is_taken_off_ends_the_use_also_of_a_job_that_runs() {
    let release = release().await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    fhir.script(Script::stuck());
    let tenant = Person::new(release, "unlabelled", &json!({})).await;
    release.apply(&secret("unlabelled", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("unlabelled")).await;
    release.apply(&server("unlabelled", "clinic", &shared(release, &fhir.url(), &json!({})))).await;
    let long = export("unlabelled", "long", "clinic", &json!({"level": "System"}), &json!({}));
    tenant.create::<FhirExport>(&long).await.unwrap();
    release.until("fexp/long", "unlabelled", "Reconciling=False KickedOff").await;

    release.kubectl("label secret token -n unlabelled fhirexport.dev/credential-").await;
    release.until("fexp/long", "unlabelled", "ServerReachable=False CredentialNotLabelled").await;
    let asked = fhir.requests().len();
    let by_spec = json!({"spec": {"cancel": true}});
    tenant.change("long", &by_spec).await.unwrap();
    release.until("fexp/long", "unlabelled", "Failed=True CancelUnconfirmed").await;
    assert_eq!(fhir.requests().len(), asked, "not even to cancel");
}
