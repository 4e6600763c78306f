//! A recording of the objects that an operator had stored when it was killed. Marks stand for the addresses, ids and
//! names of the world in which it ran.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fhir_export_operator::api::{FhirExport, FhirExportSchedule, FhirServer};
use fhir_export_operator::cluster::NAME;
use fhir_export_operator::core::manifest::sha256_hex;
use jiff::{SignedDuration, Timestamp};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::phases::{AZURE_JOBS, BULK_JOBS, run};
use crate::place::Place;
use crate::site::Site;

/// The values of one world, by the marks that stand for them in a recording.
pub type Marks = BTreeMap<String, String>;

/// The mark for the hash of the schedule's server and request.
const FINGERPRINT: &str = "«fingerprint»";

/// The objects of a world, and the schemas that they had.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    recorded_at: Timestamp,
    /// The schemas of statuses, by the plural of the kind.
    pub schemas: Map<String, Value>,
    /// The objects, in an order in which they can be created.
    objects: Vec<Value>,
}

impl Recording {
    /// The path of the recording of a commit.
    pub fn file(commit: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/e2e/upgrades/{commit}.json"))
    }

    /// Reads the recording of a commit.
    pub fn read(commit: &str) -> Self {
        serde_json::from_slice(&std::fs::read(Self::file(commit)).unwrap()).unwrap()
    }

    /// Records all objects of a world.
    pub async fn of(place: &Place, schemas: Map<String, Value>) -> Self {
        let recorded_at = Timestamp::now();
        let mut objects = Vec::new();
        let mut marks = marks(place).await;
        for resource in kinds() {
            for object in api(&place.site, &resource).list(&ListParams::default()).await.unwrap() {
                let uid = object.uid().unwrap();
                marks.insert(mark("uid", &format!("{}/{}", resource.kind, object.name_any())), uid);
                objects.push(taken_down(&object, &resource.kind));
            }
        }
        marks.insert(FINGERPRINT.to_owned(), fingerprint(place, &marks));
        let mut text = serde_json::to_string(&objects).unwrap();
        for (mark, value) in marks {
            text = text.replace(&value, &mark);
        }
        assert!(!text.contains("127.0.0.1") && text.contains(FINGERPRINT), "{text}");
        Self { recorded_at, schemas, objects: serde_json::from_str(&text).unwrap() }
    }

    /// Writes the recording to the file of a commit.
    pub fn write(&self, commit: &str) {
        let text = format!("{}\n", serde_json::to_string_pretty(self).unwrap());
        std::fs::write(Self::file(commit), text).unwrap();
    }

    /// Creates the objects in another world, as if the operator had just stored them there. `jobs` holds the ids
    /// and status URLs of the FHIR servers' jobs, by the names of their exports.
    pub async fn make(&self, place: &Place, jobs: &BTreeMap<String, (String, String)>) {
        let ago = Timestamp::now().duration_since(self.recorded_at);
        let mut marks = marks(place).await;
        for (name, (id, url)) in jobs {
            marks.insert(mark("job", name), id.clone());
            marks.insert(mark("status of", name), url.clone());
        }
        for object in &self.objects {
            let mut object = filled(object, &marks);
            later(&mut object, ago);
            let made = make(&place.site, &object).await;
            let kind = object["kind"].as_str().unwrap();
            marks.insert(mark("uid", &format!("{kind}/{}", made.name_any())), made.uid().unwrap());
        }
        marks.insert(FINGERPRINT.to_owned(), fingerprint(place, &marks));
        // Statuses follow when all objects exist, since they name other objects.
        for object in &self.objects {
            let mut object = filled(object, &marks);
            assert!(!object.to_string().contains('«'), "{object}");
            later(&mut object, ago);
            complete(&place.site, &object).await;
        }
    }
}

/// The kinds, in an order in which their objects can be created.
pub fn kinds() -> [ApiResource; 3] {
    [
        ApiResource::erase::<FhirServer>(&()),
        ApiResource::erase::<FhirExportSchedule>(&()),
        ApiResource::erase::<FhirExport>(&()),
    ]
}

