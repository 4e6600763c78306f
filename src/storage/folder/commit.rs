//! The commit of an upload, which never overwrites an object and never stays half done.
//!
//! A commit links the marks first and the object second; a link fails if the name is taken. The upload that links its
//! marks has won, and the marks name the part file that becomes the object. Another writer that finds marks without an
//! object links that part file itself, which completes the winner's commit whether the winner is slow or dead.

use std::io;

use super::failure;
use super::open::{Object, Open, claim};
use super::place::Place;
use super::side::{self, Names, Record, marks_of};
use crate::core::landing::Marks;
use crate::core::ledger::StorageFailure;
use crate::ports::Committed;

/// An upload whose part file is whole and durable, with its marks in the draft.
pub(super) struct Sealed(Open);

impl Sealed {
    pub(super) fn new(open: Open, marks: &Marks) -> io::Result<Self> {
        open.file.sync_all()?;
        let record = serde_json::to_vec(&Record::new(&open.names.id, open.stored, marks))?;
        side::draft(&open.uploads, &open.names.draft, &record)?;
        open.uploads.sync()?;
        Ok(Self(open))
    }

    /// Creates the object of this upload, unless one exists.
    pub(super) fn publish(&self, object: &Object) -> Result<Committed, StorageFailure> {
        let Open { place, uploads, file, names, .. } = &self.0;
        let name = object.name()?;
        let failure = |error: io::Error| object.failure(&error);
        if place.stat(name).map_err(failure)?.is_some() {
            return Ok(Committed::AlreadyThere);
        }
        let marks = marks_of(name);
        match uploads.link(&names.draft, place, &marks) {
            Ok(()) => place.sync().map_err(failure)?,
            Err(error) if failure::is_there(&error) => {
                return finish_other(object, place, uploads, name);
            }
            Err(error) => return Err(failure(error)),
        }
        match uploads.link(&names.part, place, name) {
            Ok(()) => {}
            Err(error) if failure::is_there(&error) => {
                let there = place.stat(name).map_err(failure)?;
                let ours = rustix::fs::fstat(file).map_err(|error| failure(error.into()))?;
                if there.is_none_or(|there| (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)) {
                    // The file there does not come from a landing, so these marks do not belong to it.
                    place.remove(&marks).map_err(failure)?;
                    return Ok(Committed::AlreadyThere);
                }
            }
            Err(error) => return Err(failure(error)),
        }
        place.sync().map_err(failure)?;
        Ok(Committed::Now)
    }

    /// Removes what the upload no longer needs, and what dead uploads of the same object left behind.
    pub(super) fn tidy(self, name: &str) -> io::Result<()> {
        forget(&self.0.uploads, &self.0.names)?;
        for entry in self.0.uploads.list()? {
            let Some(id) = side::id_of_part(name, &entry.name) else { continue };
            if let Some(_claimed) = claim(&self.0.uploads, &entry.name)? {
                forget(&self.0.uploads, &Names::of(name, id))?;
            }
        }
        Ok(())
    }
}

/// Completes the commit of another upload, which linked its marks first.
fn finish_other(
    object: &Object,
    place: &Place,
    uploads: &Place,
    name: &str,
) -> Result<Committed, StorageFailure> {
    let failure = |error: io::Error| object.failure(&error);
    let record: Option<Record> = side::read(place, &marks_of(name)).map_err(failure)?;
    let part = record.map(|record| Names::of(name, &record.upload).part);
    let linked = part.map_or(Err(io::ErrorKind::NotFound.into()), |part| uploads.link(&part, place, name));
    match linked {
        Ok(()) => place.sync().map_err(failure)?,
        Err(error) if failure::is_there(&error) => {}
        // The winner removes its part file after it has linked the object.
        Err(error) if failure::is_missing(&error) => {
            if place.stat(name).map_err(failure)?.is_none() {
                return Err(StorageFailure::permanent(format!(
                    "{}/{} was removed, and its marks were left: remove the file {} too",
                    object.container,
                    object.key,
                    marks_of(name)
                )));
            }
        }
        Err(error) => return Err(failure(error)),
    }
    Ok(Committed::AlreadyThere)
}

/// Whether an upload of an object has linked its marks.
pub(super) fn is_recorded(place: &Place, name: &str) -> io::Result<bool> {
    Ok(place.stat(&marks_of(name))?.is_some())
}

/// Removes the files of an upload: the checkpoint first, so that no process continues from a part file that is gone.
pub(super) fn forget(uploads: &Place, names: &Names) -> io::Result<()> {
    for file in [&names.checkpoint, &names.draft, &names.part] {
        uploads.remove(file)?;
    }
    Ok(())
}
