//! How many runs of a schedule keep their folders, and what the operator knows about these folders.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Deletes the folders of old runs. A chain is a full run that succeeded, together with the incremental runs
/// that build on it; without `incremental`, each run that succeeded is a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many chains to keep, the current one included. When a full run succeeds, the operator deletes the
    /// folders of older chains, and of the failed runs and attempts between them; it deletes only folders of
    /// runs that ended while this field was set. Keep 2 or more, so that loaders of the files have time to
    /// finish.
    #[schemars(range(min = 1, max = 1000))]
    pub full_chains: i32,
}

/// The folders that runs of a schedule wrote while `spec.retention` was set, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionStatus {
    /// Chains and the failed runs between them, oldest first. The operator never deletes a folder that is not
    /// listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub chains: Vec<RetainedChain>,
    /// The folder that the operator is deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<DeletingFolder>,
    /// When the operator retries a deletion that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_time: Option<Timestamp>,
    /// The folder that the operator deleted most recently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_deleted: Option<DeletedFolder>,
    /// The folder that retention gave up most recently: the operator will not delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_kept: Option<KeptFolder>,
}

/// The folders of one chain, or of runs that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetainedChain {
    /// The value of the label `fhirexport.dev/chain` of the chain's runs; without `incremental`, the last part of
    /// the run's name.
    pub id: String,
    /// Whether the chain begins with a full run that succeeded.
    pub full: bool,
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store.
    pub container: String,
    /// A hash of the FhirServer's uid and its storage, so that the operator deletes nothing in another storage
    /// account or volume.
    pub storage: String,
    /// The folders, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub folders: Vec<RunFolder>,
}

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RunFolder {
    /// The name of the folder.
    pub folder: String,
    /// The first digits of the SHA-256 of the folder's manifest.json; absent if the run or attempt stored
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// A folder that the operator is deleting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeletingFolder {
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// How many files were deleted so far.
    pub files: i64,
}

/// A folder that the operator deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeletedFolder {
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// The chain that the folder belonged to.
    pub chain: String,
    /// How many files were deleted.
    pub files: i64,
    /// When the deletion was complete.
    pub time: Timestamp,
}

/// A folder that the operator does not delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct KeptFolder {
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// Why the operator does not delete the folder.
    pub why: String,
    /// When the operator gave the folder up.
    pub time: Timestamp,
}
