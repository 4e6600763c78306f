//! Which folders of a schedule are kept, and what is known of those that its runs made.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Delete the folders of old runs. A chain is a full run that succeeded and the incremental runs on it; without
/// `incremental` each run that succeeded is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many chains are kept, the newest one included. What is older is deleted, with the folders of failed runs and
    /// attempts between, when a newer full run has succeeded. Only folders of runs that end while this is set.
    #[schemars(range(min = 1, max = 1000))]
    pub full_chains: i32,
}

/// The folders that runs of a schedule made while `spec.retention` was set, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionStatus {
    /// Chains, and failed runs between them, oldest first. What is not among them is never deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub chains: Vec<RetainedChain>,
    /// The folder that is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<DeletingFolder>,
    /// When a deletion that failed is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_time: Option<Timestamp>,
    /// The folder that was deleted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_deleted: Option<DeletedFolder>,
    /// The folder that retention let go of last: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_kept: Option<KeptFolder>,
}

/// The folders of one chain, or of runs that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetainedChain {
    /// What the chain is called in the label `fhirexport.dev/chain` of its runs; without `incremental` the end of the
    /// run's name.
    pub id: String,
    /// Whether it begins with a full run that succeeded.
    pub full: bool,
    /// The blob container.
    pub container: String,
    /// A hash of the FhirServer (its uid) and its blob endpoint: in another account nothing is deleted.
    pub storage: String,
    /// The folders, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub folders: Vec<RunFolder>,
}

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RunFolder {
    /// Its name.
    pub folder: String,
    /// How the SHA-256 of its manifest.json begins; absent for a run or an attempt that stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// A folder that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeletingFolder {
    /// The blob container.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// Files deleted so far.
    pub files: i64,
}

/// A folder that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeletedFolder {
    /// The blob container.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// The chain that it was of.
    pub chain: String,
    /// Files that were deleted.
    pub files: i64,
    /// When.
    pub time: Timestamp,
}

/// A folder that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct KeptFolder {
    /// The blob container.
    pub container: String,
    /// The folder.
    pub folder: String,
    /// Why it stays.
    pub why: String,
    /// Since when.
    pub time: Timestamp,
}
