//! A caller of the server, as exact as a client of Azure must be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, unreachable_pub)]

use std::sync::LazyLock;

use azure_fhir::Server;
use reqwest::{Method, Response};
use serde_json::Value;

/// A client that follows nothing and retries nothing. It keeps no connection, as each test has its own runtime.
pub fn client() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .unwrap()
    });
    CLIENT.clone()
}

/// A kick-off with the right headers.
pub async fn kick_off(server: &Server, path: &str) -> Response {
    with_headers(server, path, Some("application/fhir+json"), Some("respond-async")).await
}

/// A kick-off with any headers.
pub async fn with_headers(
    server: &Server,
    path: &str,
    accept: Option<&str>,
    prefer: Option<&str>,
) -> Response {
    let mut request = client().get(format!("{}{path}", server.url()));
    for (name, value) in [("Accept", accept), ("Prefer", prefer)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request.send().await.unwrap()
}

/// Kicks off and gives the status URL.
pub async fn started(server: &Server, path: &str) -> String {
    let response = kick_off(server, path).await;
    assert_eq!(response.status(), 202, "{path}");
    response.headers()["content-location"].to_str().unwrap().to_owned()
}

pub async fn get(url: &str) -> Response {
    client().get(url).send().await.unwrap()
}

pub async fn delete(url: &str) -> Response {
    client().request(Method::DELETE, url).send().await.unwrap()
}

/// Status and the issue's code and text.
pub async fn issue(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["resourceType"], "OperationOutcome");
    let issue = &body["issue"][0];
    let text = |key: &str| issue[key].as_str().unwrap().to_owned();
    (status, text("code"), text("diagnostics"))
}

/// Polls until it is no longer 202.
pub async fn finished(status_url: &str) -> Response {
    for _ in 0..200 {
        let response = get(status_url).await;
        if response.status() != 202 {
            return response;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    unreachable!("the job does not end");
}

/// Polls until the manifest is there.
pub async fn manifest(status_url: &str) -> Value {
    let response = finished(status_url).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}
