//! Account keys and SAS tokens: valid ones, invalid ones, and changes while the operator runs.

use std::sync::Arc;

use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{ObjectStore, Target};

use crate::lake::{self, Secrets, by_key, by_sas, sas};

#[tokio::test]
async fn an_account_key_opens_the_account_and_its_containers() {
    let (azurite, storage, server) = lake::ready().await;
    lake::container(azurite, "by-key").await;
    storage.probe(&server, None).await.unwrap();
    storage.probe(&server, Some("by-key")).await.unwrap();

    let missing = storage.probe(&server, Some("not-there")).await.unwrap_err();
    assert_eq!(missing.kind, StorageFailureKind::NotFound);
    assert_eq!(
        missing.message,
        "the storage account devstoreaccount1 has no container not-there (404 ContainerNotFound): create it"
    );
}

#[tokio::test]
async fn a_wrong_key_is_denied_until_the_secret_is_changed() {
    let azurite = lake::azurite().await;
    let secrets = Arc::new(Secrets::default());
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_key());

    let missing = storage.probe(&server, None).await.unwrap_err();
    assert_eq!(
        (missing.kind, missing.message.contains("no Secret key")),
        (StorageFailureKind::Missing, true)
    );

    secrets.set("key", "b3RoZXI=");
    let denied = storage.probe(&server, None).await.unwrap_err();
    assert_eq!(denied.kind, StorageFailureKind::Denied);
    assert!(denied.message.contains("devstoreaccount1 refuses the account key (403 "), "{}", denied.message);
    assert!(!denied.message.contains("b3RoZXI=") && !denied.message.contains("sig"), "{}", denied.message);

    secrets.set("key", "not base64!");
    let wrong = storage.probe(&server, None).await.unwrap_err();
    assert_eq!(wrong.kind, StorageFailureKind::Missing);
    let told = "key value of Secret fhir/key holds no account key (it must be base64); correct it";
    assert_eq!(wrong.message, told);
}

#[tokio::test]
async fn a_changed_secret_is_read_at_once_after_a_refusal() {
    let azurite = lake::azurite().await;
    let secrets = Arc::new(Secrets::default());
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_sas());

    let good = sas(azurite.account(), azurite.key(), "rl");
    secrets.set("sas", &good.replace("&sig=", "&sig=x"));
    assert_eq!(storage.probe(&server, None).await.unwrap_err().kind, StorageFailureKind::Denied);

    secrets.set("sas", &format!("?{good}\n"));
    storage.probe(&server, None).await.unwrap();
    let reads = secrets.reads();
    storage.probe(&server, None).await.unwrap();
    assert_eq!(secrets.reads(), reads, "what works is remembered");

    // The remembered token still works, so the Secret is not read.
    secrets.set("sas", "");
    storage.probe(&server, None).await.unwrap();
}

#[tokio::test]
async fn sas_tokens_that_do_not_do() {
    let azurite = lake::azurite().await;
    lake::container(azurite, "by-sas").await;
    let good = sas(azurite.account(), azurite.key(), "rl");
    let table = [
        (good.replace("se=2099", "se=2020"), Some("by-sas"), "ended at 2020-01-01T00:00:00Z (403 "),
        (sas(azurite.account(), azurite.key(), "r"), Some("by-sas"), "permits Read and List for blobs"),
        (format!("{good}&sr=c").replace("&srt=sco", ""), None, "cannot list its containers"),
    ];
    for (token, container, expected) in table {
        let secrets = Arc::new(Secrets::default());
        secrets.set("sas", &token);
        let storage = lake::storage(&secrets, EntraSettings::default());
        let server = lake::server(&azurite.endpoint().unwrap(), &by_sas());
        let denied = storage.probe(&server, container).await.unwrap_err();
        assert_eq!(denied.kind, StorageFailureKind::Denied, "{}", denied.message);
        assert!(denied.message.contains(expected), "{}", denied.message);
        assert!(!denied.message.contains("sig"), "{}", denied.message);
    }
    let secrets = Arc::new(Secrets::default());
    secrets.set("sas", "https://a.blob.core.windows.net/lake?sig=secret");
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_sas());
    let wrong = storage.probe(&server, None).await.unwrap_err();
    assert_eq!(wrong.kind, StorageFailureKind::Missing);
    assert!(!wrong.message.contains("secret"), "{}", wrong.message);
}

#[tokio::test]
async fn a_token_that_may_only_read_stores_nothing() {
    let azurite = lake::azurite().await;
    lake::container(azurite, "read-only").await;
    let secrets = Arc::new(Secrets::default());
    secrets.set("sas", &sas(azurite.account(), azurite.key(), "rl"));
    let storage = lake::storage(&secrets, EntraSettings::default());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_sas());
    let denied = storage.store(Target::new(&server, "read-only"), "m.json", b"{}").await.unwrap_err();
    assert_eq!(denied.kind, StorageFailureKind::Denied);
    assert!(denied.message.contains("permits Read, Create and Write"), "{}", denied.message);
}

#[tokio::test]
async fn a_server_without_storage() {
    let azurite = lake::azurite().await;
    let storage = lake::storage(&Arc::default(), EntraSettings::default());
    let mut server = (*lake::server(&azurite.endpoint().unwrap(), &by_key())).clone();
    server.spec.storage = None;
    let failure = storage.probe(&Arc::new(server), None).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::NotConfigured);
}
