//! What an API server keeps in `metadata`: identity, versions, generation, deletion.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Members of `metadata` that a request never changes.
const KEPT: [&str; 6] = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation"];

/// The text at a member of `metadata`.
pub fn meta<'o>(object: &'o Value, member: &str) -> Option<&'o str> {
    object.get("metadata")?.get(member)?.as_str()
}

/// The uids of the owners of an object.
pub fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    references.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str())
}

/// Whether an object is being deleted and no finalizer holds it any more.
pub fn is_released(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    meta(object, "deletionTimestamp").is_some() && finalizers.is_none_or(Vec::is_empty)
}

/// A new object as it is stored: with an identity and without a status of its own.
pub fn born(mut object: Value, uid: &str, now: Timestamp) -> Value {
    set(&mut object, "uid", json!(uid));
    set(&mut object, "creationTimestamp", json!(seconds(now)));
    set(&mut object, "generation", json!(1));
    if let Some(members) = object.as_object_mut() {
        // As the definitions have it: kstatus compares this with the generation.
        members.insert("status".into(), json!({ "observedGeneration": -1 }));
    }
    object
}

/// What is stored when a request turns `old` into `wanted`: identity and status stay, and another `spec` begins a new
/// generation.
pub fn changed(old: &Value, mut wanted: Value) -> Value {
    for member in KEPT {
        match old.get("metadata").and_then(|metadata| metadata.get(member)) {
            Some(value) => set(&mut wanted, member, value.clone()),
            None => unset(&mut wanted, member),
        }
    }
    if let Some(members) = wanted.as_object_mut() {
        for member in ["apiVersion", "kind", "status"] {
            if let Some(value) = old.get(member) {
                members.insert(member.into(), value.clone());
            }
        }
    }
    if wanted.get("spec") != old.get("spec") {
        advance(&mut wanted);
    }
    wanted
}

/// `old` with another status.
pub fn with_status(old: &Value, status: Value) -> Value {
    let mut new = old.clone();
    if let Some(members) = new.as_object_mut() {
        members.insert("status".into(), status);
    }
    new
}

/// `old`, marked as being deleted.
pub fn deleted(old: &Value, now: Timestamp) -> Value {
    let mut new = old.clone();
    if meta(old, "deletionTimestamp").is_none() {
        set(&mut new, "deletionTimestamp", json!(seconds(now)));
        set(&mut new, "deletionGracePeriodSeconds", json!(0));
        advance(&mut new);
    }
    new
}

/// Sets the version of an object.
pub fn set_version(object: &mut Value, version: u64) {
    set(object, "resourceVersion", json!(version.to_string()));
}

/// Whether two objects differ in more than their version.
pub fn differ(one: &Value, other: &Value) -> bool {
    let plain = |object: &Value| {
        let mut object = object.clone();
        unset(&mut object, "resourceVersion");
        object
    };
    plain(one) != plain(other)
}

fn advance(object: &mut Value) {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    set(object, "generation", json!(generation.saturating_add(1)));
}

fn set(object: &mut Value, member: &str, value: Value) {
    let Some(members) = object.as_object_mut() else { return };
    let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert(member.to_owned(), value);
    }
}

fn unset(object: &mut Value, member: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(member);
    }
}

/// A time as Kubernetes writes it in `metadata`, in whole seconds.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
