#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    objects: Objects,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder);
    Place { folder, objects }
}

fn open(folder: &tempfile::TempDir) -> Objects {
    let (file, contents) = StateFile::open(&folder.path().join("state.json")).unwrap();
    Objects::new(file, contents, Definitions::load().unwrap())
}

fn key(kind: Kind, name: &str) -> Key {
    Key { kind, namespace: "default".into(), name: name.into() }
}

fn export(name: &str) -> (Key, Value) {
    let object = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } });
    (key(Kind::FhirExport, name), object)
}

fn created(objects: &Objects, name: &str) -> (Key, Value) {
    let (key, object) = export(name);
    let made = objects.create(&key, object).unwrap();
    (key, made)
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(member.to_owned(), value);
    object
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").unwrap().as_i64().unwrap()
}

#[test]
fn a_new_object_gets_an_identity_and_no_status_of_its_own() {
    let place = place();
    let (key, object) = export("one");
    let object = with(object, "/status", json!({ "state": "Complete" }));
    let made = place.objects.create(&key, object.clone()).unwrap();
    assert_eq!((generation(&made), meta(&made, "resourceVersion")), (1, Some("1")));
    assert_eq!(meta(&made, "uid").unwrap().len(), 36);
    assert_eq!(made.get("status"), Some(&json!({ "observedGeneration": -1 })));
    assert_eq!(place.objects.create(&key, object), Err(Refusal::AlreadyExists(key)));
}

#[test]
fn a_write_on_an_older_version_is_a_conflict_and_changes_nothing() {
    let place = place();
    let (key, made) = created(&place.objects, "one");
    let version = meta(&made, "resourceVersion");
    let written = place.objects.write_status(&key, version, json!({ "state": "Running" })).unwrap();
    let stale = place.objects.write_status(&key, version, json!({ "state": "Failed" }));
    assert_eq!(stale, Err(Refusal::Conflict(key.clone())));
    let stale = place.objects.update(&key, |_| Ok(with(made.clone(), "/spec/suspend", json!(true))));
    assert_eq!(stale, Err(Refusal::Conflict(key.clone())));
    let stale = Preconditions { resource_version: version.map(Into::into), ..Preconditions::default() };
    assert_eq!(place.objects.delete(&key, &stale), Err(Refusal::Conflict(key.clone())));
    let other = Preconditions { uid: Some("another".into()), ..Preconditions::default() };
    assert_eq!(place.objects.delete(&key, &other), Err(Refusal::Conflict(key.clone())));
    assert_eq!(place.objects.find(&key), Some(written));
}

#[test]
fn only_another_spec_begins_a_generation_and_only_a_change_a_version() {
    let place = place();
    let (key, made) = created(&place.objects, "one");
    let same = place.objects.update(&key, Ok).unwrap();
    assert_eq!(same, made, "nothing changed");
    let labelled =
        place.objects.update(&key, |o| Ok(with(o, "/metadata/labels", json!({ "a": "b" })))).unwrap();
    assert_eq!((generation(&labelled), meta(&labelled, "resourceVersion")), (1, Some("2")));
    let paused = place.objects.update(&key, |o| Ok(with(o, "/spec/suspend", json!(true)))).unwrap();
    assert_eq!(generation(&paused), 2);
    let forged = place.objects.update(&key, |o| {
        let o = with(o, "/metadata/uid", json!("mine"));
        Ok(with(with(o, "/metadata/generation", json!(9)), "/status", json!({ "state": "Complete" })))
    });
    assert_eq!(forged.unwrap(), paused, "identity, generation and status are not for this request");
}

#[test]
fn what_the_definitions_forbid_is_not_stored() {
    let place = place();
    let (key, object) = export("one");
    let refused = place.objects.create(&key, with(object, "/spec/backoffLimit", json!(-1)));
    assert!(matches!(refused, Err(Refusal::Invalid(said)) if said.contains("spec.backoffLimit")));
    let (key, _) = created(&place.objects, "two");
    let refused = place.objects.update(&key, |o| Ok(with(o, "/spec/request/level", json!("Patient"))));
    assert!(matches!(refused, Err(Refusal::Invalid(said)) if said.contains("cannot be changed")));
}

