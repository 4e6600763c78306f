//! The forms in which the operator and people send changes.

use axum::http::{HeaderMap, header};
use serde_json::Value;

use crate::local::objects::meta;
use crate::local::refusal::Refusal;

/// A change of an object, except for its status.
pub enum Change {
    /// Operations one after the other (RFC 6902).
    Json(json_patch::Patch),
    /// An object that is merged in (RFC 7386).
    Merge(Value),
}

impl Change {
    /// Reads a change by its content type.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let type_ = content_type(headers);
        match type_ {
            "application/json-patch+json" => serde_json::from_slice(body).map(Self::Json).map_err(unreadable),
            "application/merge-patch+json" => {
                serde_json::from_slice(body).map(Self::Merge).map_err(unreadable)
            }
            other => Err(Refusal::BadRequest(format!("a change of type {other:?} is not supported"))),
        }
    }

    /// Makes the change.
    pub fn apply(&self, mut object: Value) -> Result<Value, Refusal> {
        match self {
            Self::Json(operations) => {
                json_patch::patch(&mut object, operations).map_err(|e| Refusal::Invalid(e.to_string()))?;
            }
            Self::Merge(change) => json_patch::merge(&mut object, change),
        }
        Ok(object)
    }
}

/// A status by server-side apply. The operator is the only one who writes it, so it replaces the whole status.
pub struct AppliedStatus {
    /// The version of the object that the status was decided on.
    pub version: Option<String>,
    /// The status.
    pub status: Value,
}

impl AppliedStatus {
    /// Reads the body of an apply, which must hold a status.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let type_ = content_type(headers);
        if type_ != "application/apply-patch+yaml" {
            return Err(Refusal::BadRequest(format!("a status of type {type_:?} is not supported")));
        }
        let mut object: Value = serde_json::from_slice(body).map_err(unreadable)?;
        let status = object.get_mut("status").map(Value::take);
        let status = status.ok_or_else(|| Refusal::BadRequest("there is no status".into()))?;
        Ok(Self { version: meta(&object, "resourceVersion").map(str::to_owned), status })
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn unreadable(error: serde_json::Error) -> Refusal {
    Refusal::BadRequest(format!("the body cannot be read: {error}"))
}
