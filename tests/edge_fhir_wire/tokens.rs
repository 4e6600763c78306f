//! The requests that carry a token, and what happens when the token is refused or its Secret is gone.

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::{FailureKind, FileRequest, Request, Sent};
use fhir_export_operator::credentials::{CacheTimes, EntraSettings};
use fhir_export_operator::ports::{FileAnswer, Wire};
use serde_json::json;

use crate::cluster::{Cluster, bearer, cancel, get, kick_off, server, wire, wire_with};
use crate::server::{Server, answer};

#[allow(clippy::unnecessary_wraps)] // compared with headers, which may be absent
fn token(value: &str) -> Option<String> {
    Some(format!("Bearer {value}"))
}

#[tokio::test]
async fn the_token_follows_no_redirect_and_no_url_of_another_origin() {
    let other = Server::http(|_, _| answer("200 OK", "", "")).await;
    let elsewhere = format!("location: {}/x\r\n", other.url());
    let fhir = Server::http(move |_, _| answer("307 Temporary Redirect", &elsewhere, "")).await;
    let cluster = Cluster::with(&[("token", "token", "t1"), ("key", "key", "k1")]);
    let wire = wire(&cluster, EntraSettings::default());
    let headers =
        json!([{ "name": "Ocp-Apim-Subscription-Key", "secretRef": { "name": "key", "key": "key" } }]);
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({ "headers": headers }));

    assert_eq!(wire.send(&clinic, &get(&fhir.url())).await.unwrap().status, 307);
    assert_eq!(fhir.headers("authorization"), [token("t1")]);
    assert_eq!(fhir.headers("ocp-apim-subscription-key"), [Some("k1".to_owned())]);

    for url in [
        other.url(),
        fhir.url().replace("http://", "http://evil@"),
        fhir.url().replace("127.0.0.1", "localhost"),
    ] {
        for request in [get(&url), cancel(&url), Request { with_token: false, ..get(&url) }] {
            let failure = wire.send(&clinic, &request).await.unwrap_err();
            assert_eq!((failure.sent, failure.reason), (Sent::No, Reason::UnexpectedAnswer), "{url}");
        }
    }
    assert_eq!((other.seen().len(), fhir.seen().len()), (0, 1));

    let trusting = json!({ "headers": headers, "trustedOrigins": [other.url()] });
    let clinic = server("clinic", &fhir.url(), &bearer(), &trusting);
    wire.send(&clinic, &get(&format!("{}/status?x=1", other.url()))).await.unwrap();
    assert_eq!(other.headers("authorization"), [token("t1")]);
}

#[tokio::test]
async fn without_encryption_nothing_goes_out_unless_the_server_says_so() {
    let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
    let cluster = Cluster::with(&[("token", "token", "t1")]);
    let wire = wire(&cluster, EntraSettings::default());
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({ "allowInsecureHTTP": false }));
    let failure = wire.send(&clinic, &get(&fhir.url())).await.unwrap_err();
    assert_eq!(failure.sent, Sent::No);
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().sent, Sent::No);
    assert_eq!(fhir.seen().len(), 0);
}

#[tokio::test]
async fn a_refused_token_is_read_again_once() {
    let fhir = Server::http(|_, request| {
        let known = request.contains("Bearer new");
        answer(if known { "202 Accepted" } else { "401 Unauthorized" }, "", "")
    })
    .await;
    let cluster = Cluster::with(&[("token", "token", "old")]);
    // The operator remembers Secrets for long here, but rereads one at once after a refusal.
    let memory = CacheTimes { spared: std::time::Duration::ZERO, ..CacheTimes::default() };
    let wire = wire_with(&cluster, EntraSettings::default(), memory);
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({}));

    assert_eq!(wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap().status, 401);
    assert_eq!(fhir.headers("authorization"), [token("old")], "the Secret is unchanged: not sent again");
    cluster.set("token", "token", "new");
    assert_eq!(wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap().status, 202);
    assert_eq!(fhir.headers("authorization"), [token("old"), token("old"), token("new")]);
    cluster.set("token", "token", "wrong");
    let clinic = server("clinic2", &fhir.url(), &bearer(), &json!({}));
    assert_eq!(wire.send(&clinic, &kick_off(&fhir.url())).await.unwrap().status, 202, "remembered");
    assert_eq!(fhir.seen().len(), 4);
}

