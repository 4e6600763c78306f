//! The files of a run in storage and the checks of them, as the status of a `FhirExport` records them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The files of the export: where they are, how many there are, and what the operator checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in the container. Absent when the files are at its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The manifest that the operator stored beside the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<StoredManifest>,
    /// Number of data files (`output` in the manifest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Number of resources in the data files, as the server states it or, with dialect BulkData, as the operator
    /// counted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes of the data files. Absent if the operator could not list the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Number of files that name deleted resources (`deleted` in the manifest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_files: Option<i64>,
    /// Number of the server's error files (`error` in the manifest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_files: Option<i64>,
    /// Number of issues in the error files. With dialect BulkData, warnings and information do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_issues: Option<i64>,
    /// The results of the operator's checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// One entry per resource type, at most 60. The manifest in the container is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub types: Vec<TypeOutput>,
}

/// A manifest that the operator stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct StoredManifest {
    /// Path of the manifest in the container.
    pub path: String,
    /// SHA-256 of the manifest, in hexadecimal.
    pub sha256: String,
}

/// The result of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckResult {
    /// The check found no fault.
    Passed,
    /// The check found a fault.
    Failed,
    /// The operator could not check it, or only in part.
    #[default]
    Unknown,
}

/// The results of the operator's checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// Whether every file of the manifest is in the container.
    pub files: CheckResult,
    /// Whether the files hold as many resources as the manifest says.
    pub counts: CheckResult,
    /// Whether the files have the checksums or lengths that the server states.
    pub checksums: CheckResult,
    /// Whether there is data of each requested type, or the server has none of it.
    pub requested_types: CheckResult,
}

/// The output of one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TypeOutput {
    /// The resource type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Number of data files of this type.
    pub files: i64,
    /// Number of resources of this type. Absent if nobody counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<i64>,
    /// Bytes of the data files of this type. Absent if the operator could not list the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}
