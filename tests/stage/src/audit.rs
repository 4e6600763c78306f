use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::Result;
use crate::error::at;

/// Every finished request, without bodies: who did what to which object, and
/// whether they were allowed to.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [{ "level": "Metadata" }]
}
"#;

/// What the API server says that it was asked.
#[derive(Debug, Clone)]
pub struct AuditLog(PathBuf);

/// One finished request. A watch is finished when it is closed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When the API server got it.
    pub received: Timestamp,
    /// Who asked.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`...
    pub verb: String,
    /// The path and the query.
    pub uri: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource, in the plural; empty where it was about no object.
    pub resource: String,
    /// `status` or the like; empty where it was about the object itself.
    pub subresource: String,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// The object's name; empty for a list.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// `allow` or `forbid`; empty where it was answered without being asked.
    pub decision: String,
    /// Which rule allowed it.
    pub reason: String,
    /// What the client calls itself.
    pub user_agent: String,
}

impl AuditEntry {
    /// Whether it was to change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether RBAC refused it.
    pub fn is_refused(&self) -> bool {
        self.code == 403 || self.decision == "forbid"
    }

    /// Whether it was about this object or a subresource of it.
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource && self.namespace == namespace && self.name == name
    }
}

impl AuditLog {
    /// The log in this file.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All requests until now, the oldest first.
    ///
    /// The API server writes an entry before it ends the answer, so a request
    /// of which the caller has the whole answer may be taken to be there soon,
    /// not at once: wait for it.
    pub fn entries(&self) -> Result<Vec<AuditEntry>> {
        let text = std::fs::read_to_string(&self.0).map_err(at("reading", &self.0))?;
        text.split_inclusive('\n')
            // The last line may be half written.
            .filter(|line| line.ends_with('\n'))
            .map(|line| Ok(serde_json::from_str::<Raw>(line)?.into()))
            .collect()
    }

    /// The requests of one user.
    pub fn entries_of(&self, user: &str) -> Result<Vec<AuditEntry>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.user == user);
        Ok(entries)
    }

    /// The requests of one user that RBAC refused.
    pub fn refused(&self, user: &str) -> Result<Vec<AuditEntry>> {
        let mut entries = self.entries_of(user)?;
        entries.retain(AuditEntry::is_refused);
        Ok(entries)
    }

    /// The writes of an object and its subresources, whoever made them.
    pub fn writes(&self, resource: &str, namespace: &str, name: &str) -> Result<Vec<AuditEntry>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.is_write() && entry.is_about(resource, namespace, name));
        Ok(entries)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    request_received_timestamp: Timestamp,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    user_agent: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/decision")]
    decision: String,
    #[serde(rename = "authorization.k8s.io/reason")]
    reason: String,
}

impl From<Raw> for AuditEntry {
    fn from(raw: Raw) -> Self {
        Self {
            received: raw.request_received_timestamp,
            user: raw.user.username,
            verb: raw.verb,
            uri: raw.request_uri,
            group: raw.object_ref.api_group,
            resource: raw.object_ref.resource,
            subresource: raw.object_ref.subresource,
            namespace: raw.object_ref.namespace,
            name: raw.object_ref.name,
            code: raw.response_status.code,
            decision: raw.annotations.decision,
            reason: raw.annotations.reason,
            user_agent: raw.user_agent,
        }
    }
}
