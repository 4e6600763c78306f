//! Deletes the folder of a run: only files that a run writes, only if it is the folder that the plan
//! means, and the manifest last.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::listing::{objects, walk};
use super::place::Place;
use super::side::{self, UPLOADS, marks_of};
use super::{Folder, failure};
use crate::core::folder;
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure};
use crate::core::manifest::hex;

/// What lies in a folder.
#[derive(Default)]
struct Content {
    /// Files of a run except its manifest, by directory below the folder and name; no more than requested.
    files: Vec<(String, String)>,
    /// Whether there are more such files.
    more: bool,
    /// Directories below the folder, the deepest first. The last is the folder itself, with an empty path.
    directories: Vec<String>,
    /// Files that no run writes.
    others: u64,
}

impl Folder {
    /// See [`ObjectStore::delete_folder`](crate::ports::ObjectStore::delete_folder).
    pub(super) fn delete(&self, plan: &FolderPlan) -> Result<FolderDeletion, StorageFailure> {
        // Whatever a status may say, only the folder of a run is deleted.
        if folder::parse(&plan.folder).is_none() || !folder::is_container(&plan.container) {
            return Err(StorageFailure::permanent(format!("{} is not the folder of a run", plan.folder)));
        }
        let failure = |error: io::Error| failure::of(&format!("{}/{}", plan.container, plan.folder), &error);
        let Some(place) = self.folder(&plan.container, &plan.folder)? else {
            let nothing = Content::default();
            let meant = plan.is_meant(None, !nothing.files.is_empty());
            let done = FolderDeletion::Done { files: 0, others: 0 };
            return Ok(if meant { done } else { FolderDeletion::Changed });
        };
        let manifest = manifest(&place).map_err(failure)?;
        let content = content(&place, plan).map_err(failure)?;
        if !plan.is_meant(manifest.as_deref(), !content.files.is_empty()) {
            return Ok(FolderDeletion::Changed);
        }
        let mut files = 0;
        for (directory, name) in &content.files {
            self.tenure.look();
            match remove(&place, directory, name) {
                Ok(was_there) => files += u64::from(was_there),
                // The deleted files count; the next try will meet the failure again.
                Err(_) if files > 0 => return Ok(FolderDeletion::Going { files }),
                Err(error) => return Err(failure(error)),
            }
        }
        if content.more {
            return Ok(FolderDeletion::Going { files });
        }
        self.tenure.look();
        for directory in &content.directories {
            tidy(&place, directory, content.others == 0).map_err(failure)?;
        }
        self.tenure.look();
        if manifest.is_some() {
            files += u64::from(place.remove(folder::MANIFEST).map_err(failure)?);
        }
        if content.others == 0 {
            self.container(&plan.container)?.remove_directory(&plan.folder).map_err(failure)?;
        }
        Ok(FolderDeletion::Done { files, others: content.others })
    }
}

/// The SHA-256 of the manifest in hexadecimal; `None` if it does not exist.
fn manifest(place: &Place) -> io::Result<Option<String>> {
    let mut file = match place.read(folder::MANIFEST) {
        Ok(file) => file,
        Err(error) if failure::is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Some(hex(&hash.finalize()))),
            read => hash.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

fn content(place: &Place, plan: &FolderPlan) -> io::Result<Content> {
    let mut content = Content::default();
    walk(place, "", &mut |directory, path| {
        objects(directory, |name, _| {
            let below = format!("{path}{name}");
            if below == folder::MANIFEST {
                // The manifest goes last, by itself.
            } else if !folder::is_of_a_run(&below) {
                content.others += 1;
            } else if content.files.len() < plan.at_most {
                content.files.push((path.to_owned(), name));
            } else {
                content.more = true;
            }
        })?;
        content.directories.push(path.to_owned());
        Ok(())
    })?;
    Ok(content)
}

/// Opens a directory below the folder by its path; `None` if it is gone.
fn open(place: &Place, path: &str) -> io::Result<Option<Place>> {
    let mut below = place.again()?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        below = match below.enter(part) {
            Ok(below) => below,
            Err(error) if failure::is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(below))
}

/// Removes an object with its marks. Returns false if it was already gone.
fn remove(place: &Place, path: &str, name: &str) -> io::Result<bool> {
    let Some(directory) = open(place, path)? else { return Ok(false) };
    let was_there = directory.remove(name)?;
    directory.remove(&marks_of(name))?;
    Ok(was_there)
}

/// Removes uploads, marks without an object and, if `directory_too` is set, the directory
/// itself, unless it is the folder.
fn tidy(place: &Place, path: &str, directory_too: bool) -> io::Result<()> {
    let Some(directory) = open(place, path)? else { return Ok(()) };
    if let Ok(uploads) = directory.enter(UPLOADS) {
        for entry in uploads.list()? {
            uploads.remove(&entry.name)?;
        }
        directory.remove_directory(UPLOADS)?;
    }
    for entry in directory.list()? {
        if let Some(object) = side::object_of_marks(&entry.name)
            && directory.stat(object)?.is_none()
        {
            directory.remove(&entry.name)?;
        }
    }
    let (above, name) = match path.trim_end_matches('/').rsplit_once('/') {
        Some((above, name)) => (above, name),
        None => ("", path.trim_end_matches('/')),
    };
    if directory_too
        && !name.is_empty()
        && let Some(above) = open(place, above)?
    {
        above.remove_directory(name)?;
    }
    Ok(())
}
