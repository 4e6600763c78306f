//! What a FhirServer may ask for without a cluster, and a directory in place of its storage.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use url::Url;

use crate::offline::Fault;
use crate::stop::Stop;

/// Where Entra settings are in a FhirServer.
const ENTRA: [&str; 2] = ["spec.auth.entra", "spec.storage.azureBlob.auth.entra"];

/// A directory that files land in, instead of the storage of the FhirServers.
#[derive(Clone, Debug)]
pub struct Container {
    root: PathBuf,
    url: String,
}

impl Container {
    /// The directory at `path`, which is created if it does not exist.
    pub fn new(path: &Path) -> Result<Self, Stop> {
        let unusable =
            |why: String| Stop::because(format!("The directory {} of --container {why}.", path.display()));
        let mut new = std::fs::DirBuilder::new();
        new.recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| unusable(format!("cannot be created: {e}")))?;
        let root = path.canonicalize().map_err(|e| unusable(format!("cannot be opened: {e}")))?;
        let url = Url::from_file_path(&root).map_err(|()| unusable("has no URL".into()))?.to_string();
        Ok(Self { url: url.trim_end_matches('/').to_owned(), root })
    }

    /// The directory in which the files of a FhirServer of the state file land, if it is one.
    pub fn of(server: &Value) -> Option<Self> {
        let url = server.pointer("/spec/storage/azureBlob/endpoint")?.as_str()?;
        let root = Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
        Some(Self { root, url: url.to_owned() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory the storage of a FhirServer, whether or not it names one; how files are written there stays.
    /// The exports record this place, so that they are never continued in another one.
    pub fn replace_storage(&self, server: &mut Value) {
        let Some(spec) = server.get_mut("spec").and_then(Value::as_object_mut) else { return };
        // Nobody reads these credentials.
        let auth = json!({ "type": "SASToken", "secretRef": { "name": "unused", "key": "unused" } });
        let mut here = json!({ "type": "AzureBlob", "azureBlob": { "endpoint": self.url, "auth": auth } });
        for member in ["compression", "exportLog"] {
            let value = spec.get("storage").and_then(|storage| storage.get(member));
            if let (Some(value), Some(here)) = (value, here.as_object_mut()) {
                here.insert(member.into(), value.clone());
            }
        }
        spec.insert("storage".into(), here);
    }
}

/// What a FhirServer asks for and only a cluster has, and what a directory cannot replace.
pub fn faults(server: &Value, in_a_directory: bool) -> Vec<Fault> {
    let text = |field: &str| server.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_str);
    let mut faults = Vec::new();
    if in_a_directory && text("spec.dialect") == Some("Azure") {
        faults.push(Fault::new(
            "spec.dialect",
            "Azure's FHIR service writes the files into its own storage account, so --container cannot replace it: \
             leave --container out",
        ));
    }
    for entra in ENTRA {
        let field = format!("{entra}.type");
        if text(&field) == Some("WorkloadIdentity") {
            let message = "the token of a ServiceAccount exists only in a cluster: use ClientSecret here";
            faults.push(Fault::new(&field, message));
        }
    }
    if text("spec.storage.s3.auth.type") == Some("WebIdentity") && !in_a_directory {
        let message =
            "the token of a ServiceAccount exists only in a cluster: use AccessKey here, or --container";
        faults.push(Fault::new("spec.storage.s3.auth.type", message));
    }
    faults
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn said(server: &Value, in_a_directory: bool) -> Vec<String> {
        faults(server, in_a_directory).iter().map(|fault| fault.field.clone()).collect()
    }

    #[test]
    fn a_directory_becomes_the_storage_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let container = Container::new(&folder.path().join("my lake")).unwrap();
        let mut server = json!({ "spec": { "dialect": "BulkData", "storage": { "compression": "Gzip" } } });
        container.replace_storage(&mut server);
        assert_eq!(server.pointer("/spec/storage/compression").unwrap(), "Gzip");
        let endpoint = server.pointer("/spec/storage/azureBlob/endpoint").unwrap().as_str().unwrap();
        assert!(endpoint.starts_with("file:///") && endpoint.ends_with("/my%20lake"), "{endpoint}");
        assert_eq!(Container::of(&server).unwrap().root(), container.root());
        assert!(container.root().is_dir());
    }

    #[test]
    fn a_storage_account_stays_what_it_is_without_a_directory() {
        let server = json!({ "spec": { "storage": { "azureBlob": { "endpoint": "https://x.example" } } } });
        assert!(Container::of(&server).is_none());
    }

    #[test]
    fn what_only_a_cluster_has_is_refused_by_its_field() {
        let azure =
            json!({ "spec": { "dialect": "Azure", "auth": { "entra": { "type": "ClientSecret" } } } });
        assert_eq!(said(&azure, true), ["spec.dialect"]);
        assert!(said(&azure, false).is_empty());
        let federated = json!({ "spec": { "dialect": "BulkData",
            "auth": { "entra": { "type": "WorkloadIdentity" } },
            "storage": { "azureBlob": { "auth": { "entra": { "type": "WorkloadIdentity" } } } } } });
        assert_eq!(
            said(&federated, true),
            ["spec.auth.entra.type", "spec.storage.azureBlob.auth.entra.type"]
        );
        let role = json!({ "spec": { "dialect": "BulkData",
            "storage": { "s3": { "auth": { "type": "WebIdentity" } } } } });
        assert_eq!(said(&role, false), ["spec.storage.s3.auth.type"]);
        assert!(said(&role, true).is_empty(), "a directory is there in its place");
    }
}
