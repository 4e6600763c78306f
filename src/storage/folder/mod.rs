//! A folder of the file system as a store: `<root>/<container>/<key>`. The root is the same for all `FhirServer`s, or
//! each names a folder of a volume.
//!
//! Besides the objects there are hidden files, which no listing shows: `.<name>.marks` beside an object, and
//! in `.uploads` beside the objects the parts and checkpoints of uncommitted uploads. Nothing is reported as
//! stored before it is durable: a checkpoint covers bytes that are synced, and a commit syncs the object, its
//! marks and their directory.

mod blocking;
mod commit;
mod delete;
mod failure;
mod listing;
mod open;
mod place;
mod port;
mod reading;
mod root;
mod side;
mod upload;

use std::path::Path;
use std::sync::Arc;

pub use upload::FolderUpload;

use place::{Place, container_name};
use root::{Root, Roots};

use crate::api::FhirServer;
use crate::core::ledger::StorageFailure;
use crate::core::volume::VolumeGrants;
use crate::ports::Tenure;

/// The size of a part in bytes, before compression.
const PART_SIZE: usize = 4 << 20;

/// Folders of the file system as stores. The directories of a folder are the containers.
#[derive(Clone, Debug)]
pub struct FolderStorage {
    roots: Roots,
    part_size: usize,
    tenure: Tenure,
}

/// The folder of one `FhirServer`.
#[derive(Clone, Debug)]
struct Folder {
    root: Arc<Root>,
    part_size: usize,
    tenure: Tenure,
}

impl FolderStorage {
    /// A store below `root`, which must exist.
    pub fn new(root: &Path) -> Self {
        Self::within(Tenure::default(), root)
    }

    /// Like [`new`](Self::new), for a process that may write only during `tenure`.
    pub fn within(tenure: Tenure, root: &Path) -> Self {
        Self { roots: Roots::one(root), part_size: PART_SIZE, tenure }
    }

    /// The volumes below `directory`, for a process that may write only during `tenure`: each in a directory with the
    /// name of its claim. A `FhirServer` uses the folder in its `storage.volume`, if `grants` admit its namespace.
    pub fn of_volumes(tenure: Tenure, directory: &Path, grants: VolumeGrants) -> Self {
        Self { roots: Roots::volumes(directory, grants), part_size: PART_SIZE, tenure }
    }

    /// Cuts parts of `words` times 64 bytes instead of 4 MiB.
    #[must_use]
    pub fn with_part_size(mut self, words: usize) -> Self {
        self.part_size = words.max(1).saturating_mul(64);
        self
    }

    /// The folder of a `FhirServer`. Every use of it fails if the `FhirServer` may use none.
    fn of(&self, server: &FhirServer) -> Folder {
        let (part_size, tenure) = (self.part_size, self.tenure.clone());
        Folder { root: self.roots.of(server), part_size, tenure }
    }
}

impl Folder {
    /// Opens the directory of a container.
    fn container(&self, name: &str) -> Result<Place, StorageFailure> {
        container_name(name)?;
        match self.root.open()?.enter(name) {
            Ok(place) => Ok(place),
            Err(error) if failure::is_missing(&error) => Err(failure::no_container(name)),
            Err(error) => Err(failure::of(&format!("the directory {name}"), &error)),
        }
    }
}
