//! De-identified exports: what the kick-off lets through fails on the status URL.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use azure_fhir::{Options, Server};
use common::{finished, issue, kick_off, manifest, started};

#[tokio::test]
async fn configurations_are_looked_for_by_the_job() {
    let configs = [("deid.json".to_owned(), "0x1".to_owned())].into();
    let options = Options { anonymization_configs: Some(configs), ..Options::default() };
    let server = Server::start(options).await.unwrap();
    let path = "/Group/cohort-42/$export?_container=lake&_anonymizationConfig=";
    for etag in ["", "&_anonymizationConfigEtag=0x1", "&_anonymizationConfigEtag=%220x1%22"] {
        let body = manifest(&started(&server, &format!("{path}deid.json{etag}")).await).await;
        assert!(!body["output"].as_array().unwrap().is_empty());
    }
    for (rest, reason) in [
        ("other.json", "Anonymization configuration 'other.json' not found."),
        ("deid.json&_anonymizationConfigEtag=0x2", "The ETag of the anonymization configuration"),
    ] {
        let url = started(&server, &format!("{path}{rest}")).await;
        let (status, code, text) = issue(finished(&url).await).await;
        assert_eq!((status, code.as_str()), (400, "processing"));
        assert!(text.starts_with(&format!("export operation failed for reason: {reason}")), "{text}");
    }
    let collection = "_anonymizationConfigCollectionReference=example.azurecr.io/deid:1";
    let (status, _, text) = issue(kick_off(&server, &format!("{path}deid.json&{collection}")).await).await;
    assert_eq!(status, 400);
    assert!(text.ends_with("is not configured."));
}

#[tokio::test]
async fn operations_can_be_switched_off() {
    let options = Options { anonymization_enabled: false, ..Options::default() };
    let server = Server::start(options).await.unwrap();
    let path = "/$export?_container=lake&_anonymizationConfig=deid.json";
    assert_eq!(
        issue(kick_off(&server, path).await).await.2,
        "The requested \"anonymized-export\" operation is not enabled"
    );
    let server = Server::start(Options { export_enabled: false, ..Options::default() }).await.unwrap();
    assert_eq!(
        issue(kick_off(&server, "/$export").await).await.2,
        "The requested \"export\" operation is not enabled"
    );
}

#[tokio::test]
async fn a_forgiving_server_takes_what_azure_refuses() {
    let server = Server::start(Options { strict: false, ..Options::default() }).await.unwrap();
    let path = "/Patient/$export?_elements=id&_outputFormat=csv&_type=Patient&_since=never";
    let response = common::with_headers(&server, path, None, None).await;
    assert_eq!(response.status(), 202);
    let url = server.jobs()[0].status_url.clone();
    let body = manifest(&url).await;
    assert_eq!(body["output"][0]["count"], server.patients().ids("Patient").len());
}
