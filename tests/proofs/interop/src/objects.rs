//! The objects that this program creates in the cluster: the definitions, a namespace, a Secret and the FhirServers.

use azure_fhir::Storage;
use fhir_export_operator::api::FhirServer;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use stage::Kubernetes;

use crate::Result;

/// The namespace of all objects.
pub const NAMESPACE: &str = "interop";
/// The container of all exports.
pub const CONTAINER: &str = "interop-lake";
/// The FhirServer of the project's own test server, whose jobs fail on request.
pub const TEST: &str = "test";
/// The FhirServer that sends HAPI repeated lists, of which HAPI uses only the first value.
pub const REPEATING: &str = "hapi-repeating";

/// Installs the definitions, as `kubectl apply -f crds` does, and creates the namespace with the Secret.
pub async fn install(kubernetes: &Kubernetes, client: &Client, storage: &Storage) -> Result<()> {
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../crds");
    for arguments in [
        ["apply", "--server-side", "-f", definitions].as_slice(),
        &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"],
    ] {
        kubernetes.kubectl(arguments.iter().copied()).await?.run().await?.ok()?;
    }
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "storage", "labels": { "fhirexport.dev/credential": "true" } },
        "stringData": { "key": storage.key },
    }))?;
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &secret).await?;
    Ok(())
}

/// Creates the FhirServers: one for each server, and one with a wrong list style for HAPI.
pub async fn connect(client: &Client, storage: &Storage, hapi: &str, sekmet: &str, test: &str) -> Result<()> {
    for (name, url, list_style) in [
        ("hapi", hapi, "Auto"),
        ("sekmet", sekmet, "Auto"),
        (TEST, test, "Auto"),
        // HAPI takes one list with commas. Of repeated lists it silently takes only the first.
        (REPEATING, hapi, "Repeat"),
    ] {
        connect_one(client, storage, name, url, list_style).await?;
    }
    Ok(())
}

/// Creates one FhirServer.
pub async fn connect_one(
    client: &Client,
    storage: &Storage,
    name: &str,
    url: &str,
    list_style: &str,
) -> Result<()> {
    let servers: Api<FhirServer> = Api::namespaced(client.clone(), NAMESPACE);
    let server: FhirServer = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirServer",
        "metadata": { "name": name },
        "spec": spec(url, list_style, storage),
    }))?;
    servers.create(&PostParams::default(), &server).await?;
    Ok(())
}

fn spec(url: &str, list_style: &str, storage: &Storage) -> Value {
    json!({
        "url": url,
        "allowInsecureHTTP": true,
        "dialect": "BulkData",
        "auth": { "type": "None" },
        "storage": { "type": "AzureBlob", "azureBlob": {
            "endpoint": storage.endpoint,
            "auth": { "type": "AccountKey", "secretRef": { "name": "storage", "key": "key" } },
        } },
        "defaultContainer": CONTAINER,
        // This program downloads the files from the server again afterwards.
        "bulkData": { "listStyle": list_style, "finishedJobs": "Keep" },
        // HAPI always requests a wait of two minutes. On two cores, more than two of its jobs at once take longer
        // in total.
        "limits": {
            "maxConcurrentExports": 2, "minPollSeconds": 1, "maxPollSeconds": 2, "maxRetryAfterSeconds": 1,
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn the_spec_is_one() {
        let storage = Storage::new("http://127.0.0.1:1/account", "account", "a2V5");
        let spec = spec("http://127.0.0.1:2/fhir", "Repeat", &storage);
        let object = json!({ "metadata": { "name": "hapi" }, "spec": spec });
        let server: FhirServer = serde_json::from_value(object).unwrap();
        assert!(server.spec.bulk_data.is_some_and(|dialect| dialect.finished_jobs.is_some()));
    }
}
