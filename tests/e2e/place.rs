//! The world of one test of landings: that of every end-to-end test ([`Site`]), with a Bulk Data server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use bulk_fhir::{JobView, List, Options, Request, Script, Server};
use fhir_export_operator::api::{FhirExport, Output};
use serde_json::{Value, json};
use stage::{Azurite, wait_until};

use crate::site::{PATIENCE, S3_PREFIX, Site, merge, shared};

/// A Bulk Data server, the operator, and a container of Azurite, on a volume or in an S3 store.
pub struct Place {
    pub site: Site,
    pub fhir: Server,
    server: Mutex<Value>,
}

impl Place {
    /// Starts a world with a `FhirServer` named `clinic` and an operator.
    pub async fn start(name: &str, options: Options, change: Value) -> Self {
        let mut place = Self::without_operator(name, options, change).await;
        place.site.start_operator().await;
        place
    }

    /// Starts a world with a `FhirServer` named `clinic`, whose storage is a volume, and an operator.
    pub async fn on_a_volume(name: &str, options: Options, change: Value) -> Self {
        let mut place = Self::without_volume(name, options, change).await;
        place.site.mount();
        place.site.start_operator().await;
        place
    }

    /// Starts a world with a `FhirServer` named `clinic`, whose storage is a volume that is not mounted, and without an
    /// operator.
    pub async fn without_volume(name: &str, options: Options, change: Value) -> Self {
        let mut site = Site::without_server(name, azure_fhir::Options::default()).await;
        let mut storage = json!({"storage": site.volume()});
        merge(&mut storage, change);
        Self::on(site, options, storage).await
    }

    /// Starts a world with a `FhirServer` named `clinic`, whose storage is an S3 store, and an operator.
    pub async fn on_s3(name: &str, options: Options, change: Value) -> Self {
        let mut site = Site::without_server(name, azure_fhir::Options::default()).await;
        let mut storage = json!({"storage": site.s3().await});
        merge(&mut storage, change);
        let mut place = Self::on(site, options, storage).await;
        place.site.start_operator().await;
        place
    }

    /// Starts a world with a `FhirServer` named `clinic` but without an operator.
    pub async fn without_operator(name: &str, options: Options, change: Value) -> Self {
        let site = Site::without_server(name, azure_fhir::Options::default()).await;
        Self::on(site, options, change).await
    }

    async fn on(site: Site, options: Options, change: Value) -> Self {
        let fhir = Server::start(options).await.unwrap();
        let server = json!({"url": fhir.url(), "dialect": "BulkData",
            "limits": {"minPollSeconds": 1, "maxRetryAfterSeconds": 1}});
        let place = Self { site, fhir, server: Mutex::new(server) };
        place.change_server(change).await;
        place
    }

    /// Merges `change` into the spec of the `FhirServer` named `clinic`.
    pub async fn change_server(&self, change: Value) {
        let spec = {
            let mut server = self.server.lock().unwrap();
            merge(&mut server, change);
            server.clone()
        };
        self.site.apply_server(spec).await;
    }

    /// Creates an export into this test's container.
    pub async fn export(&self, name: &str, request: Value, spec: Value) {
        let mut whole = json!({"level": "System", "container": self.container()});
        merge(&mut whole, request);
        self.site.export(name, whole, spec).await;
    }

    /// The name of this test's container.
    pub fn container(&self) -> String {
        self.site.namespace.clone()
    }

    /// Creates an export and waits until it is complete.
    pub async fn landed(&self, name: &str, request: Value) -> FhirExport {
        self.export(name, request, json!({})).await;
        self.site.complete(name).await
    }

    /// Creates the one export of this world, whose job follows `script`, and waits until it is complete.
    pub async fn lands(&self, script: Script) -> (FhirExport, JobView) {
        self.fhir.script(script);
        let object = self.landed("run", json!({})).await;
        let job = self.last_job();
        self.assert_same(&object, &job.id).await;
        (object, job)
    }

    /// The job that the server created last.
    pub fn last_job(&self) -> JobView {
        self.fhir.jobs().last().unwrap().clone()
    }

    /// The requests for files that the server received, in order of arrival.
    pub fn file_requests(&self) -> Vec<Request> {
        self.fhir.requests().into_iter().filter(Request::is_file).collect()
    }

    /// Waits until `seen` holds for the server. `what` names the condition in the message of a timeout.
    pub async fn until_served(&self, what: &str, seen: impl Fn(&Server) -> bool) {
        let result = wait_until(what, PATIENCE, || async { seen(&self.fhir) }).await;
        self.site.told(result);
    }

    /// Waits until the server has sent at least `bytes` bytes of a file.
    pub async fn until_sent(&self, file: usize, bytes: u64) {
        let sent = |server: &Server| server.jobs().last().is_some_and(|j| j.files[file].bytes_sent >= bytes);
        self.until_served("the file to be on its way", sent).await;
    }

