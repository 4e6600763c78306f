//! The object of an upload, and the files that it writes to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::place::{Place, components};
use super::side::{self, Names, Progress, UPLOADS};
use super::{Folder, failure};
use crate::core::landing::Checkpoint;
use crate::core::ledger::StorageFailure;

/// An object of a store, by container and key.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) storage: Folder,
    pub(super) container: String,
    pub(super) key: String,
}

/// The open files of an upload.
pub(super) struct Open {
    /// The directory of the object.
    pub(super) place: Place,
    /// The directory of the files of uploads.
    pub(super) uploads: Place,
    /// The part file, locked until it is closed.
    pub(super) file: File,
    pub(super) names: Names,
    /// The number of bytes so far, before compression.
    pub(super) plain: u64,
    /// The number of bytes so far in the part file.
    pub(super) stored: u64,
}

impl Object {
    /// A failure of a file operation for this object.
    pub(super) fn failure(&self, error: &io::Error) -> StorageFailure {
        failure::of(&format!("{}/{}", self.container, self.key), error)
    }

    /// The last component of the key.
    pub(super) fn name(&self) -> Result<&str, StorageFailure> {
        components(&self.key).map(|(_, name)| name)
    }

    /// The directory of the object; `None` if it does not exist.
    pub(super) fn place(&self) -> Result<Option<Place>, StorageFailure> {
        let (directories, _) = components(&self.key)?;
        let mut place = self.storage.container(&self.container)?;
        for directory in directories {
            place = match place.enter(directory) {
                Ok(place) => place,
                Err(error) if failure::is_missing(&error) => return Ok(None),
                Err(error) => return Err(self.failure(&error)),
            };
        }
        Ok(Some(place))
    }

    /// The directory of the object, created if it does not exist. The container must exist.
    pub(super) fn place_made(&self) -> Result<Place, StorageFailure> {
        let (directories, _) = components(&self.key)?;
        let mut place = self.storage.container(&self.container)?;
        for directory in directories {
            place = place.enter_or_make(directory).map_err(|error| self.failure(&error))?;
        }
        Ok(place)
    }

    /// Makes the entries of all directories on the way to the object durable: a process that created one may have ended
    /// before it did.
    pub(super) fn sync_way(&self) -> Result<(), StorageFailure> {
        let (directories, _) = components(&self.key)?;
        self.storage.root.sync()?;
        let mut place = self.storage.container(&self.container)?;
        let failure = |error: io::Error| self.failure(&error);
        place.sync().map_err(failure)?;
        for directory in directories {
            place = place.enter(directory).map_err(failure)?;
            place.sync().map_err(failure)?;
        }
        Ok(())
    }

    /// Opens the files of a new upload.
    pub(super) fn open(&self) -> Result<Open, StorageFailure> {
        let place = self.place_made()?;
        let names = Names::fresh(self.name()?);
        let open = || {
            let uploads = place.enter_or_make(UPLOADS)?;
            let file = uploads.make(&names.part)?;
            // If the file system does not support locks, no other process can resume the upload, and none tries to.
            let _ = file.try_lock();
            Ok((uploads, file))
        };
        let (uploads, file) = open().map_err(|error: io::Error| self.failure(&error))?;
        Ok(Open { place, uploads, file, names, plain: 0, stored: 0 })
    }
}

impl Open {
    /// Appends bytes to the part file and makes them durable.
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<()> {
        self.file.write_all_at(body, self.stored)?;
        self.stored += body.len() as u64;
        self.file.set_len(self.stored)?;
        self.file.sync_data()
    }

    /// Publishes the checkpoint after the bytes so far, atomically.
    pub(super) fn note(&self, after: &Checkpoint) -> io::Result<()> {
        let progress = serde_json::to_vec(&Progress::new(self.stored, after))?;
        side::draft(&self.uploads, &self.names.draft, &progress)?;
        self.uploads.rename(&self.names.draft, &self.names.checkpoint)
    }
}

/// Opens and locks a part file; `None` if its process is alive, the file is gone, or locks are not supported.
pub(super) fn claim(uploads: &Place, part: &str) -> io::Result<Option<File>> {
    match uploads.write(part) {
        Ok(file) => Ok(file.try_lock().is_ok().then_some(file)),
        Err(error) if failure::is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
