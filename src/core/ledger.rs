//! What is requested of a store and what was seen in it, as values.

use super::landing::LedgerEntry;
pub use super::storage_failure::{StorageFailure, StorageFailureKind};

/// A folder that may be a job's: `<yyyyMMddTHHmmss>-<job id>`, or a container `export-<job id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFolder {
    /// The container that holds the folder.
    pub container: String,
    /// The folder, without a trailing slash; `None` if the container belongs to the job alone.
    pub folder: Option<String>,
    /// When the job began: the time in the folder's name, else the container's last change.
    pub began: jiff::Timestamp,
    /// The job's id, from the name.
    pub job_id: String,
}

/// What lies in the folder of a landing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The objects that are committed.
    pub landed: Vec<LedgerEntry>,
    /// The keys of objects whose upload was started but not committed.
    pub begun: Vec<String>,
}

/// The files of a job, counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The folder that the files lie in, if there is one.
    pub folder: Option<String>,
    /// Number of NDJSON files.
    pub files: u64,
    /// The bytes of these files.
    pub bytes: u64,
}

/// One file to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The key of the file.
    pub blob: String,
    /// The number of resources that the manifest claims, if it gives one.
    pub count: Option<u64>,
}

/// The files to check, and how much of them to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPlan {
    /// The container.
    pub container: String,
    /// The common prefix of all files, to list by.
    pub prefix: String,
    /// The files to check.
    pub files: Vec<Expected>,
    /// How many bytes may be read back to count lines. Files are read in the order of the plan, each whole or not at
    /// all.
    pub max_bytes: u64,
}

/// What a check saw of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The size in bytes; absent if the file does not exist.
    pub bytes: Option<u64>,
    /// The number of non-empty lines; absent if the file was not read.
    pub lines: Option<u64>,
}

/// A folder to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderPlan {
    /// The container.
    pub container: String,
    /// The folder, without a slash: `<yyyyMMddTHHmmss>-<job id>`.
    pub folder: String,
    /// The beginning of the SHA-256 of the folder's manifest.json; `None` if there must be no manifest.
    pub manifest: Option<String>,
    /// The largest number of files that one call deletes.
    pub at_most: usize,
}

impl FolderPlan {
    /// Whether the folder that was found is the one to delete. `manifest` is the SHA-256 of its manifest,
    /// `files` is whether other files of a run lie there. An empty folder that should have a manifest
    /// matches, too: its manifest was deleted last, and the answer was lost.
    pub fn is_meant(&self, manifest: Option<&str>, files: bool) -> bool {
        match (&self.manifest, manifest) {
            (Some(meant), Some(found)) => !meant.is_empty() && found.starts_with(meant.as_str()),
            (None, None) => true,
            (Some(_), None) => !files,
            (None, Some(_)) => false,
        }
    }
}

/// What became of a folder that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderDeletion {
    /// Files of the run remain.
    Going {
        /// The number of files that this call deleted.
        files: u64,
    },
    /// No file that a run writes remains.
    Done {
        /// The number of files that this call deleted.
        files: u64,
        /// The number of files that no run writes; they stay.
        others: u64,
    },
    /// The folder is not the one to delete: its manifest has changed, is missing, or should not exist.
    /// This call deleted nothing.
    Changed,
}

/// The state of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The check continues beside the reconcile.
    Running {
        /// The number of files read so far.
        files: u64,
    },
    /// The check is done: one entry for each file of the plan, in its order.
    Done(Vec<Checked>),
    /// The check failed.
    Failed(StorageFailure),
    /// The task panicked, which is a defect of the operator.
    Panicked,
}
