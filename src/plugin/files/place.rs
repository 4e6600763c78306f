//! Where the files of an export lie, and how the caller reaches them.

use std::path::PathBuf;

use clap::Args;
use kube::ResourceExt as _;

use crate::api::{ConditionType, FhirExport, FhirServer, RunState, StoredManifest};
use crate::core::bucket::{NamedBucket, aws_region};
use crate::core::condition;
use crate::core::store_name::{Store, store_of};
use crate::core::volume::VolumeFolder;

/// How the caller reaches the storage.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// Directory where the volume of the files is mounted
    #[arg(long, value_name = "DIR", help_heading = "Storage")]
    volume: Option<PathBuf>,
    /// Endpoint of the storage account or the S3 store, if it is not the one of the export, or none of Azure or AWS
    #[arg(long, value_name = "URL", help_heading = "Storage")]
    endpoint: Option<String>,
    /// Region of an S3 store, if its endpoint does not name it; else that in AWS_REGION, else us-east-1
    #[arg(long, value_name = "REGION", help_heading = "Storage")]
    region: Option<String>,
}

/// Where the files of an export lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store.
    pub store: StorePlace,
    /// The name of the store, as the export or its FhirServer has it; `None` if only the caller named one.
    pub name: Option<String>,
    /// The container.
    pub container: String,
    /// The manifest, with its SHA-256 from the status.
    pub manifest: StoredManifest,
}

/// The store that files lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A storage account.
    Account {
        /// The blob endpoint.
        endpoint: String,
        /// Whether the caller named it.
        named: bool,
    },
    /// An S3 store.
    Bucket(BucketPlace),
    /// A directory, in which the containers are.
    Directory(PathBuf),
}

/// An S3 store that files lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// The endpoint.
    pub endpoint: String,
    /// Whether the caller named the endpoint.
    pub named: bool,
    /// The region; `None` if neither the caller nor the endpoint names one.
    pub region: Option<String>,
    /// The bucket that holds all containers; `None` if each container is a bucket.
    pub bucket: Option<String>,
    /// The folder in the bucket that holds the containers.
    pub prefix: Option<String>,
}

/// The store of an export as its status has it; `None` if the server writes the files, so that only the FhirServer
/// names the store.
pub fn endpoint(export: &FhirExport) -> Option<&str> {
    export.status.as_ref()?.job.as_ref()?.destination.as_ref()?.endpoint.as_deref()
}

/// The store that a FhirServer names.
pub fn endpoint_of_server(server: &FhirServer) -> Option<String> {
    crate::core::store_name::store_name(server.spec.storage.as_ref()?)
}

