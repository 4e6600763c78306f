//! A caller of the server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    dead_code,
    unreachable_pub
)]

use std::sync::LazyLock;

use bulk_fhir::{Options, Script, Server, Version};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

/// A client that follows nothing, retries nothing and unpacks nothing. It keeps no connection, as each test has its
/// own runtime.
pub fn client() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .no_gzip()
            .no_proxy()
            .build()
            .unwrap()
    });
    CLIENT.clone()
}

pub async fn server(version: Version) -> Server {
    Server::start(Options { version, ..Options::default() }).await.unwrap()
}

pub fn headers(request: RequestBuilder) -> RequestBuilder {
    request.header("Accept", "application/fhir+json").header("Prefer", "respond-async")
}

/// A kick-off by GET.
pub async fn kick_off(server: &Server, path: &str) -> Response {
    headers(client().get(format!("{}{path}", server.url()))).send().await.unwrap()
}

/// A kick-off by POST with these parameters.
pub async fn post(server: &Server, path: &str, parameters: Value) -> Response {
    let body = json!({ "resourceType": "Parameters", "parameter": parameters });
    let request = client().post(format!("{}{path}", server.url()));
    headers(request)
        .header("Content-Type", "application/fhir+json")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

/// Kicks off and gives the status URL.
pub async fn started(server: &Server, path: &str) -> String {
    location(kick_off(server, path).await)
}

pub fn location(response: Response) -> String {
    assert_eq!(response.status(), 202);
    response.headers()["content-location"].to_str().unwrap().to_owned()
}

pub async fn get(url: &str) -> Response {
    client().get(url).send().await.unwrap()
}

/// Status and the issue's code.
pub async fn issue(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["resourceType"], "OperationOutcome");
    (status, body["issue"][0]["code"].as_str().unwrap().to_owned())
}

/// Polls until the manifest is there.
pub async fn manifest(status_url: &str) -> Value {
    for _ in 0..200 {
        let response = get(status_url).await;
        if response.status() == 200 {
            return response.json().await.unwrap();
        }
        assert_eq!(response.status(), 202);
    }
    unreachable!("the job does not end");
}

/// Runs a job to its end: its id and its manifest.
pub async fn run(server: &Server, script: Script) -> (String, Value) {
    server.script(script);
    let status_url = started(server, "/$export").await;
    let manifest = manifest(&status_url).await;
    (status_url.rsplit('/').next().unwrap().to_owned(), manifest)
}

pub fn url(manifest: &Value, index: usize) -> String {
    manifest["output"][index]["url"].as_str().unwrap().to_owned()
}
