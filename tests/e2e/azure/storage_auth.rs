//! Whole exports with storage by a SAS token, and by Entra over https: the operator checks the files and stores the
//! manifest.

use azure_fhir::{Options, Secret, Storage};
use fhir_export_operator::api::FhirServer;
use serde_json::{Value, json};
use stage::{Azurite, AzuriteOptions, Issued};

use super::servers::until;
use super::tenant::{Tenant, by_secret};
use crate::site::{Site, condition, merge, shared};

/// The storage account of all tests, with its key, to create signatures.
async fn account() -> Storage {
    let azurite = &shared().await.azurite;
    Storage::new(&Site::blob_endpoint().await, azurite.account(), azurite.key())
}

#[tokio::test]
async fn a_sas_token() {
    let mut site = Site::without_server("sas", Options::default()).await;
    let good = account().await.sas().unwrap();
    site.secret("sas", json!({"token": format!("?{good}\n")}), true).await;
    let spec = site
        .server_spec(json!({"storage": {"azureBlob": {"auth": {"type": "SASToken",
            "secretRef": {"name": "sas", "key": "token"}}}}}))
        .await;
    site.apply_server_named("clinic", spec).await;
    site.start_operator().await;
    until(&site, "clinic", "StorageAccessible", "True", "ContainerListed").await;
    site.export("whole", json!({"level": "System", "container": "sas"}), json!({})).await;
    let object = site.complete("whole").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
    assert!(object.status.unwrap().output.unwrap().manifest.is_some());

    // With an expired token the data is complete but not checked.
    let ended = good.replace("se=20", "se=19");
    site.secret("sas", json!({"token": ended}), true).await;
    let mut spec = spec_of(&site, "clinic").await;
    merge(&mut spec, json!({"verifyMaxBytes": null, "limits": {"maxConcurrentExports": 3}}));
    site.apply_server_named("clinic", spec).await;
    site.kill_operator().await;
    site.start_operator().await;
    site.export("unchecked", json!({"level": "System", "container": "sas"}), json!({})).await;
    let object = site.complete("unchecked").await;
    let verified = condition(&object, "Verified").unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), ("Unknown", "NoStorageAccess"));
    assert!(verified.2.contains("SAS token") && !verified.2.contains("sig"), "{}", verified.2);
}

async fn spec_of(site: &Site, name: &str) -> Value {
    let api: kube::Api<FhirServer> = site.api();
    serde_json::to_value(api.get(name).await.unwrap().spec).unwrap()
}

#[tokio::test]
async fn entra_over_https_to_hosts_of_the_operator_s_list_only() {
    let (folder, ca) =
        (stage::Folder::new("e2e-blobs").unwrap(), std::sync::Arc::new(azure_fhir::TestCa::new().unwrap()));
    let (certificate, key) = ca.issue(&[]).unwrap();
    let issued = Issued {
        certificate: folder.write("blobs.crt", certificate).unwrap(),
        key: folder.write("blobs.key", key).unwrap(),
    };
    let azurite = Azurite::start(AzuriteOptions::default().oauth(issued)).await.unwrap();
    let endpoint = azurite.endpoint().unwrap();
    let storage = Storage {
        ca_pem: Some(ca.pem().to_owned()),
        ..Storage::new(endpoint.as_str(), azurite.account(), azurite.key())
    };
    let options = Options { storage: Some(storage), tls: Some(ca), ..Options::default() };
    let (tenant, mut site) = Tenant::start("blobs", Secret::Text("right-secret-2207".into()), options).await;
    site.secret("client", json!({"secret": "right-secret-2207"}), true).await;
    let spec = tenant.server(&site, by_secret()).await;
    let identity = spec["auth"]["entra"].clone();
    let with = |auth: Value| {
        let mut spec = spec.clone();
        let endpoint = endpoint.as_str();
        spec["storage"]["azureBlob"] = json!({"endpoint": endpoint, "auth": auth});
        // All connections of this test use https.
        spec["allowInsecureHTTP"] = json!(false);
        spec
    };
    site.apply_server_named("same", with(json!({"type": "SameAsServer"}))).await;
    site.apply_server_named("own", with(json!({"type": "Entra", "entra": identity}))).await;
    site.start_operator().await;
    for name in ["same", "own"] {
        let message = until(&site, name, "StorageAccessible", "False", "StorageHostNotAllowed").await;
        assert!(message.contains("--storage-hosts"), "{message}");
        until(&site, name, "Authenticated", "True", "TokenAccepted").await;
    }
    let storage_tokens =
        || tenant.sent("scope").iter().filter(|s| *s == "https://storage.azure.com/.default").count();
    assert_eq!(storage_tokens(), 0, "no token for storage was even asked for");

    site.kill_operator().await;
    site.flags.push(format!("--storage-hosts=127.0.0.1:{}", endpoint.port().unwrap()));
    site.start_operator().await;
    for name in ["same", "own"] {
        let reference = json!({"serverRef": {"name": name}});
        site.export(name, json!({"level": "System", "container": name}), reference).await;
        let object = site.complete(name).await;
        assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch", "{name}");
        assert!(object.status.unwrap().output.unwrap().manifest.is_some(), "{name}");
    }
    assert!(storage_tokens() >= 1);
}
