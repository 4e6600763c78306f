//! The search at the end of each test finds a planted secret in every place and in every notation.

use azure_fhir::Storage;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fhir_export_operator::api::FhirExport;
use fhir_export_operator::core::manifest::hex;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::site::{Site, shared};

const TOKEN: &str = "planted-token-9031";

async fn found(site: &Site, place: &str) {
    let leak = site.leak().await.unwrap_or_default();
    assert!(leak.contains(place) && leak.contains("key token of Secret planted"), "{place}: {leak}");
}

#[tokio::test]
async fn what_is_planted_is_found() {
    let site = Site::start("planted").await;
    site.secret("planted", json!({"token": TOKEN}), true).await;
    site.export("run", json!({"level": "System", "container": "planted"}), json!({})).await;
    let object = site.complete("run").await;
    let looked: Vec<String> = site.traces().await.places().map(str::to_owned).collect();
    for place in
        ["operator-1.log", "metrics", "FhirExport run", "FhirServer clinic", "an event", "manifest.json"]
    {
        assert!(looked.iter().any(|l| l.contains(place)), "{place} is not in {looked:?}");
    }
    assert_eq!(site.leak().await, None);

    let basic = BASE64_STANDARD.encode(format!("exporter:{TOKEN}"));
    let log = site.folder.write("planted.log", format!("DEBUG sent authorization: Basic {basic}\n")).unwrap();
    found(&site, "planted.log").await;
    std::fs::remove_file(log).unwrap();

    let exports: Api<FhirExport> = site.api();
    for (state, leaks) in [(TOKEN.replace('-', "%2D"), true), ("Complete".to_owned(), false)] {
        let status = json!({"status": {"state": state}});
        exports.patch_status("run", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        if leaks {
            found(&site, "FhirExport run").await;
        }
    }

    let event: Event =
        serde_json::from_value(json!({"metadata": {"name": "planted"}, "note": format!("token {TOKEN}"),
        "action": "Poll", "reason": "Planted", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test", "reportingInstance": "test",
        "regarding": {"kind": "FhirExport", "namespace": site.namespace, "name": "run"}}))
        .unwrap();
    let events: Api<Event> = site.api();
    events.create(&PostParams::default(), &event).await.unwrap();
    found(&site, "an event").await;
    events.delete("planted", &DeleteParams::default()).await.unwrap();

    let output = object.status.unwrap().output.unwrap();
    let azurite = &shared().await.azurite;
    let storage = Storage::new(&Site::blob_endpoint().await, azurite.account(), azurite.key());
    let path = format!("{}/{}", output.container.unwrap(), output.manifest.unwrap().path);
    let url = format!("{}/{path}?{}", storage.endpoint, storage.sas().unwrap());
    let put = |text: String| {
        reqwest::Client::new().put(&url).header("x-ms-blob-type", "BlockBlob").body(text).send()
    };
    let hex = hex(TOKEN.as_bytes()).to_uppercase();
    assert_eq!(put(format!("{{\"url\":\"{hex}\"}}")).await.unwrap().status(), 201);
    found(&site, "manifest.json").await;
    assert_eq!(put("{}".to_owned()).await.unwrap().status(), 201);
    assert_eq!(site.leak().await, None);
}
