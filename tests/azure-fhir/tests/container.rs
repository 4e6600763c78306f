//! Files in a real container, of Azurite.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use azure_fhir::{Layout, Life, ManifestQuirk, Options, Script, Server, Storage};
use common::{delete, get, issue, manifest, started};
use stage::{Azurite, AzuriteOptions, wait_until};
use tokio::sync::OnceCell;

static AZURITE: OnceCell<Azurite> = OnceCell::const_new();

async fn storage() -> Storage {
    let azurite =
        AZURITE.get_or_init(|| async { Azurite::start(AzuriteOptions::default()).await.unwrap() }).await;
    let endpoint = azurite.endpoint().unwrap().to_string();
    Storage::new(endpoint.trim_end_matches('/'), azurite.account(), azurite.key())
}

async fn server(storage: Storage) -> Server {
    Server::start(Options { storage: Some(storage), ..Options::default() }).await.unwrap()
}

async fn blobs(container: &str) -> String {
    let storage = storage().await;
    let sas = storage.sas().unwrap();
    let url = format!("{}/{container}?restype=container&comp=list&{sas}", storage.endpoint);
    get(&url).await.text().await.unwrap()
}

fn unique(name: &str) -> String {
    format!("{name}-{}", jiff::Timestamp::now().as_nanosecond())
}

#[tokio::test]
async fn every_listed_file_has_its_lines() {
    let server = server(storage().await).await;
    let sas = storage().await.sas().unwrap();
    let container = unique("lake");
    let script = Script { lines_per_file: 200, crlf: true, ..Script::polls(1) };
    server.script(script.with(ManifestQuirk::ErrorEntries(2)).with(ManifestQuirk::EmptyFile));
    let body = manifest(&started(&server, &format!("/$export?_container={container}")).await).await;
    let output = body["output"].as_array().unwrap();
    assert!(output.len() > 15);
    for entry in output.iter().chain(body["error"].as_array().unwrap()) {
        let url = entry["url"].as_str().unwrap();
        assert_ne!(get(url).await.status(), 200, "nobody reads it without the account's leave");
        let text = get(&format!("{url}?{sas}")).await.text().await.unwrap();
        assert_eq!(text.matches("\r\n").count() as u64, entry["count"].as_u64().unwrap(), "{url}");
        for line in text.lines() {
            let resource: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(resource["resourceType"], entry["type"]);
        }
    }
    assert!(server.jobs()[0].files.iter().all(|file| file.written));
}

#[tokio::test]
async fn files_come_one_by_one_and_stay_after_a_cancel() {
    let server = server(storage().await).await;
    let container = unique("slow");
    server.script(Script { life: Life::Millis(20_000), ..Script::default() }.container(&container));
    let url = started(&server, &format!("/$export?_container={container}")).await;
    let patience = std::time::Duration::from_secs(30);
    wait_until("some files", patience, || async { server.jobs()[0].files.len() >= 2 }).await.unwrap();
    let before = server.jobs()[0].files.len();
    assert!(before < 15, "{before}");
    assert_eq!(delete(&url).await.status(), 202);
    // One more may be written by a sub-job that has not noticed the cancel; nothing goes away.
    let settled = || async {
        let listed = blobs(&container).await.matches("<Blob>").count();
        listed == server.jobs()[0].files.len() && listed > before
    };
    wait_until("the last file after the cancel", patience, settled).await.unwrap();
    assert!(server.jobs()[0].files.len() <= before + 2);
}

#[tokio::test]
async fn layouts_and_missing_files_and_containers() {
    let server = server(storage().await).await;
    let url = started(&server, "/$export?_type=Patient").await;
    let body = manifest(&url).await;
    let id = url.rsplit('/').next().unwrap();
    assert!(body["output"][0]["url"].as_str().unwrap().contains(&format!("/export-{id}/Patient-")));
    assert_eq!(blobs(&format!("export-{id}")).await.matches("<Blob>").count(), 1);
    server.script(Script { layout: Layout::Guid, ..Script::polls(0) }.with(ManifestQuirk::MissingFile));
    let url = started(&server, "/$export?_type=Condition,Patient").await;
    assert_eq!(manifest(&url).await["output"].as_array().unwrap().len(), 2);
    assert_eq!(blobs(url.rsplit('/').next().unwrap()).await.matches("<Blob>").count(), 1);

    let strict = self::server(Storage { create_containers: false, ..storage().await }).await;
    let url = started(&strict, &format!("/$export?_container={}", unique("absent"))).await;
    let (status, code, text) = issue(common::finished(&url).await).await;
    assert_eq!((status, code.as_str()), (404, "processing"));
    assert!(text.contains("ErrorCode: ContainerNotFound"));
}
