//! Deleting the folder of a run: at once or in pieces, and nothing beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::BlobClientSetMetadataOptions;
use fhir_export_operator::core::ledger::{FolderDeletion, FolderPlan, StorageFailureKind};
use fhir_export_operator::core::manifest::sha256_hex;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::ObjectStore;
use futures::TryStreamExt;
use test_server::{Answering, HttpReply, Served, Socket, WholeRequest};

use crate::lake::{self, Secrets, by_key, by_sas, sas};

const FOLDER: &str = "20261122T003003-1187";
const MANIFEST: &[u8] = br#"{"transactionTime":"2026-11-22T00:30:02Z","output":[]}"#;

fn plan(container: &str) -> FolderPlan {
    FolderPlan {
        container: container.into(),
        folder: FOLDER.into(),
        manifest: Some(sha256_hex(MANIFEST)[..16].into()),
        at_most: 100,
    }
}

/// The contents of all blobs, by name.
async fn all(container: &BlobContainerClient) -> BTreeMap<String, Vec<u8>> {
    let mut names = Vec::new();
    let mut pages = container.list_blobs(None).unwrap().into_pages();
    while let Some(page) = pages.try_next().await.unwrap() {
        names.extend(page.into_model().unwrap().blob_items.into_iter().filter_map(|blob| blob.name));
    }
    let mut blobs = BTreeMap::new();
    for name in names {
        let body = container.blob_client(&name).download(None).await.unwrap().body.collect().await.unwrap();
        blobs.insert(name, body.to_vec());
    }
    blobs
}

/// Creates the folder of a run with `files` files and a manifest.
async fn run(container: &BlobContainerClient, files: usize) {
    for n in 0..files {
        let name = match n % 4 {
            0 => format!("Patient-5-{n}.ndjson"),
            1 => format!("Condition-{n}.ndjson.gz"),
            2 => format!("deleted/Bundle-{n}.ndjson"),
            _ => format!("error/OperationOutcome-{n}.ndjson"),
        };
        lake::put(container, &format!("{FOLDER}/{name}"), b"{}\n").await;
    }
    lake::put(container, &format!("{FOLDER}/log.ndjson"), b"{}\n").await;
    lake::put(container, &format!("{FOLDER}/manifest.json"), MANIFEST).await;
}

/// Creates blobs next to the folder whose names resemble its name, and returns their contents by name.
async fn neighbours(container: &BlobContainerClient) -> BTreeMap<String, Vec<u8>> {
    for name in [
        format!("{FOLDER}x/Patient-1.ndjson"),
        format!("{FOLDER}-2/Patient-1.ndjson"),
        format!("{FOLDER}0/manifest.json"),
        format!("{FOLDER}.ndjson"),
        FOLDER.to_owned(),
        "20261122T003003-118/Patient-1.ndjson".to_owned(),
        format!("copies/{FOLDER}/Patient-1.ndjson"),
        format!("x{FOLDER}/Patient-1.ndjson"),
        "20261122T003003-1188/manifest.json".to_owned(),
        "Patient-1.ndjson".to_owned(),
    ] {
        lake::put(container, &name, name.as_bytes()).await;
    }
    all(container).await
}

#[tokio::test]
async fn a_folder_goes_and_nothing_beside_it() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "delete").await;
    let others = neighbours(&container).await;
    run(&container, 9).await;
    // With three names per page, each list has several pages.
    let storage = storage.with_page(3);
    let done = FolderDeletion::Done { files: 11, others: 0 };
    assert_eq!(storage.delete_folder(&server, &plan("delete")).await.unwrap(), done);
    assert_eq!(all(&container).await, others);
    // The deletion is repeated, as after a lost answer.
    let nothing = FolderDeletion::Done { files: 0, others: 0 };
    assert_eq!(storage.delete_folder(&server, &plan("delete")).await.unwrap(), nothing);
    assert_eq!(all(&container).await, others);
    let gone = storage.delete_folder(&server, &plan("delete-not-there")).await.unwrap_err();
    assert_eq!(gone.kind, StorageFailureKind::NotFound);
}

