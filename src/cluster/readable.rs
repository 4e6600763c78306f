//! Reads objects whose status another version of the operator wrote. Parts that this version does not know
//! are left out and named, and the rest is kept.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::api::{FhirExport, FhirExportSchedule, FhirServer, UNREAD_ANNOTATION};

/// How many parts of a status may be left out. A status with more is not read at all.
const MOST: usize = 64;

/// A kind whose objects can be read in part.
pub(super) trait PartlyRead: Resource {
    /// Adapts an object of whose status only a part was read. Returns whether it must wait for a version of the
    /// operator that can read the rest.
    fn waits(&mut self) -> bool;

    /// The part that could not be read, if the object must wait.
    fn unread(&self) -> Option<&str> {
        Some(self.meta().annotations.as_ref()?.get(UNREAD_ANNOTATION)?)
    }
}

impl PartlyRead for FhirExport {
    /// An end that is read only in part does not count as an end: nobody may delete the object, release its
    /// server or continue its chain before a version that can read all of it has looked.
    fn waits(&mut self) -> bool {
        if let Some(status) = &mut self.status {
            status.completion_time = None;
        }
        true
    }
}

impl PartlyRead for FhirExportSchedule {
    fn waits(&mut self) -> bool {
        true
    }
}

impl PartlyRead for FhirServer {
    /// The status of a server holds only findings, and each version of the operator finds them anew.
    fn waits(&mut self) -> bool {
        false
    }
}

/// An object as a watch receives it. Deserializing fails only where `spec` or `metadata` cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Readable<K>(pub K);

impl<'de, K: DeserializeOwned + PartlyRead> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let mut first: Option<String> = None;
        for _ in 0..MOST {
            let error = match serde_path_to_error::deserialize::<_, K>(&object) {
                Ok(mut read) => {
                    read.annotations_mut().remove(UNREAD_ANNOTATION);
                    if let Some(what) = first.filter(|_| read.waits()) {
                        read.annotations_mut().insert(UNREAD_ANNOTATION.into(), what);
                    }
                    return Ok(Self(read));
                }
                Err(error) => error,
            };
            let (path, cause) = (error.path().to_string(), error.inner().to_string());
            if !remove(&mut object, error.path()) {
                return Err(D::Error::custom(cause));
            }
            first.get_or_insert(format!("{path}: {cause}"));
        }
        Err(D::Error::custom("most of its status cannot be read"))
    }
}

/// Removes from the status the part that `path` leads to. Returns whether there was such a part.
fn remove(object: &mut Value, path: &Path) -> bool {
    let segments: Vec<&Segment> = path.iter().collect();
    if !matches!(segments.first(), Some(Segment::Map { key }) if key == "status") {
        return false;
    }
    let Some((last, before)) = segments.split_last() else { return false };
    let parent = before.iter().try_fold(object, |value, segment| match segment {
        Segment::Map { key } => value.get_mut(key),
        Segment::Seq { index } => value.get_mut(*index),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    });
    match (parent, last) {
        (Some(Value::Object(parent)), Segment::Map { key }) => parent.remove(key).is_some(),
        (Some(Value::Array(parent)), Segment::Seq { index }) if *index < parent.len() => {
            parent.remove(*index);
            true
        }
        _ => false,
    }
}