impl StoreArgs {
    /// Whether `--endpoint` names the storage account, so that the FhirServer need not be read.
    pub fn names_store(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Where the files of `export` lie. `endpoint` is what the status, or the FhirServer, says of the store. The error
    /// is one sentence.
    pub fn place(&self, export: &FhirExport, endpoint: Option<&str>) -> Result<Place, String> {
        let (container, manifest) = listed(export)?;
        let name = endpoint.map(str::to_owned);
        let store = match (self.endpoint.as_deref(), endpoint.map(store_of)) {
            (Some(endpoint), None | Some(Store::Account(_))) => {
                StorePlace::Account { endpoint: endpoint.to_owned(), named: true }
            }
            (None, Some(Store::Account(endpoint))) => {
                StorePlace::Account { endpoint: endpoint.to_owned(), named: false }
            }
            (_, Some(Store::Other(name))) => {
                return Err(format!(
                    "The files lie in {name}, which this plugin cannot read: use the tools of that store, beginning with \
                     {container}/{}.",
                    manifest.path
                ));
            }
            (own, Some(Store::S3(bucket))) => StorePlace::Bucket(self.bucket(own, bucket)),
            (_, Some(Store::Volume(folder))) => StorePlace::Directory(self.directory(folder)?),
            (None, None) => {
                return Err(format!(
                    "Where the files of {} lie is known only to its FhirServer: name the blob endpoint with --endpoint.",
                    export.name_any()
                ));
            }
        };
        Ok(Place { store, name, container, manifest })
    }

    /// The S3 store of this name, at the endpoint `own` if the caller named one.
    fn bucket(&self, own: Option<&str>, named: NamedBucket<'_>) -> BucketPlace {
        let region = self.region.as_deref().or_else(|| aws_region(own.unwrap_or(named.endpoint)));
        BucketPlace {
            endpoint: own.unwrap_or(named.endpoint).to_owned(),
            named: own.is_some(),
            region: region.or_else(|| aws_region(named.endpoint)).map(str::to_owned),
            bucket: named.bucket.map(str::to_owned),
            prefix: named.prefix.map(str::to_owned),
        }
    }

    /// The directory of a folder of a volume, which the operator names `CLAIM` or `CLAIM/PATH`.
    fn directory(&self, folder: &str) -> Result<PathBuf, String> {
        let parsed = VolumeFolder::parse(folder)
            .map_err(|why| format!("The status names no folder of a volume: {why}."))?;
        let mounted = self.volume.as_ref().ok_or_else(|| {
            format!(
                "The files lie on the volume {folder}: run this where the volume is mounted, and name that directory with \
                 --volume."
            )
        })?;
        Ok(parsed.path().fold(mounted.clone(), |path, name| path.join(name)))
    }
}

/// The container and the manifest of an export that has one.
fn listed(export: &FhirExport) -> Result<(String, StoredManifest), String> {
    let (name, namespace) = (export.name_any(), export.namespace().unwrap_or_default());
    let status = export.status.as_ref();
    let output = status.and_then(|status| status.output.as_ref());
    let place = output.and_then(|output| output.container.clone().zip(output.manifest.clone()));
    if let Some(place) = place {
        return Ok(place);
    }
    Err(match status.and_then(|status| status.state) {
        Some(RunState::Complete) => {
            let verified =
                status.and_then(|status| condition::find(&status.conditions, ConditionType::Verified));
            let why = verified.map(|verified| format!(" ({})", verified.message)).unwrap_or_default();
            format!(
                "The operator stored no manifest of {name}{why}: read the container with other tools; kubectl fhirexport \
                 describe {name} -n {namespace} says where it is."
            )
        }
        Some(state @ (RunState::Failed | RunState::Cancelled)) => format!(
            "The export {name} is {state} and has no complete set of files: see kubectl fhirexport describe {name} -n \
             {namespace}."
        ),
        Some(_) | None => format!(
            "The export {name} has no files yet: wait for its end with kubectl fhirexport wait {name} -n {namespace}."
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn export(status: &Value) -> FhirExport {
        serde_json::from_value(json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": { "name": "cohort", "namespace": "research" }, "status": status,
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } }))
        .unwrap()
    }

    fn complete() -> FhirExport {
        export(&json!({ "state": "Complete", "output": { "container": "lake", "folder": "f",
            "manifest": { "path": "f/manifest.json", "sha256": "ab" } } }))
    }

    fn flags(volume: Option<&str>, endpoint: Option<&str>) -> StoreArgs {
        StoreArgs { volume: volume.map(PathBuf::from), endpoint: endpoint.map(str::to_owned), region: None }
    }

    #[test]
    fn the_store_is_that_of_the_export_or_the_one_that_the_caller_names() {
        let store = |args: StoreArgs, endpoint| args.place(&complete(), endpoint).map(|place| place.store);
        let account =
            |endpoint: &str, named| Ok(StorePlace::Account { endpoint: endpoint.to_owned(), named });
        let (azure, private) = ("https://a.blob.core.windows.net", "https://a.private.example");
        assert_eq!(store(flags(None, None), Some(azure)), account(azure, false));
        assert_eq!(store(flags(None, Some(private)), Some(azure)), account(private, true));
        assert_eq!(store(flags(None, Some(private)), None), account(private, true));
        assert!(store(flags(None, None), None).unwrap_err().contains("--endpoint"));
        let mounted = store(flags(Some("/mnt/lake"), None), Some("volume:lake/clinic/fhir"));
        assert_eq!(mounted, Ok(StorePlace::Directory("/mnt/lake/clinic/fhir".into())));
        assert!(store(flags(None, None), Some("volume:lake")).unwrap_err().contains("--volume"));
        assert!(store(flags(Some("/mnt"), None), Some("volume:lake/../x")).is_err());
        let (aws, own) = ("https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:9000");
        let bucket = |endpoint: &str, named, region: Option<&str>| {
            Ok(StorePlace::Bucket(BucketPlace {
                endpoint: endpoint.to_owned(),
                named,
                region: region.map(str::to_owned),
                bucket: Some("clinic".to_owned()),
                prefix: Some("a/b".to_owned()),
            }))
        };
        let (at_aws, at_own) =
            (format!("s3://clinic/a/b?endpoint={aws}"), format!("s3://clinic/a/b?endpoint={own}"));
        assert_eq!(store(flags(None, None), Some(&at_aws)), bucket(aws, false, Some("eu-central-1")));
        assert_eq!(store(flags(None, Some(own)), Some(&at_aws)), bucket(own, true, Some("eu-central-1")));
        assert_eq!(store(flags(None, None), Some(&at_own)), bucket(own, false, None));
        let asked = StoreArgs { region: Some("garage".to_owned()), ..flags(None, None) };
        assert_eq!(store(asked, Some(&at_own)), bucket(own, false, Some("garage")));
        let other = store(flags(None, None), Some("file:///lake")).unwrap_err();
        assert!(other.contains("file:///lake") && other.contains("lake/f/manifest.json"), "{other}");
    }

    #[test]
    fn an_export_without_a_manifest_says_why() {
        let said = |status: Value| flags(None, None).place(&export(&status), None).unwrap_err();
        assert!(said(json!({ "state": "Running" })).contains("has no files yet: wait for its end"));
        assert!(said(Value::Null).contains("has no files yet"));
        assert!(said(json!({ "state": "Failed" })).contains("is Failed and has no complete set of files"));
        let unchecked = json!({ "state": "Complete", "conditions": [{ "type": "Verified", "status": "Unknown",
            "reason": "NoStorageAccess", "message": "no storage is set", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
        assert!(said(unchecked).contains("stored no manifest of cohort (no storage is set)"));
    }
}
