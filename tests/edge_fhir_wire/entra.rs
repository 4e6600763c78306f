//! Entra tokens, from a token server of the tests.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use fhir_export_operator::api::{Entra, Reason};
use fhir_export_operator::core::wire::{FailureKind, Sent};
use fhir_export_operator::credentials::{EntraSettings, Identities, Issuer, token_problem};
use fhir_export_operator::ports::Wire;
use serde_json::{Value, json};

use crate::cluster::{
    CLIENT, Cluster, TENANT, cancel, client_secret, get, kick_off, server, wire, wire_through,
};
use crate::server::{Act, Authority, Server, answer};

/// Starts a token server that follows `script`, and returns it with the settings that lead to it.
async fn entra(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> (Server, EntraSettings) {
    let authority = Authority::new();
    let server = Server::https(&authority, "localhost", script).await;
    let host = format!("https://localhost:{}", server.port).parse().unwrap();
    let settings = EntraSettings {
        authority_host: Some(host),
        extra_ca: vec![authority.pem()],
        ..EntraSettings::default()
    };
    (server, settings)
}

fn tokens(number: usize, _: &str) -> Act {
    let body = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": format!("t{number}") });
    answer("200 OK", "", &body.to_string())
}

fn refusal(code: u32) -> Act {
    let body = json!({ "error": "invalid_client", "error_codes": [code], "error_description": "long words" });
    answer("401 Unauthorized", "", &body.to_string())
}

fn workload() -> Value {
    json!({ "type": "Entra", "entra": { "type": "WorkloadIdentity", "tenantID": TENANT, "clientID": CLIENT,
        "workloadIdentity": { "serviceAccountRef": { "name": "exporter" } } } })
}

fn bearers(server: &Server) -> Vec<String> {
    server.headers("authorization").into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn one_token_serves_all_and_names_the_origin_as_its_audience() {
    let (entra, settings) = entra(tokens).await;
    let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
    let wire = wire(&Cluster::with(&[("client", "secret", "hush")]), settings);
    let one = server("one", &format!("{}/a", fhir.url()), &client_secret(), &json!({}));
    let two = server("two", &format!("{}/b", fhir.url()), &client_secret(), &json!({}));
    let (a, b) = tokio::join!(wire.authorize(&one), wire.authorize(&two));
    a.unwrap();
    b.unwrap();
    wire.send(&one, &get(&one.spec.url)).await.unwrap();
    wire.send(&two, &get(&two.spec.url)).await.unwrap();
    assert_eq!(bearers(&fhir), ["Bearer t0", "Bearer t0"]);
    let asked = entra.seen();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("POST /tenant.example/oauth2/v2.0/token "), "{}", asked[0]);
    let scope = format!("scope=http%3A%2F%2F127.0.0.1%3A{}%2F.default", fhir.port);
    assert!(asked[0].contains(&scope) && asked[0].contains("client_secret=hush"), "{}", asked[0]);
}

/// The answer of a node's token endpoint (Microsoft Learn, "How to use managed identities for Azure resources on an
/// Azure VM to acquire an access token").
fn node_tokens(number: usize, _: &str) -> Act {
    let expires = jiff::Timestamp::now().as_second() + 86_400;
    let body = json!({ "access_token": format!("m{number}"), "client_id": CLIENT, "expires_in": "86400",
        "expires_on": expires.to_string(), "ext_expires_in": "86399", "not_before": "0",
        "resource": "https://a.example", "token_type": "Bearer" });
    answer("200 OK", "content-type: application/json\r\n", &body.to_string())
}

fn managed(client: Option<&str>) -> Value {
    json!({ "type": "Entra", "entra": { "type": "ManagedIdentity", "clientID": client } })
}

fn lent() -> EntraSettings {
    EntraSettings { own_identity_namespaces: ["fhir".to_owned()].into(), ..EntraSettings::default() }
}

#[tokio::test]
async fn a_managed_identity_gets_its_token_from_the_node() {
    for client in [None, Some(CLIENT)] {
        let node = Server::http(node_tokens).await;
        let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
        let wire = wire_through(&node.url(), lent());
        let clinic = server("clinic", &fhir.url(), &managed(client), &json!({}));
        wire.authorize(&clinic).await.unwrap();
        for _ in 0..2 {
            wire.send(&clinic, &get(&fhir.url())).await.unwrap();
        }
        assert_eq!(bearers(&fhir), ["Bearer m0", "Bearer m0"]);
        let asked = node.seen();
        assert_eq!((asked.len(), node.headers("metadata")), (1, vec![Some("true".to_owned())]));
        let resource = format!("resource=http%3A%2F%2F127.0.0.1%3A{}", fhir.port);
        let line = asked[0].lines().next().unwrap();
        assert!(line.starts_with("GET http://169.254.169.254/metadata/identity/oauth2/token?"), "{line}");
        assert!(line.contains(&resource) && !line.contains(".default"), "{line}");
        assert_eq!(line.contains(&format!("client_id={CLIENT}")), client.is_some(), "{line}");
    }
}

#[tokio::test]
async fn a_node_that_refuses_a_managed_identity_is_told_with_what_to_do() {
    let body = json!({ "error": "invalid_request", "error_description": "Identity not found" }).to_string();
    let node = Server::http(move |_, _| answer("400 Bad Request", "", &body)).await;
    let wire = wire_through(&node.url(), lent());
    let clinic = server("clinic", "https://a.example", &managed(Some(CLIENT)), &json!({}));
    let failure = wire.authorize(&clinic).await.unwrap_err();
    assert_eq!(failure.reason, Reason::TokenRefused);
    assert!(
        failure.message.contains("managed identity") && failure.message.contains("assign"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_changed_client_secret_is_a_new_identity() {
    let (entra, settings) = entra(tokens).await;
    let cluster = Cluster::with(&[("client", "secret", "hush")]);
    let wire = wire(&cluster, settings);
    let clinic = server("clinic", "https://localhost", &client_secret(), &json!({}));
    wire.authorize(&clinic).await.unwrap();
    cluster.set("client", "secret", "hush2");
    wire.authorize(&clinic).await.unwrap();
    assert!(entra.seen()[1].contains("client_secret=hush2"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_exactly_once() {
    let (entra, settings) = entra(tokens).await;
    let fhir = Server::http(|_, request| {
        let known = request.contains("Bearer t1");
        answer(if known { "202 Accepted" } else { "401 Unauthorized" }, "", "")
    })
    .await;
    let wire = wire(&Cluster::with(&[("client", "secret", "hush")]), settings);
    let clinic = server("clinic", &fhir.url(), &client_secret(), &json!({}));
    assert_eq!(wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap().status, 202);
    assert_eq!(bearers(&fhir), ["Bearer t0", "Bearer t1"]);
    assert_eq!(entra.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_asked_twice_and_entra_not_again_and_again() {
    let (entra, settings) = entra(tokens).await;
    let fhir = Server::http(|_, _| answer("401 Unauthorized", "", "")).await;
    let wire = wire(&Cluster::with(&[("client", "secret", "hush")]), settings);
    let clinic = server("clinic", &fhir.url(), &client_secret(), &json!({}));
    for _ in 0..5 {
        assert_eq!(wire.send(&clinic, &get(&fhir.url())).await.unwrap().status, 401);
    }
    assert_eq!((fhir.seen().len(), entra.seen().len()), (6, 2));
}

#[tokio::test]
async fn entra_s_refusals_are_told_by_their_number() {
    for (code, said) in [
        (
            7_000_215,
            "Entra refuses the credential (AADSTS7000215: the client secret is wrong); put the secret's value, not its \
             id, into the Secret",
        ),
        (99_999, "Entra refuses the credential (AADSTS99999); look up the code, and check the identity"),
    ] {
        let (entra, settings) = entra(move |_, _| refusal(code)).await;
        let wire = wire(&Cluster::with(&[("client", "secret", "hush")]), settings);
        let clinic = server("clinic", "https://localhost", &client_secret(), &json!({}));
        let failures = futures::future::join_all((0..50).map(|_| wire.authorize(&clinic))).await;
        for failure in failures {
            let failure = failure.unwrap_err();
            assert_eq!(
                (failure.sent, failure.reason, failure.kind),
                (Sent::No, Reason::TokenRefused, FailureKind::Unreachable)
            );
            assert_eq!(failure.message, said);
        }
        assert_eq!(entra.seen().len(), 1, "fifty waiting exports ask once");
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_used() {
    let (_, untrusted) = entra(tokens).await;
    let untrusted = EntraSettings { extra_ca: Vec::new(), ..untrusted };
    let (_, odd) = entra(|_, _| answer("502 Bad Gateway", "", "<html>")).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = EntraSettings {
        authority_host: Some(format!("https://{closed}").parse().unwrap()),
        ..EntraSettings::default()
    };
    for (settings, said) in [
        (
            untrusted,
            "TLS with localhost failed, so there is no token: its certificate comes from an authority that is not \
             trusted here; ",
        ),
        (odd, "localhost "),
        (closed, "127.0.0.1 refused the connection, so there is no token; "),
    ] {
        let wire = wire(&Cluster::with(&[("client", "secret", "hush")]), settings);
        let clinic = server("clinic", "https://localhost", &client_secret(), &json!({}));
        let failure = wire.authorize(&clinic).await.unwrap_err();
        assert_eq!(
            (failure.sent, failure.reason),
            (Sent::No, Reason::TokenUnavailable),
            "{}",
            failure.message
        );
        assert!(failure.message.starts_with(said), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_client_secret_that_is_gone_starts_nothing_and_its_token_still_cancels() {
    let (entra, settings) = entra(tokens).await;
    let fhir = Server::http(|_, _| answer("202 Accepted", "", "")).await;
    let cluster = Cluster::with(&[("client", "secret", "hush")]);
    let wire = wire(&cluster, settings);
    let clinic = server("clinic", &fhir.url(), &client_secret(), &json!({}));
    wire.authorize(&clinic).await.unwrap();
    cluster.keys.lock().unwrap().clear();
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().kind, FailureKind::Missing);
    wire.send(&clinic, &cancel(&fhir.url())).await.unwrap();
    assert_eq!((bearers(&fhir), entra.seen().len()), (vec!["Bearer t0".to_owned()], 1));
}

#[tokio::test]
async fn a_service_account_s_token_buys_one_of_entra() {
    let (entra, settings) = entra(tokens).await;
    let cluster = Cluster::with(&[("exporter", "token", "jwt")]);
    let wire = wire(&cluster, settings);
    let clinic = server("clinic", "https://localhost", &workload(), &json!({}));
    wire.authorize(&clinic).await.unwrap();
    assert!(entra.seen()[0].contains("client_assertion=jwt&"), "{}", entra.seen()[0]);

    let other = json!({ "type": "Entra", "entra": { "type": "WorkloadIdentity", "tenantID": "other", "clientID": CLIENT,
        "workloadIdentity": { "serviceAccountRef": { "name": "exporter" } } } });
    cluster.fail(Reason::ServiceAccountMismatch);
    let failure =
        wire.authorize(&server("other", "https://localhost", &other, &json!({}))).await.unwrap_err();
    assert_eq!((failure.kind, failure.reason), (FailureKind::Missing, Reason::ServiceAccountMismatch));
}

#[tokio::test]
async fn identities_and_audiences_that_the_operator_does_not_lend() {
    let (entra, settings) = entra(tokens).await;
    let settings = EntraSettings {
        allowed_audiences: ["api://proxy".to_owned()].into(),
        own_identity_namespaces: ["platform".to_owned()].into(),
        ..settings
    };
    let http = settings.http_client().unwrap();
    let identities = Identities::new(Cluster::with(&[("client", "secret", "hush")]), settings, http);
    let of = |auth: Value| serde_json::from_value::<Entra>(auth).unwrap();
    let own = of(json!({ "type": "WorkloadIdentity", "tenantID": TENANT, "clientID": CLIENT }));
    let managed = of(json!({ "type": "ManagedIdentity" }));
    for entra in [&own, &managed] {
        let refused = identities.entra("fhir", entra, "https://a.example").await.unwrap_err();
        assert_eq!(refused.reason, Reason::OwnIdentityNotAllowed);
    }
    assert!(identities.entra("platform", &managed, "https://a.example").await.is_ok());

    let secret = of(client_secret()["entra"].clone());
    for (audience, scope) in [
        (None, Some("https://a.example/.default")),
        (Some("https://a.example"), Some("https://a.example/.default")),
        (Some("https://a.example/"), Some("https://a.example//.default")),
        (Some("api://proxy"), Some("api://proxy/.default")),
        (Some("https://storage.azure.com"), None),
        (Some("https://a.example.evil.example"), None),
    ] {
        let entra = Entra { audience: audience.map(str::to_owned), ..secret.clone() };
        let found = identities.scope(&entra, "https://a.example");
        let made = identities.entra("fhir", &entra, "https://a.example").await;
        assert_eq!(made.is_ok(), scope.is_some(), "{audience:?}");
        match scope {
            Some(scope) => assert_eq!(found.unwrap(), scope),
            None => assert_eq!(found.unwrap_err().reason, Reason::AudienceNotAllowed),
        }
    }
    assert_eq!(entra.seen().len(), 0, "nobody was asked for anything");
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let (_, settings) = entra(|_, _| refusal(7_000_215)).await;
    let http = settings.http_client().unwrap();
    let identities = Identities::new(Cluster::with(&[("client", "secret", "hush")]), settings, http);
    let entra: Entra = serde_json::from_value(client_secret()["entra"].clone()).unwrap();
    let credential: Arc<dyn TokenCredential> =
        identities.entra("fhir", &entra, "https://a.example").await.unwrap();
    let error = credential.get_token(&["https://a.example/.default"], None).await.unwrap_err();
    let problem = token_problem(&error, &Issuer::Host("localhost".to_owned()));
    assert_eq!(problem.reason, Reason::TokenRefused);
    for shown in [format!("{credential:?}"), format!("{error:?}"), error.to_string(), format!("{problem:?}")]
    {
        assert!(!shown.contains("hush"), "{shown}");
    }
}
