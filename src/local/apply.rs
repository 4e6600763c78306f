//! Manifests become objects of the state file, as `kubectl apply` does it.

use serde_json::Value;

use super::container::{self, Container};
use super::manifests::{Manifest, refused};
use super::objects::{Applied, Objects, meta};
use crate::api::VERSION;
use crate::offline::{Fault, Problem};
use crate::show::{Key, ObjectKind};
use crate::stop::Stop;

/// Checks all manifests and then stores them, so that a fault in one of them changes nothing. With a container, it is
/// the storage of every FhirServer. Returns what became of each object, in the order of the manifests.
pub fn apply(
    objects: &Objects,
    manifests: &[Manifest],
    container: Option<&Container>,
) -> Result<Vec<(Key, Applied)>, Stop> {
    let (mut problems, mut wanted) = (Vec::new(), Vec::new());
    for manifest in manifests {
        match checked(objects, manifest, container) {
            Ok(object) => wanted.push((manifest.key.clone(), object)),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    let store = |(key, object): (Key, Value)| match objects.apply(&key, object) {
        Ok(applied) => Ok((key, applied)),
        Err(refusal) => Err(Stop::because(format!("{key} cannot be stored: {refusal}."))),
    };
    wanted.into_iter().map(store).collect()
}

/// The object that a manifest makes of what is there.
fn checked(
    objects: &Objects,
    manifest: &Manifest,
    container: Option<&Container>,
) -> Result<Value, Vec<Problem>> {
    let Manifest { key, object, document } = manifest;
    let old = objects.find(key);
    let is_server = key.kind == ObjectKind::Server;
    let mut problems = Vec::new();
    if is_server {
        let faults = container::faults(object, container.is_some()).into_iter();
        problems.extend(faults.map(|fault| document.problem(&fault.field, fault.message)));
    }
    if old.as_ref().is_some_and(|old| meta(old, "deletionTimestamp").is_some()) {
        let message = format!("it is being deleted: run `local delete {}` until it is gone", key.name);
        problems.push(document.problem("metadata.name", message));
    }
    let definition = objects.definitions().find(key.kind.as_str(), VERSION);
    let found = definition.map(|definition| definition.faults(object, old.as_ref().map(as_asked).as_ref()));
    // The container is the storage.
    let given = |fault: &Fault| is_server && container.is_some() && fault.field == "spec.storage";
    let faults = found.into_iter().flatten().filter(|fault| !given(fault));
    problems.extend(faults.map(|fault| document.problem(&fault.field, fault.message)));
    let mut merged = old.as_ref().map_or_else(|| object.clone(), |old| merge(key.kind, old, object));
    if let Some(container) = container.filter(|_| is_server) {
        container.replace_storage(&mut merged);
    }
    if problems.is_empty() { Ok(merged) } else { Err(problems) }
}

/// An object without the cancel that was asked for here, which a manifest need not repeat.
fn as_asked(old: &Value) -> Value {
    let mut asked = old.clone();
    if let Some(spec) = asked.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("cancel");
    }
    asked
}

/// The object that is there, with the spec of the manifest and its labels and annotations. What was cancelled stays
/// cancelled.
fn merge(kind: ObjectKind, old: &Value, manifest: &Value) -> Value {
    let mut new = old.clone();
    let Some(members) = new.as_object_mut() else { return manifest.clone() };
    for member in manifest.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata") {
        members.insert(member.0.clone(), member.1.clone());
    }
    for map in ["labels", "annotations"] {
        let Some(Value::Object(wanted)) = manifest.pointer(&format!("/metadata/{map}")) else { continue };
        if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            let entries = metadata.entry(map).or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(entries) = entries.as_object_mut() {
                entries.extend(wanted.clone());
            }
        }
    }
    let cancelled = kind == ObjectKind::Export && old.pointer("/spec/cancel") == Some(&Value::Bool(true));
    if let Some(spec) = members.get_mut("spec").and_then(Value::as_object_mut).filter(|_| cancelled) {
        spec.insert("cancel".into(), Value::Bool(true));
    }
    new
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::state::StateFile;
    use super::*;
    use crate::offline::{Definitions, read};

    fn objects(folder: &tempfile::TempDir) -> Objects {
        let (file, contents) = StateFile::open(&folder.path().join("state.json")).unwrap();
        Objects::new(file, contents, Definitions::load().unwrap())
    }

    fn manifest(kind: ObjectKind, name: &str, spec: &Value) -> Manifest {
        let object = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": kind.as_str(),
            "metadata": { "name": name, "namespace": "default", "labels": { "team": "a" } }, "spec": spec });
        let key = Key { kind, namespace: "default".into(), name: name.into() };
        let document = read("all.yaml", &object.to_string()).unwrap().remove(0);
        Manifest { key, object, document }
    }

    fn export(change: &Value) -> Manifest {
        let mut spec = json!({ "serverRef": { "name": "clinic" }, "request": { "level": "System" } });
        json_patch::merge(&mut spec, change);
        manifest(ObjectKind::Export, "cohort", &spec)
    }

    fn applied(objects: &Objects, manifests: &[Manifest]) -> Result<Vec<Applied>, String> {
        let done = apply(objects, manifests, None).map_err(|stop| stop.to_string())?;
        Ok(done.into_iter().map(|(_, applied)| applied).collect())
    }

    #[test]
    fn the_same_manifest_changes_nothing_and_the_operators_own_fields_stay() {
        let folder = tempfile::tempdir().unwrap();
        let objects = objects(&folder);
        let one = export(&json!({}));
        assert_eq!(applied(&objects, std::slice::from_ref(&one)).unwrap(), [Applied::Created]);
        objects.write_status(&one.key, None, json!({ "state": "Running" })).unwrap();
        assert_eq!(applied(&objects, std::slice::from_ref(&one)).unwrap(), [Applied::Unchanged]);
        let paused = export(&json!({ "suspend": true }));
        assert_eq!(applied(&objects, &[paused]).unwrap(), [Applied::Configured]);
        let now = objects.find(&one.key).unwrap();
        assert_eq!(now.pointer("/status/state").unwrap(), "Running");
        assert_eq!(now.pointer("/metadata/generation").unwrap(), 2);
    }

    #[test]
    fn what_was_cancelled_stays_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let objects = objects(&folder);
        applied(&objects, &[export(&json!({ "cancel": true }))]).unwrap();
        assert_eq!(applied(&objects, &[export(&json!({}))]).unwrap(), [Applied::Unchanged]);
    }

    #[test]
    fn one_fault_keeps_everything_as_it_was_and_all_faults_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let objects = objects(&folder);
        let bad = export(&json!({ "request": { "level": "Group" }, "suspend": 1 }));
        let worse = manifest(ObjectKind::Server, "clinic", &json!({ "dialect": "BulkData" }));
        let good = manifest(ObjectKind::Export, "good", export(&json!({})).object.get("spec").unwrap());
        let refused = applied(&objects, &[good.clone(), bad, worse]).unwrap_err();
        let lines: Vec<&str> = refused.lines().collect();
        assert!(lines.contains(&"all.yaml:1: FhirServer clinic: spec.url: is required"), "{refused}");
        assert!(refused.contains("FhirExport cohort: spec.suspend: must be true or false"), "{refused}");
        assert_eq!(objects.find(&good.key), None);
    }

    #[test]
    fn a_request_cannot_be_changed_by_another_manifest_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let objects = objects(&folder);
        applied(&objects, &[export(&json!({}))]).unwrap();
        let refused =
            applied(&objects, &[export(&json!({ "request": { "level": "Patient" } }))]).unwrap_err();
        assert!(
            refused.contains("FhirExport cohort: spec.request: a request cannot be changed"),
            "{refused}"
        );
    }
}
