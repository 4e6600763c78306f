//! Landing: the files of a FHIR Bulk Data server become objects of the container. This module decides, as
//! values, what is to land and under which key, how far a file is, and what a failure to obtain a file means.
//!
//! The container is the ledger (invariant container-is-ledger): a committed object has landed, and its marks
//! say what it is.

mod answer;
mod assignment;
mod checkpoint;
mod form;
mod job;
mod named;
mod outcomes;
mod plan;
mod source;
mod tally;

use serde::{Deserialize, Serialize};

use crate::api::{Compression, Reason};
use crate::core::poll::Bounds;
use crate::core::storage_failure::StorageFailureKind;

pub use answer::{Step, read_answer};
pub use assignment::{ASSIGNMENT_LIMIT, Assignment, Assignments, Exit, assignments};
pub use checkpoint::{Checkpoint, Content};
pub use form::{FileForm, FormReader};
pub use job::{
    ASSIGNMENT_ANNOTATION, JobOrder, JobStands, PodTemplate, RUN_LABEL, SECRET_DIRECTORY, job, job_name,
    stands,
};
pub use named::{Named, named};
pub use outcomes::OutcomeReader;
pub use plan::{LandPlace, lists_a_file_twice, plan};
pub use tally::{Sum, Tally};

/// The files of one attempt that are to land, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LandPlan {
    /// The container; created if it does not exist.
    pub container: String,
    /// The folder of this attempt.
    pub folder: String,
    /// How files are compressed at rest.
    pub compression: Compression,
    /// The files, in the order of the manifest: data, deletions, errors.
    pub files: Vec<LandFile>,
    /// The keys of files that could not be obtained before: they are tried after all others.
    pub last: Vec<String>,
    /// How many files are read at once.
    pub parallel: usize,
    /// Whether each data file holds resources of one type, the one that its name begins with.
    pub typed: bool,
    /// Whether the server wants a token for its files.
    pub with_token: bool,
    /// The shortest and longest waits between tries.
    pub bounds: Bounds,
}

impl LandPlan {
    /// The share of pod `index` among `pods`: every file whose place in the manifest is `index` modulo `pods`. The
    /// shares of all pods are disjoint and together the whole plan, and a pod that replaces another one has its share.
    #[must_use]
    pub fn share(&self, index: usize, pods: usize) -> Self {
        let files = self.files.iter().skip(index).step_by(pods.max(1)).cloned().collect();
        Self { files, ..self.clone() }
    }

    /// The type that the first line of a file must have, if that is known. Only data files have a known type.
    pub fn type_of<'f>(&self, file: &'f LandFile) -> Option<&'f str> {
        (self.typed && file.kind == FileKind::Output).then(|| file.type_name())
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Resources.
    Output,
    /// Bundles that name deleted resources.
    Deleted,
    /// OperationOutcomes.
    Error,
}

/// One file that is to land.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LandFile {
    /// What the file holds.
    pub kind: FileKind,
    /// The absolute URL of the file.
    pub url: String,
    /// The key of the object: a function of the file's type and its place in the manifest.
    pub blob: String,
    /// The identity of the file, independent of any signature in its URL: a SHA-256 in hexadecimal.
    pub source: String,
    /// What the server claims about the file.
    pub claims: Claims,
}

impl LandFile {
    /// Whether the key of the object says that the file is of this type.
    pub fn is_of(&self, type_: &str) -> bool {
        self.type_name() == type_
    }

    /// The type that the key of the object begins with.
    pub fn type_name(&self) -> &str {
        let name = self.blob.rsplit('/').next().unwrap_or_default();
        name.split('-').next().unwrap_or_default()
    }
}

/// What a server claims about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The number of resources in the file.
    pub count: Option<u64>,
    /// The size in bytes, uncompressed.
    pub bytes: Option<u64>,
    /// The SHA-256 of the uncompressed bytes, in hexadecimal.
    pub sha256: Option<String>,
}

/// How many issues of each kind an error file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Issues {
    /// Issues of severity fatal or error, and lines that could not be read.
    pub errors: u64,
    /// Issues of severity warning.
    pub warnings: u64,
    /// Issues of any other severity.
    pub information: u64,
}

/// A file that has landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// Size, line count and hash, computed during the download.
    pub sum: Sum,
    /// What the form of the file shows.
    pub form: FileForm,
    /// The issues in an error file; none in others.
    pub issues: Issues,
    /// The first few texts of an error file, cleaned; empty for others.
    pub words: Vec<String>,
}

/// What the ledger says about a committed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The key of the object.
    pub blob: String,
    /// The marks of the object; `None` if no landing wrote it.
    pub marks: Option<Marks>,
}

/// What a store keeps with a landed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The source of the file, see [`LandFile::source`].
    pub source: String,
    /// Size, line count and hash, computed during the download.
    pub sum: Sum,
    /// What the form of the file shows.
    pub form: FileForm,
    /// The issues in an error file; none in others.
    pub issues: Issues,
}

impl Marks {
    /// Whether two fetches brought the same bytes. Their sources may differ, since some servers make new
    /// links for each manifest; whether the end of the file was marked may differ, too.
    pub fn are_of_the_same_bytes(&self, other: &Self) -> bool {
        self.sum == other.sum && self.issues == other.issues
    }
}

/// The progress of a landing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LandProgress {
    /// Files that have landed.
    pub files: u64,
    /// The number of files that are to land.
    pub of: u64,
    /// The bytes of the files that have landed, before compression.
    pub bytes: u64,
    /// The bytes that this try stored of files that have not landed yet, and that no later try has to fetch again.
    pub kept: u64,
}

/// The state of a landing.
#[derive(Clone, Debug, PartialEq)]
pub enum LandState {
    /// The landing continues beside the reconcile.
    Running(LandProgress),
    /// All files have landed: one entry for each file of the plan, in its order.
    Done(std::sync::Arc<Vec<Landed>>),
    /// The landing cannot continue.
    Failed(LandFailure),
}

/// Why a landing cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandFailure {
    /// The kind of failure, which decides how the run continues.
    pub kind: LandFailureKind,
    /// The reason for a condition.
    pub reason: Reason,
    /// One sentence: the cause and the next step.
    pub message: String,
    /// How far the landing has come.
    pub progress: LandProgress,
    /// The keys of the files that could not be obtained: the next try begins with the others. At most
    /// [`MAX_OBSTRUCTED`].
    pub obstructed: Vec<String>,
}

/// The largest number of files that could not be obtained and are remembered for the next try.
pub const MAX_OBSTRUCTED: usize = 1000;

/// The kinds of failure of a landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandFailureKind {
    /// A link no longer works, or does not work yet: a fresh manifest has fresh links.
    Expired,
    /// The server cannot deliver files at the moment, or cannot be reached.
    Source,
    /// Something in the cluster is missing or wrong and must be repaired.
    Missing,
    /// The store failed in this way.
    Storage(StorageFailureKind),
    /// The task panicked, which is a defect of the operator.
    Panicked,
    /// Trying again does not help: what landed is not what the manifest says now, or a file cannot be obtained.
    Permanent,
}
