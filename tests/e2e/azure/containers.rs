//! Exports that name no container, and de-identified exports, whose configuration is in a container of its own.

use std::collections::{BTreeMap, BTreeSet};

use azure_fhir::{Options, Script, Storage};
use serde_json::json;
use stage::{Azurite, AzuriteOptions};

use crate::site::{Site, condition};

#[tokio::test]
async fn an_export_without_a_container_gets_one_of_its_own() {
    let site = Site::start("own").await;
    let mut containers = BTreeSet::new();
    for name in ["first", "second"] {
        site.export(name, json!({"level": "System"}), json!({})).await;
        let object = site.complete(name).await;
        assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch", "{name}");
        let status = object.status.unwrap();
        let (job, output) = (status.job.unwrap(), status.output.unwrap());
        let id = job.id.unwrap();
        assert_eq!(output.container.as_deref(), Some(format!("export-{id}").as_str()), "{name}");
        let written: usize = site.fhir.job(&id).unwrap().files.iter().map(|file| file.count).sum();
        assert_eq!(output.resources, i64::try_from(written).ok(), "{name}");
        assert!(output.manifest.is_some(), "{name}");
        containers.insert(output.container);
    }
    assert_eq!(containers.len(), 2);
    let asked = site.fhir.requests().into_iter().filter(azure_fhir::Request::is_kick_off);
    for request in asked {
        assert!(!request.query.as_deref().is_some_and(|query| query.contains("_container")), "{request:?}");
    }
}

/// The service creates a container for the job, whose name contains the job's id.
#[tokio::test]
async fn a_job_in_a_container_of_its_own_is_found_after_its_answer_was_lost() {
    // No other server has jobs in this account.
    let azurite = Azurite::start(AzuriteOptions::default()).await.unwrap();
    let endpoint = azurite.endpoint().unwrap().to_string();
    let endpoint = endpoint.trim_end_matches('/');
    let storage = Some(Storage::new(endpoint, azurite.account(), azurite.key()));
    let mut site = Site::without_server("lost", Options { storage, ..Options::default() }).await;
    site.secret("storage", json!({"key": azurite.key()}), true).await;
    site.apply_server(json!({"storage": {"azureBlob": {"endpoint": endpoint}}})).await;
    site.start_operator().await;
    site.fhir.script(Script::loses_answer());
    site.export("lost", json!({"level": "System"}), json!({"onUncertainKickOff": "Fail"})).await;
    let object = site.complete("lost").await;
    assert_eq!(condition(&object, "KickOffUncertain").unwrap().1, "JobConfirmed");
    assert_eq!(site.kick_offs(), 1);
}

#[tokio::test]
async fn the_etag_of_an_anonymization_configuration_must_match() {
    let configs = BTreeMap::from([("deid.json".to_owned(), "\"0x8DA\"".to_owned())]);
    let mut site =
        Site::without_server("etag", Options { anonymization_configs: Some(configs), ..Options::default() })
            .await;
    site.apply_server(json!({})).await;
    site.start_operator().await;
    let request = |etag: &str| {
        json!({"level": "System", "container": "etag",
            "azure": {"anonymization": {"config": "deid.json", "etag": etag}}})
    };
    site.export("right", request("\"0x8DA\""), json!({})).await;
    site.complete("right").await;
    site.export("wrong", request("\"0x8DB\""), json!({})).await;
    let object = site.failed("wrong", "AnonymizationFailed").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("does not match") && message.contains("ETag"), "{message}");
    assert_eq!(site.kick_offs(), 2, "it would fail again");
    assert!(object.status.unwrap().output.is_none(), "nothing was exported with another configuration");
}