#[test]
fn a_deletion_waits_for_the_finalizer_and_takes_what_is_owned_along() {
    let place = place();
    let schedule = key(Kind::FhirExportSchedule, "nightly");
    let made = place
        .objects
        .create(
            &schedule,
            json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
                "metadata": { "name": "nightly", "namespace": "default" },
                "spec": { "schedule": "0 2 * * *", "template": { "spec": { "serverRef": { "name": "clinic" },
                    "request": { "level": "System" } } } } }),
        )
        .unwrap();
    let owner = json!([{ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
        "name": "nightly", "uid": meta(&made, "uid"), "controller": true }]);
    let (held, object) = export("held");
    let object = with(object, "/metadata/ownerReferences", owner.clone());
    let finalizers = json!(["fhirexport.dev/cancel"]);
    place.objects.create(&held, with(object, "/metadata/finalizers", finalizers)).unwrap();
    let (free, object) = export("free");
    place.objects.create(&free, with(object, "/metadata/ownerReferences", owner)).unwrap();
    place.objects.work_on([schedule.clone()]);
    assert_eq!(place.objects.list(Kind::FhirExport, None).1.len(), 2, "what is owned belongs to it");

    place.objects.delete(&schedule, &Preconditions::default()).unwrap();
    assert_eq!(place.objects.find(&schedule), None);
    assert_eq!(place.objects.find(&free), None);
    let waits = place.objects.get(&held).unwrap();
    assert!(meta(&waits, "deletionTimestamp").is_some(), "it is still there and worked on");
    assert_eq!(generation(&waits), 2);
    place.objects.delete(&held, &Preconditions::default()).unwrap();
    assert_eq!(place.objects.get(&held).unwrap(), waits, "it is being deleted already");
    place.objects.update(&held, |o| Ok(with(o, "/metadata/finalizers", json!([])))).unwrap();
    assert_eq!(place.objects.find(&held), None);
}

#[test]
fn changes_are_told_in_order_and_other_objects_rest() {
    let place = place();
    place.objects.work_on([key(Kind::FhirExport, "one")]);
    let (one, made) = created(&place.objects, "one");
    created(&place.objects, "other");
    let (version, listed) = place.objects.list(Kind::FhirExport, Some("default"));
    assert_eq!((version, listed), (2, vec![made]));
    place.objects.write_status(&one, None, json!({ "state": "Running" })).unwrap();
    place.objects.delete(&one, &Preconditions::default()).unwrap();
    let (version, changes) = place.objects.changes(Kind::FhirExport, None, 2).unwrap();
    let types: Vec<ChangeType> = changes.iter().map(|change| change.type_).collect();
    assert_eq!((version, types), (4, vec![ChangeType::Modified, ChangeType::Deleted]));
    assert!(place.objects.changes(Kind::FhirServer, None, 0).unwrap().1.is_empty());
    assert!(matches!(place.objects.get(&key(Kind::FhirExport, "other")), Err(Refusal::NotFound(_))));
}

#[test]
fn everything_is_there_after_a_crash_and_older_versions_are_told_to_list_again() {
    let Place { folder, objects } = place();
    let (key, _) = created(&objects, "one");
    let written = objects.write_status(&key, None, json!({ "state": "Running" })).unwrap();
    // What a process that is killed leaves behind is the file and no lock.
    drop(objects);
    let objects = open(&folder);
    assert_eq!(objects.find(&key), Some(written));
    assert_eq!(objects.changes(Kind::FhirExport, None, 1).err(), Some(Refusal::Expired(1)));
    let (_, next) = created(&objects, "two");
    assert_eq!(meta(&next, "resourceVersion"), Some("3"), "versions go on");
}

#[test]
fn a_change_that_cannot_be_stored_has_not_happened() {
    let Place { folder, objects } = place();
    let (key, made) = created(&objects, "one");
    // The new document cannot be written where a directory lies.
    std::fs::create_dir(folder.path().join("state.json.new")).unwrap();
    let refused = objects.write_status(&key, None, json!({ "state": "Starting" }));
    assert!(matches!(refused, Err(Refusal::NotWritten(_))), "{refused:?}");
    assert_eq!(objects.find(&key), Some(made));
    assert_eq!(objects.changes(Kind::FhirExport, None, 1).unwrap().1.len(), 0);
}
