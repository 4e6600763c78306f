//! All that an operator leaves behind in the world of one test: its logs, its writes to the API server, its
//! metrics, and what it stored beside the data. Each end-to-end test searches it at its end.

use azure_fhir::Storage;
use fhir_export_operator::api::{FhirExport, FhirServer};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::{Site, shared};

/// The texts that an operator left behind, each with its place.
pub struct Traces(Vec<(String, String)>);

impl Traces {
    /// Gathers the traces of a site. `client` must belong to the current runtime.
    pub async fn of(site: &Site, client: Client) -> Self {
        let mut all = Self(Vec::new());
        for entry in std::fs::read_dir(site.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "log") {
                let log = std::fs::read(&path).unwrap();
                all.add(&path.display().to_string(), String::from_utf8_lossy(&log).into_owned());
            }
        }
        if let Some(metrics) = metrics(site).await {
            all.add("the metrics", metrics);
        }
        let list = ListParams::default();
        // Untyped objects: a type would drop fields that it does not know.
        let resource = ApiResource::erase::<FhirExport>(&());
        let exports: Api<DynamicObject> = Api::namespaced_with(client.clone(), &site.namespace, &resource);
        for export in exports.list(&list).await.unwrap().items {
            all.export(&export.name_any(), export.data.get("status").cloned().unwrap_or_default());
            let export: FhirExport = export.try_parse().unwrap();
            let output = export.status.as_ref().and_then(|status| status.output.clone());
            let Some((container, manifest)) = output.and_then(|o| Some((o.container?, o.manifest?.path)))
            else {
                continue;
            };
            let folder = manifest.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            for blob in [manifest, format!("{folder}log.ndjson")] {
                let text = match &site.lake {
                    Some(lake) => std::fs::read_to_string(lake.join(&container).join(&blob)).ok(),
                    None => stored(&container, &blob).await,
                };
                if let Some(text) = text {
                    all.add(&format!("{container}/{blob}"), text);
                }
            }
        }
        let servers: Api<FhirServer> = Api::namespaced(client.clone(), &site.namespace);
        for server in servers.list(&list).await.unwrap().items {
            let status = serde_json::to_string(&server.status).unwrap();
            all.add(&format!("the status of FhirServer {}", server.name_any()), status);
        }
        let events: Api<Event> = Api::namespaced(client, &site.namespace);
        for event in events.list(&list).await.unwrap().items {
            all.add("an event", serde_json::to_string(&event).unwrap());
        }
        all
    }

    /// Adds the status of an export, without its status URLs.
    pub fn export(&mut self, name: &str, mut status: Value) {
        // The operator must store a status URL whole, whatever it contains: without it the job is lost.
        if let Some(job) = status.get_mut("job").and_then(Value::as_object_mut) {
            job.remove("statusURL");
        }
        for job in status.get_mut("unsettledJobs").and_then(Value::as_array_mut).into_iter().flatten() {
            job.as_object_mut().unwrap().remove("statusURL");
        }
        self.add(&format!("the status of FhirExport {name}"), status.to_string());
    }

    fn add(&mut self, place: &str, text: String) {
        self.0.push((place.to_owned(), text));
    }

    /// The places of the texts.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(place, _)| place.as_str())
    }

    /// Describes the first mark that is found, and its place.
    pub fn find(&self, marks: &super::Marks) -> Option<String> {
        self.0.iter().find_map(|(place, text)| Some(format!("{place}: {}", marks.find(text)?)))
    }
}

/// The metrics of the operator, if it runs.
async fn metrics(site: &Site) -> Option<String> {
    let log = std::fs::read_to_string(site.operator.as_ref()?.log()).ok()?;
    let address = log.split("metrics=").nth(1)?.split_whitespace().next()?;
    reqwest::get(format!("http://{address}/metrics")).await.ok()?.text().await.ok()
}

/// The text of a blob, if it is there.
async fn stored(container: &str, path: &str) -> Option<String> {
    let azurite = &shared().await.azurite;
    let storage = Storage::new(&Site::blob_endpoint().await, azurite.account(), azurite.key());
    let url = format!("{}/{container}/{path}?{}", storage.endpoint, storage.sas().ok()?);
    let answer = reqwest::get(url).await.ok()?;
    if answer.status() == 200 { answer.text().await.ok() } else { None }
}

impl Site {
    /// All that the operator has left behind until now, also of deleted exports.
    pub async fn traces(&self) -> Traces {
        let client = shared().await.kubernetes.client().await.unwrap();
        let mut traces = Traces::of(self, client).await;
        for export in self.gone.lock().unwrap().iter() {
            traces.export(&export.name_any(), serde_json::to_value(&export.status).unwrap());
        }
        traces
    }

    /// Describes the first secret or patient's id that the operator left behind, and its place.
    pub async fn leak(&self) -> Option<String> {
        let traces = self.traces().await;
        let mut marks = self.marks.lock().unwrap();
        for request in self.fhir.requests() {
            marks.add_request(&request);
        }
        for id in self.fhir.patients().ids("Patient") {
            marks.add("the id of a patient", &id);
        }
        traces.find(&marks)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(operator) = &self.operator {
                eprintln!("--- namespace {}, operator log {}", self.namespace, operator.log().display());
            }
            return;
        }
        // `drop` cannot wait on the runtime of the test, so another thread has a runtime of its own.
        let leak = std::thread::scope(|scope| {
            let look = || tokio::runtime::Runtime::new().unwrap().block_on(self.leak());
            scope.spawn(look).join().unwrap()
        });
        assert!(leak.is_none(), "{}", leak.unwrap_or_default());
    }
}
