//! A folder of the file system as a store: `<root>/<container>/<key>`.
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
mod side;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use upload::FolderUpload;

use place::{Place, container_name};

use crate::core::ledger::StorageFailure;
use crate::ports::Tenure;

/// The size of a part in bytes, before compression.
const PART_SIZE: usize = 4 << 20;

/// A folder of the file system, shared by all `FhirServer`s. Its directories are the containers.
#[derive(Clone, Debug)]
pub struct FolderStorage {
    root: Arc<PathBuf>,
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
        Self { root: Arc::new(root.to_owned()), part_size: PART_SIZE, tenure }
    }

    /// Cuts parts of `words` times 64 bytes instead of 4 MiB.
    #[must_use]
    pub fn with_part_size(mut self, words: usize) -> Self {
        self.part_size = words.max(1).saturating_mul(64);
        self
    }

    fn root(&self) -> Result<Place, StorageFailure> {
        Place::root(&self.root).map_err(|error| {
            let root = self.root.display();
            if failure::is_missing(&error) {
                return StorageFailure::permanent(format!(
                    "the directory {root} of the store does not exist: create it"
                ));
            }
            failure::of(&format!("the directory {root} of the store"), &error)
        })
    }

    /// Opens the directory of a container.
    fn container(&self, name: &str) -> Result<Place, StorageFailure> {
        container_name(name)?;
        match self.root()?.enter(name) {
            Ok(place) => Ok(place),
            Err(error) if failure::is_missing(&error) => Err(failure::no_container(name)),
            Err(error) => Err(failure::of(&format!("the directory {name}"), &error)),
        }
    }
}