#[tokio::test]
async fn it_goes_in_pieces_and_the_manifest_last() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "pieces").await;
    run(&container, 24).await;
    let storage = storage.with_page(5);
    let pieces = FolderPlan { at_most: 10, ..plan("pieces") };
    for left in [15, 5] {
        // Each call continues without knowledge of the previous one.
        let going = storage.delete_folder(&server, &pieces).await.unwrap();
        assert_eq!(going, FolderDeletion::Going { files: 10 });
        let there = all(&container).await;
        assert_eq!(there.len(), left + 1, "and the manifest");
        assert!(there.contains_key(&format!("{FOLDER}/manifest.json")));
    }
    let done = storage.delete_folder(&server, &pieces).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 6, others: 0 });
    assert_eq!(all(&container).await, BTreeMap::new());
}

#[tokio::test]
async fn another_manifest_or_none_keeps_it_all() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "changed").await;
    run(&container, 3).await;
    let path = format!("{FOLDER}/manifest.json");
    let meant = plan("changed");
    let unmeant = FolderPlan { manifest: None, ..plan("changed") };
    let empty = FolderPlan { manifest: Some(String::new()), ..plan("changed") };
    for other in [Some(&b"{}"[..]), Some(b""), None] {
        match other {
            Some(other) => lake::put(&container, &path, other).await,
            None => drop(container.blob_client(&path).delete(None).await.unwrap()),
        }
        let before = all(&container).await;
        for plan in [&meant, &empty] {
            assert_eq!(storage.delete_folder(&server, plan).await.unwrap(), FolderDeletion::Changed);
        }
        if other.is_some() {
            assert_eq!(storage.delete_folder(&server, &unmeant).await.unwrap(), FolderDeletion::Changed);
        }
        assert_eq!(all(&container).await, before);
    }
    // A run that stored no manifest is deleted if the folder has none.
    let done = storage.delete_folder(&server, &unmeant).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 4, others: 0 });
}

#[tokio::test]
async fn what_no_run_writes_stays() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "foreign").await;
    run(&container, 2).await;
    for name in
        ["_SUCCESS", "patients.parquet", "deleted/notes.txt", "sub/manifest.json", "Patient.ndjson.bak"]
    {
        lake::put(&container, &format!("{FOLDER}/{name}"), name.as_bytes()).await;
    }
    let done = storage.delete_folder(&server, &plan("foreign")).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 4, others: 5 });
    assert_eq!(all(&container).await.len(), 5);
}

#[tokio::test]
async fn no_name_can_mean_more_than_the_folder_of_a_run() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "names").await;
    run(&container, 2).await;
    let before = neighbours(&container).await;
    for folder in [
        "",
        ".",
        "..",
        "/",
        "2026",
        "20261122T003003-",
        "20261122T003003-1187/",
        "a",
        "20261122T003003-1187/..",
        "../names",
        "20261122T003003-*",
        "copies",
    ] {
        for manifest in [None, plan("names").manifest] {
            let plan = FolderPlan { folder: folder.into(), manifest, ..plan("names") };
            let refused = storage.delete_folder(&server, &plan).await.unwrap_err();
            assert_eq!(refused.kind, StorageFailureKind::Permanent, "{folder}");
        }
    }
    for name in ["", "names/20261122T003003-1187", "..", "names/.."] {
        let plan = plan(name);
        assert!(storage.delete_folder(&server, &plan).await.is_err(), "{name}");
    }
    assert_eq!(all(&container).await, before);
}

#[tokio::test]
async fn snapshots_and_what_stands_for_folders_go_too() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "snapshots").await;
    run(&container, 4).await;
    container.blob_client(&format!("{FOLDER}/Patient-5-0.ndjson")).create_snapshot(None).await.unwrap();
    // Accounts with a hierarchical namespace list folders as blobs like these.
    for name in [FOLDER.to_owned(), format!("{FOLDER}/deleted"), format!("{FOLDER}/error")] {
        lake::put(&container, &name, b"").await;
        let metadata = HashMap::from([("hdi_isfolder".to_owned(), "true".to_owned())]);
        let blob = container.blob_client(&name);
        blob.set_metadata(&metadata, None::<BlobClientSetMetadataOptions>).await.unwrap();
    }
    let done = storage.delete_folder(&server, &plan("snapshots")).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 6, others: 0 });
    assert_eq!(all(&container).await, BTreeMap::new());
}