/// A client for untyped objects: a type would drop fields that it does not know.
pub fn api(site: &Site, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(site.client.clone(), &site.namespace, resource)
}

fn mark(what: &str, name: &str) -> String {
    format!("«{what} {name}»")
}

async fn marks(place: &Place) -> Marks {
    [
        ("«Bulk Data server»", place.fhir.url()),
        ("«Azure's service»", place.site.fhir.url()),
        ("«storage»", Site::blob_endpoint().await),
        ("«namespace»", place.site.namespace.clone()),
    ]
    .map(|(mark, value)| (mark.to_owned(), value))
    .into()
}

/// The hash of the schedule's server and request. Versions that compute it differently begin a new chain after an
/// upgrade.
fn fingerprint(place: &Place, marks: &Marks) -> String {
    let request = json!({"container": place.container(), "level": "System"});
    let server = &marks[&mark("uid", "FhirServer/clinic")];
    let whole = json!({"server": server, "url": place.fhir.url(), "request": request});
    let mut digest = sha256_hex(whole.to_string().as_bytes());
    digest.truncate(16);
    digest
}

/// An object as it is recorded: without the metadata that the API server adds, and with marks for the id and status URL
/// of a job that has not ended.
fn taken_down(object: &DynamicObject, kind: &str) -> Value {
    let name = object.name_any();
    let meta = serde_json::to_value(object.meta()).unwrap();
    let kept = ["name", "labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"];
    let meta: Map<String, Value> =
        kept.iter().filter_map(|key| Some(((*key).to_owned(), meta.get(*key)?.clone()))).collect();
    let mut taken = json!({"kind": kind, "metadata": meta,
        "spec": object.data["spec"], "status": object.data["status"]});
    let is_open = name == run() || BULK_JOBS.contains(&name.as_str()) || AZURE_JOBS.contains(&name.as_str());
    if let Some(job) = taken["status"].get_mut("job").and_then(Value::as_object_mut).filter(|_| is_open) {
        for (key, what) in [("id", "job"), ("statusURL", "status of")] {
            if let Some(value) = job.get_mut(key) {
                *value = mark(what, &name).into();
            }
        }
    }
    taken
}

/// Moves all times in a value by `by`.
fn later(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = time.saturating_add(by).unwrap().round(jiff::Unit::Second).unwrap().to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| later(item, by)),
        Value::Object(members) => members.values_mut().for_each(|member| later(member, by)),
        _ => {}
    }
}

/// A recorded object with the values of a world in place of the marks.
fn filled(object: &Value, marks: &Marks) -> Value {
    let text = marks.iter().fold(object.to_string(), |text, (mark, value)| text.replace(mark, value));
    serde_json::from_str(&text).unwrap()
}

fn api_of(site: &Site, object: &Value) -> (ApiResource, Api<DynamicObject>) {
    let resource = kinds().into_iter().find(|resource| resource.kind == object["kind"]).unwrap();
    let api = api(site, &resource);
    (resource, api)
}

/// Creates an object without its status. If the object exists, only its finalizers are set.
async fn make(site: &Site, object: &Value) -> DynamicObject {
    let (resource, api) = api_of(site, object);
    let mut body = object.clone();
    body["apiVersion"] = resource.api_version.into();
    body.as_object_mut().unwrap().remove("status");
    let meta = body["metadata"].as_object_mut().unwrap();
    meta.remove("deletionTimestamp");
    let name = meta["name"].as_str().unwrap();
    if let Some(there) = api.get_opt(name).await.unwrap() {
        let finalizers = json!({"metadata": {"finalizers": meta.get("finalizers")}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(finalizers)).await.unwrap();
        return there;
    }
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap()
}

/// Writes the status of an object as the operator does, and deletes the object if it was being deleted.
async fn complete(site: &Site, object: &Value) {
    let (resource, api) = api_of(site, object);
    let name = object["metadata"]["name"].as_str().unwrap();
    let applied = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name},
        "status": object["status"]});
    api.patch_status(name, &PatchParams::apply(NAME).force(), &Patch::Apply(&applied)).await.unwrap();
    if object["metadata"].get("deletionTimestamp").is_some() {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
}