    /// The contents of all blobs of a run, by their names in its folder.
    pub async fn blobs(&self, object: &FhirExport) -> BTreeMap<String, Vec<u8>> {
        if let Some(bucket) = &self.site.bucket {
            let output = output(object);
            let place = format!("{S3_PREFIX}/{}/{}", output.container.unwrap(), output.folder.unwrap());
            return bucket.folder(&place).await.unwrap();
        }
        match &self.site.lake {
            Some(lake) => {
                let output = output(object);
                let folder = lake.join(output.container.unwrap()).join(output.folder.unwrap());
                let mut files = BTreeMap::new();
                read_below(&folder, "", &mut files);
                files
            }
            None => Self::blobs_in(&shared().await.azurite, object).await,
        }
    }

    async fn blobs_in(azurite: &Azurite, object: &FhirExport) -> BTreeMap<String, Vec<u8>> {
        let output = output(object);
        let container = blobs::container(azurite, output.container.as_deref().unwrap()).await.unwrap();
        blobs::folder(&container, output.folder.as_deref().unwrap()).await.unwrap()
    }

    /// The names of the folders in this test's container, on a volume or in an S3 store.
    pub async fn folders(&self) -> BTreeSet<String> {
        if let Some(bucket) = &self.site.bucket {
            let names = bucket.names(&format!("{S3_PREFIX}/{}", self.container())).await.unwrap();
            return names.iter().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
        }
        let folders = std::fs::read_dir(self.site.lake.as_ref().unwrap().join(self.container())).unwrap();
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The names, without their folders, of the blobs in this test's container that are not in `folder`.
    pub async fn names_outside(&self, folder: &str) -> Vec<String> {
        let names = if let Some(lake) = &self.site.lake {
            let mut files = BTreeMap::new();
            read_below(&lake.join(self.container()), "", &mut files);
            files.into_keys().collect()
        } else if let Some(bucket) = &self.site.bucket {
            bucket.names(&format!("{S3_PREFIX}/{}", self.container())).await.unwrap()
        } else {
            let container = blobs::container(&shared().await.azurite, &self.container()).await.unwrap();
            blobs::names(&container, "").await.unwrap()
        };
        names
            .into_iter()
            .filter_map(|name| {
                name.split_once('/').filter(|(of, _)| *of != folder).map(|(_, n)| n.to_owned())
            })
            .collect()
    }

    /// Asserts that the run's folder holds exactly the data that the server's job served, and that the stored manifest
    /// describes it.
    pub async fn assert_same(&self, object: &FhirExport, job: &str) {
        self.assert_blobs(self.blobs(object).await, job);
    }

    /// Like [`Self::assert_same`], for a container in the account of `azurite`.
    pub async fn assert_same_in(&self, azurite: &Azurite, object: &FhirExport, job: &str) {
        self.assert_blobs(Self::blobs_in(azurite, object).await, job);
    }

    fn assert_blobs(&self, mut blobs: BTreeMap<String, Vec<u8>>, job: &str) {
        let manifest: Value = serde_json::from_slice(&blobs.remove("manifest.json").unwrap()).unwrap();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut expected = self.fhir.expected(job);
        expected.sort_by_key(|file| (rank(file.list), file.index));
        let mut entries: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for list in ["output", "deleted", "error"] {
            entries.insert(list, manifest[list].as_array().unwrap().clone());
        }
        for file in expected {
            let (list, below) = match file.list {
                List::Output => ("output", ""),
                List::Deleted => ("deleted", "deleted/"),
                List::Error => ("error", "error/"),
            };
            let kind = file.kind.clone().unwrap_or_else(|| "Mixed".into());
            let number = numbers.entry(format!("{below}{kind}")).or_default();
            *number += 1;
            let name = format!("{below}{kind}-{number}.ndjson");
            let bytes = blobs.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(hex(&bytes), file.sha256(), "{name}");
            let entry = &entries[list][file.index];
            assert_eq!(entry["sha256"], hex(&bytes), "{name}");
            assert_eq!(entry["count"], file.lines, "{name}");
            let url = entry["url"].as_str().unwrap();
            // On a volume, URLs are relative to the manifest.
            let names =
                if self.site.lake.is_some() { url == name } else { url.ends_with(&format!("/{name}")) };
            assert!(names, "{entry}");
        }
        assert!(blobs.is_empty(), "more than was served: {:?}", blobs.keys());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(mut marks) = self.site.marks.lock() else { return };
        for request in self.fhir.requests() {
            marks.add_request(&request);
        }
        for id in self.fhir.patients().ids("Patient") {
            marks.add("the id of a patient", &id);
        }
    }
}

fn rank(list: List) -> u8 {
    match list {
        List::Output => 0,
        List::Deleted => 1,
        List::Error => 2,
    }
}

/// Adds the files in a folder, by their paths below it, with `above` in front. Leaves out hidden ones, which no reader
/// of the folder sees. A folder that does not exist has none.
fn read_below(folder: &Path, above: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            read_below(&entry.path(), &format!("{above}{name}/"), files);
        } else {
            files.insert(format!("{above}{name}"), std::fs::read(entry.path()).unwrap());
        }
    }
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    fhir_export_operator::core::manifest::sha256_hex(bytes)
}

/// `status.output` of an export.
pub fn output(object: &FhirExport) -> Output {
    object.status.as_ref().unwrap().output.clone().unwrap()
}