#[tokio::test]
async fn without_the_right_or_with_a_lease_nothing_goes_and_it_is_said() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "denied").await;
    run(&container, 1).await;
    let secrets = Arc::new(Secrets::default());
    let by_token = lake::server(&azurite.endpoint().unwrap(), &by_sas());
    let with_token = lake::storage(&secrets, EntraSettings::default());
    // This token grants all rights except deletion.
    secrets.set("sas", &sas(azurite.account(), azurite.key(), "rwlac"));
    let before = all(&container).await;
    let denied = with_token.delete_folder(&by_token, &plan("denied")).await.unwrap_err();
    assert_eq!(denied.kind, StorageFailureKind::Denied);
    assert!(denied.message.contains("permits Read, List and Delete for blobs"), "{}", denied.message);
    assert!(!denied.message.contains("sig="), "{}", denied.message);
    assert_eq!(all(&container).await, before);

    let held = container.blob_client(&format!("{FOLDER}/Patient-5-0.ndjson"));
    held.acquire_lease(-1, None).await.unwrap();
    // The files without a lease are deleted and counted.
    let going = storage.delete_folder(&server, &plan("denied")).await.unwrap();
    assert_eq!(going, FolderDeletion::Going { files: 1 });
    let leased = storage.delete_folder(&server, &plan("denied")).await.unwrap_err();
    assert_eq!(leased.kind, StorageFailureKind::Permanent);
    assert!(leased.message.contains("a lease keeps a file"), "{}", leased.message);
    held.break_lease(None).await.unwrap();
    let done = storage.delete_folder(&server, &plan("denied")).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 2, others: 0 });
}

/// An account that lists one file of a run and refuses to delete it, as one does with an immutability policy.
struct Immutable(&'static str);

impl Answering for Immutable {
    async fn answer(&self, request: WholeRequest) -> Served {
        let Self(code) = self;
        let refused = |status| HttpReply::empty(status).header("x-ms-error-code", code);
        match request.method().as_str() {
            "HEAD" => HttpReply::empty(404).header("x-ms-error-code", "BlobNotFound").into(),
            "GET" => HttpReply::text(200, "application/xml", &listing()).into(),
            _ => refused(409).into(),
        }
    }
}

fn listing() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"lake\"><Blobs><Blob><Name>{FOLDER}\
         /Patient-1.ndjson</Name><Properties><Content-Length>3</Content-Length></Properties></Blob></Blobs><NextMarker/>\
         </EnumerationResults>"
    )
}

#[tokio::test]
async fn what_holds_a_file_is_told_with_the_next_step() {
    for (code, what) in [
        ("BlobImmutableDueToPolicy", "an immutability policy or a legal hold keeps a file"),
        ("BlobImmutableDueToLegalHold", "an immutability policy or a legal hold keeps a file"),
        ("LeaseIdMissing", "a lease keeps a file"),
    ] {
        let socket = Socket::open(0, None, Arc::new(Immutable(code))).await.unwrap();
        let endpoint = format!("http://{}/acc", socket.address).parse().unwrap();
        let secrets = Arc::new(Secrets::default());
        secrets.set("key", lake::azurite().await.key());
        let storage = lake::storage(&secrets, EntraSettings::default());
        let plan = FolderPlan { manifest: None, ..plan("lake") };
        let failure = storage.delete_folder(&lake::server(&endpoint, &by_key()), &plan).await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent);
        assert!(failure.message.starts_with(what), "{}", failure.message);
        assert!(
            failure.message.contains("from being deleted (409 ")
                && failure.message.contains("end it, or wait")
        );
    }
}
