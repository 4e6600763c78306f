#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use reqwest::header::HeaderMap;

use super::*;
use crate::core::reach::Reach;
use crate::fhir::clients::Clients;

fn client(id: &str, secret: &str) -> OAuthClient {
    let server = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "metadata": { "name": "clinic" },
        "spec": { "url": "https://fhir.example", "dialect": "BulkData", "auth": { "type": "None" } },
    }));
    let http = reqwest::Client::new();
    let clients = Arc::new(Clients {
        kept: http.clone(),
        fresh: http.clone(),
        files: http.clone(),
        bare: http.clone(),
        public_only: http,
        reach: Reach::default(),
        certificates: [0; 32],
    });
    let way = Way { server: server.unwrap(), clients, headers: HeaderMap::new() };
    OAuthClient::new(way, Proof::secret(secret.into()), id.to_owned(), None)
}

#[tokio::test]
async fn a_token_endpoint_that_asks_for_patience_gets_it() {
    let client = client("c", "s");
    for (status, seconds, waits) in
        [(200, Some(60), false), (429, None, false), (429, Some(60), true), (503, Some(9_999_999), true)]
    {
        let retry_after = seconds.map(Duration::from_secs);
        client.learn(&Answer { status, retry_after, ..Answer::default() }, "idp.example");
        let problem = client.impatience();
        assert_eq!(problem.is_some_and(|problem| problem.passing), waits, "{status}");
    }
    let problem = client.ask("").await.unwrap_err();
    assert!(
        problem.message.starts_with("idp.example is throttling token requests"),
        "nobody was asked: {problem}"
    );
    let until = client.patience.lock().unwrap().as_ref().unwrap().0;
    assert!(until <= Instant::now() + LONGEST_PATIENCE, "but not for ever");
}

#[tokio::test]
async fn the_parts_of_the_header_are_encoded_before_they_are_joined() {
    let client = client("a:b c", "p&%ü:w");
    let header = client.secret_in_header("p&%ü:w").unwrap().header.unwrap();
    let pair = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
    assert_eq!(STANDARD.decode(pair).unwrap(), b"a%3Ab+c:p%26%25%C3%BC%3Aw");
    assert!(header.is_sensitive());
    assert!(!format!("{client:?}").contains("p&%"));
}