#[tokio::test]
async fn a_thousand_exports_read_a_secret_once_be_it_there_or_not() {
    let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
    for there in [true, false] {
        let keys = [("token", "token", "t1")];
        let cluster = Cluster::with(if there { &keys } else { &[] });
        let wire = wire_with(&cluster, EntraSettings::default(), CacheTimes::default());
        let clinic = server("clinic", &fhir.url(), &bearer(), &json!({}));
        let all = futures::future::join_all((0..1000).map(|_| wire.authorize(&clinic))).await;
        assert!(all.iter().all(|one| one.is_ok() == there));
        assert_eq!(*cluster.reads.lock().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_secret_that_is_gone_starts_nothing_and_still_cancels() {
    let fhir = Server::http(|_, _| answer("202 Accepted", "", "")).await;
    let cluster = Cluster::with(&[("token", "token", "t1")]);
    let wire = wire(&cluster, EntraSettings::default());
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({}));
    wire.authorize(&clinic).await.unwrap();

    for (reason, may) in [
        (Reason::SecretNotFound, true),
        (Reason::ConnectionNotAllowed, true),
        (Reason::CredentialNotLabelled, false),
        (Reason::SecretKeyMissing, false),
    ] {
        cluster.fail(reason);
        let failure = wire.authorize(&clinic).await.unwrap_err();
        assert_eq!((failure.kind, failure.reason, failure.sent), (FailureKind::Missing, reason, Sent::No));
        let sent = wire.send(&clinic, &cancel(&fhir.url())).await;
        assert_eq!(sent.is_ok(), may, "{reason}");
    }
    assert_eq!(fhir.headers("authorization"), [token("t1"), token("t1")]);

    cluster.fail(Reason::SecretNotFound);
    wire.forget("uid-clinic");
    assert_eq!(wire.send(&clinic, &cancel(&fhir.url())).await.unwrap_err().reason, Reason::SecretNotFound);
}

#[tokio::test]
async fn user_name_and_password() {
    let fhir = Server::http(|_, _| answer("200 OK", "", "")).await;
    let cluster = Cluster::with(&[("login", "username", "ann"), ("login", "password", "p:w\n")]);
    let wire = wire(&cluster, EntraSettings::default());
    let basic = json!({ "type": "Basic", "basic": { "secretRef": { "name": "login" } } });
    let clinic = server("clinic", &fhir.url(), &basic, &json!({}));
    wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    wire.send(&clinic, &Request { with_token: false, ..get(&fhir.url()) }).await.unwrap();
    assert_eq!(fhir.headers("authorization"), [Some("Basic YW5uOnA6dw==".to_owned()), None]);
    cluster.keys.lock().unwrap().remove(&("login".to_owned(), "password".to_owned()));
    assert_eq!(wire.authorize(&clinic).await.unwrap_err().reason, Reason::SecretKeyMissing);
}

#[tokio::test]
async fn what_a_server_repeats_of_credentials_is_hidden() {
    let said = "the token sesame-1 or the key gateway-key-1 is unknown";
    let fhir = Server::http(move |_, _| answer("403 Forbidden", "x-progress: sesame-1\r\n", said)).await;
    let cluster = Cluster::with(&[("token", "token", "sesame-1"), ("gateway", "key", "gateway-key-1")]);
    let wire = wire(&cluster, EntraSettings::default());
    let headers = json!([{ "name": "X-Key", "secretRef": { "name": "gateway", "key": "key" } }]);
    let clinic = server("clinic", &fhir.url(), &bearer(), &json!({ "headers": headers }));
    let told = wire.send(&clinic, &get(&fhir.url())).await.unwrap();
    assert_eq!(told.body, "the token *** or the key *** is unknown");
    assert_eq!(told.progress.as_deref(), Some("***"));
    let file = FileRequest { url: fhir.url(), with_token: true, resume: None, compressed: false };
    let FileAnswer::Refused(told) = wire.open(&clinic, &file).await.unwrap() else { panic!("not refused") };
    assert_eq!(told.body, "the token *** or the key *** is unknown");
    assert_eq!(fhir.headers("x-key"), [Some("gateway-key-1".to_owned()), Some("gateway-key-1".to_owned())]);
}

#[tokio::test]
async fn a_value_that_fits_no_header_is_not_shown() {
    let cluster = Cluster::with(&[("token", "token", "hush\u{1}hush")]);
    let wire = wire(&cluster, EntraSettings::default());
    let failure =
        wire.authorize(&server("clinic", "https://localhost", &bearer(), &json!({}))).await.unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
}
