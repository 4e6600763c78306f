//! Storage with Entra tokens, which go over https only.

use std::sync::Arc;

use azure_fhir::{Entra, EntraOptions, Secret, TestCa};
use fhir_export_operator::api::FhirServer;
use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::core::reach::Reach;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{ObjectStore, Target};
use fhir_export_operator::storage::{StorageHosts, http_client};
use serde_json::json;
use stage::{Authority, Azurite, AzuriteOptions, Folder};

use crate::lake::{self, Secrets};

#[tokio::test]
async fn the_identity_of_the_server_or_one_of_its_own() {
    let folder = Folder::new("storage-entra").unwrap();
    let authority = Authority::new(&folder).unwrap();
    let certificate = authority.server(&folder, "azurite").unwrap();
    let azurite = Azurite::start(AzuriteOptions::default().oauth(certificate)).await.unwrap();
    let options = EntraOptions { secret: Secret::Text("right".into()), ..EntraOptions::default() };
    let (tenant, client) = (options.tenant.clone(), options.client_id.clone());
    let entra = Entra::start(options, Arc::new(TestCa::new().unwrap())).await.unwrap();
    let settings = EntraSettings {
        authority_host: Some(entra.url().parse().unwrap()),
        extra_ca: vec![entra.ca_pem().to_owned(), std::fs::read_to_string(authority.certificate()).unwrap()],
        ..EntraSettings::default()
    };
    let identity = json!({
        "type": "ClientSecret", "tenantID": tenant, "clientID": client,
        "clientSecretRef": { "name": "client", "key": "value" },
    });
    let endpoint = azurite.endpoint().unwrap();
    let own = lake::server(&endpoint, &json!({ "type": "Entra", "entra": identity }));
    let mut same = FhirServer::clone(&lake::server(&endpoint, &json!({ "type": "SameAsServer" })));
    same.spec.auth = serde_json::from_value(json!({ "type": "Entra", "entra": identity })).unwrap();

    let secrets = Arc::new(Secrets::default());
    let storage = lake::storage(&secrets, settings.clone());
    for server in [Arc::clone(&own), Arc::new(same.clone())] {
        secrets.set("client", "right");
        let foreign = storage.probe(&server, None).await.unwrap_err();
        assert_eq!(foreign.kind, StorageFailureKind::HostNotAllowed, "{}", foreign.message);
    }
    assert_eq!((entra.requests().len(), secrets.reads()), (0, 0), "nobody was asked for anything");

    let secrets = Arc::new(Secrets::default());
    let host = format!("127.0.0.1:{}", endpoint.port().unwrap());
    let hosts = StorageHosts::parse(&host).unwrap();
    let storage = lake::storage_with(&secrets, settings.clone(), hosts.clone());
    let missing = storage.probe(&own, None).await.unwrap_err();
    assert_eq!(missing.kind, StorageFailureKind::Missing, "{}", missing.message);

    secrets.set("client", "s3cret-of-yesterday");
    let refused = storage.probe(&own, None).await.unwrap_err();
    assert_eq!(refused.kind, StorageFailureKind::Missing, "{}", refused.message);
    assert!(!refused.message.contains("yesterday"), "{}", refused.message);

    secrets.set("client", "right");
    lake::container_over(&azurite, "entra", http_client(&settings.extra_ca, &Reach::default()).unwrap())
        .await;
    for server in [own, Arc::new(same.clone())] {
        let storage = lake::storage_with(&secrets, settings.clone(), hosts.clone());
        storage.probe(&server, None).await.unwrap();
        storage.store(Target::new(&server, "entra"), "m.json", b"{}").await.unwrap();
    }

    // The operator never sends a token unencrypted.
    same.spec.storage.as_mut().unwrap().azure_blob.as_mut().unwrap().endpoint =
        endpoint.as_str().replace("https:", "http:");
    let plain = lake::storage_with(&secrets, settings, hosts).probe(&Arc::new(same), None).await.unwrap_err();
    assert_eq!(plain.kind, StorageFailureKind::Permanent);
    assert!(plain.message.contains("use https"), "{}", plain.message);
}
