//! Landing: the files of a FHIR Bulk Data server become blobs of the container. What is to land and under which
//! name, how far a file is, and what it means that one could not be had are decided here, as values.
//!
//! The container is the ledger: a blob that is committed is landed, and its metadata say what it is.

mod answer;
mod checkpoint;
mod outcomes;
mod plan;
mod source;
mod tally;

use crate::api::{Compression, Reason};
use crate::core::ledger::StorageFailureKind;
use crate::core::poll::Bounds;

pub use answer::{Step, read_answer};
pub use checkpoint::{Checkpoint, Content};
pub use outcomes::OutcomeReader;
pub use plan::{Place, plan};
pub use tally::{Sum, Tally};

/// What is to land.
#[derive(Clone, Debug, PartialEq)]
pub struct LandPlan {
    /// The container; it is made if it is not there.
    pub container: String,
    /// The folder of this attempt.
    pub folder: String,
    /// At rest.
    pub compression: Compression,
    /// The files, in the order of the manifest: data, deletions, errors.
    pub files: Vec<LandFile>,
    /// How many are read at once.
    pub parallel: usize,
    /// Whether the server wants a token for its files.
    pub with_token: bool,
    /// How long to wait between tries.
    pub bounds: Bounds,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Resources.
    Output,
    /// Bundles that name deleted resources.
    Deleted,
    /// OperationOutcomes.
    Error,
}

/// One file that is to land.
#[derive(Clone, Debug, PartialEq)]
pub struct LandFile {
    /// What it holds.
    pub kind: FileKind,
    /// Where it is, absolute.
    pub url: String,
    /// The blob's name: a function of type and place in the manifest.
    pub blob: String,
    /// What the file is known by, whatever signature its URL carries: a hash.
    pub source: String,
    /// What the server says of it.
    pub claims: Claims,
}

impl LandFile {
    /// Whether it is of this type, by its name.
    pub fn is_of(&self, type_: &str) -> bool {
        let name = self.blob.rsplit('/').next().unwrap_or_default();
        name.split('-').next() == Some(type_)
    }
}

/// What a server says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Resources in it.
    pub count: Option<u64>,
    /// Bytes of it, uncompressed.
    pub bytes: Option<u64>,
    /// Its SHA-256, in hexadecimal.
    pub sha256: Option<String>,
}

/// How many issues of each kind an error file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Issues {
    /// Fatal ones, errors, and what could not be read.
    pub errors: u64,
    /// Warnings.
    pub warnings: u64,
    /// All others.
    pub information: u64,
}

/// A file that has landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// What was computed on the way.
    pub sum: Sum,
    /// Of error files.
    pub issues: Issues,
    /// Of error files: the first few texts, cleaned.
    pub words: Vec<String>,
}

/// What the ledger says of a committed blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The blob's name.
    pub blob: String,
    /// What it was made of; absent for a blob that is not of a landing.
    pub marks: Option<Marks>,
}

/// What the metadata of a landed blob say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// See [`LandFile::source`].
    pub source: String,
    /// What was computed on the way.
    pub sum: Sum,
    /// Of error files.
    pub issues: Issues,
}

/// How far a landing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LandProgress {
    /// Files that have landed.
    pub files: u64,
    /// Of so many.
    pub of: u64,
    /// Bytes of those that have landed.
    pub bytes: u64,
}

/// A landing, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Landing {
    /// It goes on beside the reconcile.
    Running(LandProgress),
    /// All files have landed: one entry for each file of the plan, in its order.
    Done(std::sync::Arc<Vec<Landed>>),
    /// It cannot go on as it is.
    Failed(LandFailure),
}

/// Why a landing cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandFailure {
    /// What kind of failure this is to the run.
    pub kind: LandFailureKind,
    /// One word.
    pub reason: Reason,
    /// One sentence: the cause and the next step.
    pub message: String,
    /// How far it came.
    pub progress: LandProgress,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandFailureKind {
    /// A link is not good any more, or not yet: the manifest has fresh ones.
    Expired,
    /// The server, or the way to it, is ill for the moment.
    Source,
    /// Something in the cluster is missing or wrong: somebody repairs it.
    Missing,
    /// The storage account.
    Storage(StorageFailureKind),
    /// For good: what landed is not what the manifest now says, or a file cannot be had.
    Permanent,
}