impl<K: Resource> Resource for Readable<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn export(status: &Value) -> FhirExport {
        let object = json!({
            "metadata": { "name": "one", "namespace": "ns" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } },
            "status": status,
        });
        serde_json::from_value::<Readable<FhirExport>>(object).unwrap().0
    }

    fn full() -> Value {
        json!({
            "state": "Cancelling",
            "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": TIME }],
            "job": { "id": "1187", "statusURL": "https://fhir.example/1187", "intentTime": TIME,
                "destination": { "compression": "Gzip" } },
            "cancellation": { "requestTime": TIME, "reason": "Requested", "tries": 1, "outcome": "Confirmed" },
            "output": { "checks": { "files": "Passed", "counts": "Passed", "checksums": "Passed",
                "requestedTypes": "Passed" } },
            "completionTime": TIME,
        })
    }

    #[test]
    fn a_status_of_this_version_is_read_whole_and_no_stored_annotation_says_otherwise() {
        let mut object = serde_json::to_value(export(&full())).unwrap();
        object["metadata"]["annotations"] = json!({ UNREAD_ANNOTATION: "says who" });
        let read = serde_json::from_value::<Readable<FhirExport>>(object).unwrap().0;
        assert_eq!(read.unread(), None);
        assert!(crate::core::export::is_terminal(&read.status.unwrap()));
    }

    /// Checks each word of a closed list in the status of an export.
    #[test]
    fn an_unknown_word_costs_its_own_part_and_is_named() {
        for path in [
            "/conditions/0/status",
            "/job/destination/compression",
            "/cancellation/reason",
            "/cancellation/outcome",
            "/output/checks/files",
            "/output/checks/requestedTypes",
        ] {
            let mut status = full();
            *status.pointer_mut(path).unwrap() = "OfTomorrow".into();
            let read = export(&status);
            let unread = read.unread().unwrap();
            assert!(unread.contains("OfTomorrow") && unread.starts_with("status."), "{path}: {unread}");
            let status = read.status.unwrap();
            assert_eq!(status.job.as_ref().unwrap().id.as_deref(), Some("1187"), "{path}");
            assert!(
                !crate::core::export::is_terminal(&status),
                "{path}: an end that is read in part is no end"
            );
        }
    }

    #[test]
    fn a_state_of_tomorrow_is_a_word_for_people_only() {
        let mut status = full();
        status["state"] = "OfTomorrow".into();
        let read = export(&status);
        assert_eq!(read.unread(), None);
        assert_eq!(read.status.unwrap().state_word(), Some("Unknown"));
    }

    #[test]
    fn a_schedule_keeps_what_is_known_of_its_chain() {
        let run = json!({ "name": "n-1", "slotTime": TIME, "stage": "OfTomorrow" });
        let pending = json!({ "name": "n-1", "slotTime": TIME, "mode": "OfTomorrow", "chain": "c",
            "fingerprint": "f" });
        let object = json!({
            "metadata": { "name": "nightly", "namespace": "ns" },
            "spec": { "schedule": "0 2 * * *", "template": { "spec":
                { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } } },
            "status": { "active": [run], "chain": { "id": "c", "coveredUntil": "2026-01-01", "pending": pending } },
        });
        let read = serde_json::from_value::<Readable<FhirExportSchedule>>(object).unwrap().0;
        assert!(read.unread().unwrap().contains("OfTomorrow"));
        let status = read.status.unwrap();
        assert_eq!(status.active.len(), 1);
        assert_eq!(status.chain.unwrap().covered_until.as_deref(), Some("2026-01-01"));
    }

    #[test]
    fn a_server_is_found_anew_and_a_spec_is_never_cut() {
        let mut object = json!({
            "metadata": { "name": "clinic" },
            "spec": { "url": "https://x.example.org", "dialect": "Azure", "auth": { "type": "None" } },
            "status": { "conditions": [{ "type": "Ready", "status": "OfTomorrow", "reason": "R", "message": "",
                "lastTransitionTime": TIME }] },
        });
        let read = serde_json::from_value::<Readable<FhirServer>>(object.clone()).unwrap().0;
        assert_eq!(read.unread(), None);
        assert_eq!(read.status.unwrap().conditions.len(), 0);
        object["spec"]["dialect"] = "OfTomorrow".into();
        let refused = serde_json::from_value::<Readable<FhirServer>>(object).unwrap_err().to_string();
        assert!(refused.contains("OfTomorrow"), "{refused}");
    }

    #[test]
    fn a_status_that_is_none_is_left_out_whole() {
        let read = export(&json!("none"));
        assert!(read.unread().is_some() && read.status.is_none());
    }
}
