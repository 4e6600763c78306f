//! Broken answers, tokens, and what is recorded.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use azure_fhir::{
    Access, Entra, EntraFault, EntraOptions, Fault, KnownToken, Listener, On, Options, RequestFault, Script,
    Secret, Server, Step, TestCa, unsigned_jwt,
};
use common::{client, get, issue, kick_off, started};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

async fn server() -> Server {
    Server::start(Options::default()).await.unwrap()
}

async fn export(server: &Server) -> Result<reqwest::Response, reqwest::Error> {
    let request = client().get(format!("{}/$export", server.url()));
    request.header("Accept", "application/fhir+json").header("Prefer", "respond-async").send().await
}

#[tokio::test]
async fn a_lost_answer_leaves_a_job_and_a_refused_kick_off_none() {
    let server = server().await;
    server.script(Script::loses_answer());
    assert!(export(&server).await.is_err());
    assert_eq!((server.jobs().len(), server.requests()[0].status), (1, None));
    server.script(Script::refuses(Fault::Reset));
    assert!(export(&server).await.is_err());
    server.script(Script::refuses(Fault::Unavailable { outcome: false }));
    let response = export(&server).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.bytes().await.unwrap().is_empty());
    assert_eq!(server.jobs().len(), 1);
}

#[tokio::test]
async fn polls_meet_every_kind_of_broken_answer() {
    let server = server().await;
    let faults = [
        Fault::Unavailable { outcome: true },
        Fault::GatewayPage { status: 502 },
        Fault::GatewayPage { status: 200 },
        Fault::TruncatedJson,
        Fault::EmptyBody,
        Fault::WrongJson,
        Fault::Gone,
        Fault::TruncatedBody,
        Fault::Reset,
        Fault::Close,
    ];
    server.script(Script { status_faults: faults.map(|f| Step::times(1, f)).to_vec(), ..Script::polls(0) });
    let url = started(&server, "/$export?_type=Patient").await;
    assert_eq!(issue(get(&url).await).await.0, 503);
    for status in [502, 200] {
        let page = get(&url).await;
        assert_eq!(
            (page.status().as_u16(), &page.headers()["content-type"]),
            (status, &"text/html".parse().unwrap())
        );
    }
    assert!(get(&url).await.json::<Value>().await.is_err());
    assert_eq!(get(&url).await.bytes().await.unwrap().len(), 0);
    assert!(get(&url).await.json::<Value>().await.unwrap().is_array());
    assert_eq!(get(&url).await.status(), 410);
    assert!(get(&url).await.bytes().await.is_err(), "the body breaks off");
    assert!(client().get(&url).send().await.is_err());
    assert!(client().get(&url).send().await.is_err());
    assert_eq!(get(&url).await.status(), 200);
    assert_eq!(server.jobs()[0].polls, 1, "broken answers bring a job no nearer to its end");
}

#[tokio::test]
async fn throttling_hits_the_requests_it_is_meant_for() {
    let server = server().await;
    let throttled = Fault::Throttled { seconds: 1, millis: 20 };
    server.fault(RequestFault::next(On::KickOff, 1, throttled.clone()).containing("_container=a"));
    server.fault(RequestFault::next(On::Status, 1, throttled));
    let url = started(&server, "/$export?_container=bbb").await;
    let response = kick_off(&server, "/$export?_container=aaa").await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["x-ms-retry-after-ms"], "20");
    assert_eq!(issue(response).await.1, "throttled");
    assert_eq!(get(&url).await.status(), 429);
    assert_eq!(get(&url).await.status(), 202);
    assert_eq!(server.jobs().len(), 1);
}

#[tokio::test]
async fn tokens_are_checked_and_the_foreign_host_sees_all() {
    let past = Timestamp::now() - 1.second();
    let access = Access::Tokens(vec![
        KnownToken::exporter("good"),
        KnownToken::without_role("weak"),
        KnownToken::exporter("old").until(past),
    ]);
    let server = Server::start(Options { access, ..Options::default() }).await.unwrap();
    let url = format!("{}/_operations/export/1", server.url());
    let ask = async |token: &str| issue(client().get(&url).bearer_auth(token).send().await.unwrap()).await;
    let unauthorized = (401, "login".to_owned(), "Authentication failed.".to_owned());
    assert_eq!(issue(get(&url).await).await, unauthorized);
    assert_eq!(ask("old").await, unauthorized);
    assert_eq!(ask("weak").await, (403, "forbidden".into(), "Authorization failed.".into()));
    assert_eq!(ask("good").await.0, 404);
    assert_eq!(get(&format!("{}/metadata", server.url())).await.status(), 200);
    assert!(server.leaked_tokens().is_empty());
    client().get(format!("{}/x", server.foreign_url())).bearer_auth("good").send().await.unwrap();
    assert_eq!(server.leaked_tokens().len(), 1);
    let requests = server.requests();
    assert_eq!((requests[3].authorized, requests[3].status), (true, Some(404)));
    assert_eq!(requests.last().unwrap().listener, Listener::Foreign);
    let told: Value = get(&format!("{}/_test/requests", server.url())).await.json().await.unwrap();
    assert!(!told.to_string().contains("good"), "tokens stay in the process");
}

