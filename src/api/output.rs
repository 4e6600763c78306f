//! What a run left in storage and what was checked of it, as the status of a `FhirExport` records it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What lies where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The blob container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in it; absent when the files lie at its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The manifest that the operator stored beside the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<StoredManifest>,
    /// Number of NDJSON files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Number of resources, as the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes of all files, where the container could be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Files that name deleted resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_files: Option<i64>,
    /// Error files of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_files: Option<i64>,
    /// Issues in them; of files that the operator landed, only errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_issues: Option<i64>,
    /// What was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// One entry a resource type, at most 60; the full manifest lies in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub types: Vec<TypeOutput>,
}

/// The stored manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct StoredManifest {
    /// Its path in the container.
    pub path: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The result of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckResult {
    /// It was checked and is right.
    Passed,
    /// It was checked and is wrong.
    Failed,
    /// It could not be checked, or only in part.
    #[default]
    Unknown,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// Every file of the manifest is in the container.
    pub files: CheckResult,
    /// The files hold as many resources as the manifest says.
    pub counts: CheckResult,
    /// Their checksums are those of the manifest.
    pub checksums: CheckResult,
    /// Each requested type was answered.
    pub requested_types: CheckResult,
}

/// The output of one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TypeOutput {
    /// The resource type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Number of files.
    pub files: i64,
    /// Number of resources, where the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes, where the container could be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}
