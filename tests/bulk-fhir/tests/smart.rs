//! Tokens: what the token endpoint takes, and what tokens are good for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bulk_fhir::{Access, On, Options, Proof, RequestFault, Server, Smart, TestCa, token_error};
use common::{client, get, headers};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData};
use serde_json::{Value, json};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn key() -> (EncodingKey, Value) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    // An uncompressed point: 4, x, y.
    let point = pair.der_bytes();
    let part = |from: usize| BASE64_URL_SAFE_NO_PAD.encode(&point[from..from + 48]);
    let jwk = json!({ "kty": "EC", "crv": "P-384", "kid": "one", "x": part(1), "y": part(49), "key_ops": ["verify"] });
    (EncodingKey::from_ec_der(&pair.serialize_der()), jwk)
}

fn claims(server: &Server, jti: &str) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({ "iss": "me", "sub": "me", "aud": server.token_url(), "exp": now + 200, "jti": jti })
}

fn sign(claims: &Value, key: &EncodingKey) -> String {
    let mut header = Header::new(Algorithm::ES384);
    header.kid = Some("one".into());
    encode(&header, claims, key).unwrap()
}

async fn ask(server: &Server, assertion: &str, scope: &str) -> (u16, Value) {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", scope)
        .append_pair("client_assertion_type", JWT_BEARER)
        .append_pair("client_assertion", assertion)
        .finish();
    answer(client().post(server.token_url()).body(form)).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn started(smart: Smart) -> Server {
    Server::start(Options { access: Access::Smart(smart), ..Options::default() }).await.unwrap()
}

async fn kick_off(server: &Server, token: &Value) -> u16 {
    let request = client().get(format!("{}/$export", server.url())).bearer_auth(token.as_str().unwrap());
    headers(request).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_signed_assertion_gets_a_token_that_ends() {
    let (key, jwk) = key();
    let smart = Smart {
        lifetime_seconds: 1,
        expires_in_as_text: true,
        ..Smart::client("me", Proof::Keys(vec![jwk]))
    };
    let server = started(smart).await;
    let configuration = get(&format!("{}/.well-known/smart-configuration", server.url())).await;
    let configuration: Value = configuration.json().await.unwrap();
    assert_eq!(configuration["token_endpoint"], server.token_url());
    let (status, body) =
        ask(&server, &sign(&claims(&server, "a"), &key), "system/Patient.rs system/*.read").await;
    assert_eq!((status, &body["expires_in"]), (200, &json!("1")));
    assert_eq!(kick_off(&server, &body["access_token"]).await, 202);
    assert_eq!(kick_off(&server, &json!("made-up")).await, 401);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(kick_off(&server, &body["access_token"]).await, 401);
    let (_, body) = ask(&server, &sign(&claims(&server, "b"), &key), "system/*.rs").await;
    server.revoke_tokens();
    assert_eq!(kick_off(&server, &body["access_token"]).await, 401);
}

#[tokio::test]
async fn a_wrong_assertion_is_refused() {
    let ((key, jwk), (other, _)) = (key(), key());
    let server = started(Smart::client("me", Proof::Keys(vec![jwk]))).await;
    let now = jiff::Timestamp::now().as_second();
    let changed = |name: &str, value: Value| {
        let mut claims = claims(&server, name);
        claims[name] = value;
        sign(&claims, &key)
    };
    let used = sign(&claims(&server, "once"), &key);
    assert_eq!(ask(&server, &used, "system/*.rs").await.0, 200);
    for wrong in [
        used,
        sign(&claims(&server, "other"), &other),
        changed("aud", json!(server.url())),
        changed("exp", json!(now + 900)),
        changed("exp", json!(now - 5)),
        changed("iss", json!("you")),
        changed("jti", Value::Null),
        "no.jwt.atall".into(),
    ] {
        let (status, body) = ask(&server, &wrong, "system/*.rs").await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    }
    for (jti, scope) in [("s1", "system/*.cruds"), ("s2", ""), ("s3", "patient/*.rs")] {
        let (status, body) = ask(&server, &sign(&claims(&server, jti), &key), scope).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_scope")));
    }
    server.fault(RequestFault::next(On::Token, 1, token_error(401, "invalid_client")));
    assert_eq!(ask(&server, &sign(&claims(&server, "f"), &key), "system/*.rs").await.0, 401);
    assert_eq!(ask(&server, &sign(&claims(&server, "g"), &key), "system/*.rs").await.0, 200);
}

#[tokio::test]
async fn a_secret_comes_in_the_header_or_the_body() {
    let server = started(Smart::client("me", Proof::Secret("s e".into()))).await;
    let form = "grant_type=client_credentials&scope=system%2F*.read";
    let posted = |secret: &str| format!("{form}&client_id=me&client_secret={secret}");
    let post = || client().post(server.token_url());
    assert_eq!(answer(post().body(posted("s+e"))).await.0, 200);
    assert_eq!(answer(post().basic_auth("me", Some("s%20e")).body(form)).await.0, 200);
    assert_eq!(answer(post().body(posted("wrong"))).await.0, 401);
    assert_eq!(answer(post().body(form)).await.0, 401);
}

#[tokio::test]
async fn user_and_password_do_without_tokens() {
    let access = Access::Basic("user".into(), "pass".into());
    let server = Server::start(Options { access, ..Options::default() }).await.unwrap();
    let url = format!("{}/$export", server.url());
    let right = headers(client().get(&url)).basic_auth("user", Some("pass")).send().await.unwrap();
    assert_eq!(right.status(), 202);
    let wrong = headers(client().get(&url)).basic_auth("user", Some("no")).send().await.unwrap();
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["www-authenticate"]),
        (401, &"Basic realm=\"fhir\"".parse().unwrap())
    );
}

#[tokio::test]
async fn https_has_its_own_urls() {
    let ca = Arc::new(TestCa::new().unwrap());
    let options = Options {
        tls: Some(Arc::clone(&ca)),
        access: Access::Smart(Smart::client("me", Proof::Secret("s".into()))),
        ..Options::default()
    };
    let server = Server::start(options).await.unwrap();
    let trusting = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    let url = server.tls_url().unwrap();
    let configuration: Value = trusting
        .get(format!("{url}/.well-known/smart-configuration"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(url.starts_with(configuration["token_endpoint"].as_str().unwrap().trim_end_matches("/token")));
}