#[tokio::test]
async fn jwts_are_read_for_audience_and_expiry() {
    let access = Access::Jwt { audience: "https://fhir".into() };
    let server = Server::start(Options { access, ..Options::default() }).await.unwrap();
    let now = Timestamp::now().as_second();
    for (claims, status) in [
        (json!({ "aud": "https://fhir", "exp": now + 60 }), 404),
        (json!({ "aud": "https://fhir/", "exp": now + 60 }), 401),
        (json!({ "aud": "https://fhir", "exp": now - 1 }), 401),
        (json!({ "aud": "https://fhir", "exp": now + 60, "roles": ["globalReader"] }), 403),
    ] {
        let request = client().get(format!("{}/_operations/export/1", server.url()));
        assert_eq!(request.bearer_auth(unsigned_jwt(&claims)).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn the_token_server_speaks_entra() {
    let ca = std::sync::Arc::new(TestCa::new().unwrap());
    let options = EntraOptions {
        secret: Secret::Text("s3cret".into()),
        audiences: vec!["https://fhir".into()],
        lifetime: 5,
        ..EntraOptions::default()
    };
    let (tenant, id) = (options.tenant.clone(), options.client_id.clone());
    let entra = Entra::start(options, ca).await.unwrap();
    let certificate = reqwest::Certificate::from_pem(entra.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().unwrap();
    let ask = async |secret: &str, scope: &str| {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", "client_credentials"), ("client_id", &id), ("scope", scope)])
            .append_pair("client_secret", secret)
            .finish();
        let response = client
            .post(format!("{}/{tenant}/oauth2/v2.0/token", entra.url()))
            .body(body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let (status, body) = ask("s3cret", "https://fhir/.default").await;
    assert_eq!((status, &body["expires_in"]), (200, &json!(5)));
    let (status, body) = ask("wrong", "https://fhir/.default").await;
    assert_eq!(
        (status, &body["error"], &body["error_codes"]),
        (401, &json!("invalid_client"), &json!([7_000_215]))
    );
    assert_eq!(ask("s3cret", "https://fhir//.default").await.1["error"], "invalid_scope");
    entra.fail_next([EntraFault::GatewayPage]);
    assert_eq!(ask("s3cret", "https://fhir/.default").await.0, 502);
    assert_eq!(entra.requests().len(), 4);
}

#[tokio::test]
async fn the_server_speaks_https_goes_down_and_comes_back() {
    let ca = std::sync::Arc::new(TestCa::new().unwrap());
    let options = Options { tls: Some(std::sync::Arc::clone(&ca)), ..Options::default() };
    let mut server = Server::start(options).await.unwrap();
    let certificate = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let tls = reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().unwrap();
    let metadata = format!("{}/metadata", server.tls_url().unwrap());
    assert_eq!(tls.get(metadata).send().await.unwrap().status(), 200);
    server.fault(RequestFault::next(On::Any, 1, Fault::RedirectForeign));
    let response = get(&format!("{}/metadata?x=1", server.url())).await;
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], format!("{}/metadata?x=1", server.foreign_url()));
    server.down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(export(&server).await.unwrap_err().is_connect());
    server.up().await.unwrap();
    assert_eq!(export(&server).await.unwrap().status(), 202);
}

#[tokio::test]
async fn another_process_can_script_it() {
    let server = server().await;
    let post = async |path: &str, body: Value| {
        let request = client().post(format!("{}{path}", server.url())).body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    };
    let script = json!({ "matching": { "container": "lake" }, "life": "stuck",
        "kickOff": { "lostTo": { "gatewayPage": { "status": 502 } } },
        "ending": { "failed": { "outOfMemory": { "maxCount": 10 } } }, "manifest": [{ "wrongCount": 1 }] });
    assert_eq!(post("/_test/script", script).await, 200);
    assert_eq!(post("/_test/fault", json!([{ "on": "metadata", "times": 1, "fault": "hang" }])).await, 200);
    assert_eq!(post("/_test/script", json!({ "life": "short" })).await, 400);
    assert_eq!(kick_off(&server, "/$export?_container=lake").await.status(), 502);
    let jobs: Value = get(&format!("{}/_test/jobs", server.url())).await.json().await.unwrap();
    assert_eq!(jobs[0]["container"], "lake");
    let hung = client().get(format!("{}/metadata", server.url())).timeout(Duration::from_millis(200));
    assert!(hung.send().await.unwrap_err().is_timeout());
}
