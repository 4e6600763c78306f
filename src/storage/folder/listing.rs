//! Lists the committed objects of a folder.

use std::io;

use jiff::Timestamp;
use rustix::fs::{FileType, Stat};

use super::place::{Place, container_name};
use super::side::{self, Record, UPLOADS, marks_of};
use super::{Folder, failure};
use crate::core::folder;
use crate::core::landing::LedgerEntry;
use crate::core::ledger::{JobFolder, Ledger, Seen, StorageFailure};

/// The size of an entry, if it is a file.
pub(super) fn size_of(stat: &Stat) -> Option<u64> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    u64::try_from(stat.st_size).ok().filter(|_| is_file)
}

/// Calls `visit` with each directory at and below `place` that is not hidden, and its path relative to the container,
/// which is empty or ends with a slash. The deepest come first.
pub(super) fn walk(
    place: &Place,
    path: &str,
    visit: &mut dyn FnMut(&Place, &str) -> io::Result<()>,
) -> io::Result<()> {
    for entry in place.list()? {
        if entry.is_directory && !entry.name.starts_with('.') {
            match place.enter(&entry.name) {
                Ok(below) => walk(&below, &format!("{path}{}/", entry.name), visit)?,
                // The directory was removed after it had been listed.
                Err(error) if failure::is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    visit(place, path)
}

/// Calls `seen` with name and size of each object directly in a directory.
pub(super) fn objects(place: &Place, mut seen: impl FnMut(String, u64)) -> io::Result<()> {
    for entry in place.list()? {
        if entry.is_file
            && !entry.name.starts_with('.')
            && let Some(size) = place.stat(&entry.name)?.as_ref().and_then(size_of)
        {
            seen(entry.name, size);
        }
    }
    Ok(())
}

impl Folder {
    /// A directory directly in a container; `None` if it does not exist.
    pub(super) fn folder(&self, container: &str, name: &str) -> Result<Option<Place>, StorageFailure> {
        let place = self.container(container)?;
        container_name(name)?;
        match place.enter(name) {
            Ok(place) => Ok(Some(place)),
            Err(error) if failure::is_missing(&error) => Ok(None),
            Err(error) => Err(failure::of(&format!("{container}/{name}"), &error)),
        }
    }

    /// See [`ObjectStore::ledger`](crate::ports::ObjectStore::ledger).
    pub(super) fn ledger_of(&self, container: &str, name: &str) -> Result<Ledger, StorageFailure> {
        let Some(place) = self.folder(container, name)? else { return Ok(Ledger::default()) };
        let mut ledger = Ledger::default();
        walk(&place, &format!("{name}/"), &mut |place, path| note(place, path, &mut ledger))
            .map_err(|error| failure::of(&format!("{container}/{name}"), &error))?;
        ledger.landed.sort_by(|one, other| one.blob.cmp(&other.blob));
        ledger.begun.sort();
        ledger.begun.dedup();
        Ok(ledger)
    }

    /// Calls `seen` with key and size of each object whose key begins with `prefix`.
    pub(super) fn objects_of(
        &self,
        container: &str,
        prefix: &str,
        mut seen: impl FnMut(String, u64),
    ) -> Result<(), StorageFailure> {
        let place = self.container(container)?;
        walk(&place, "", &mut |place, path| {
            if !path.starts_with(prefix) && !prefix.starts_with(path) {
                return Ok(());
            }
            objects(place, |name, size| {
                let key = format!("{path}{name}");
                if key.starts_with(prefix) {
                    seen(key, size);
                }
            })
        })
        .map_err(|error| failure::of(&format!("the directory {container}"), &error))
    }

    /// Directories of jobs in a container, or containers of single jobs.
    pub(super) fn jobs(
        &self,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let place = match container {
            Some(container) => self.container(container)?,
            None => self.root.open()?,
        };
        let failure = |error: io::Error| failure::of("the store", &error);
        let mut jobs = Vec::new();
        for entry in place.list().map_err(failure)?.into_iter().filter(|entry| entry.is_directory) {
            let found = match container {
                Some(container) => folder::parse(&entry.name).map(|(began, id)| JobFolder {
                    container: container.to_owned(),
                    folder: Some(entry.name.clone()),
                    began,
                    job_id: id.to_owned(),
                }),
                None => {
                    match entry.name.strip_prefix(folder::OWN_CONTAINER).filter(|id| folder::is_job_id(id)) {
                        Some(id) => place.stat(&entry.name).map_err(failure)?.and_then(|stat| {
                            let began = Timestamp::from_second(stat.st_mtime).ok()?;
                            let (container, job_id) = (entry.name.clone(), id.to_owned());
                            Some(JobFolder { container, folder: None, began, job_id })
                        }),
                        None => None,
                    }
                }
            };
            jobs.extend(found.filter(|job| job.began >= after));
        }
        Ok(jobs)
    }

    /// See [`ObjectStore::count_files`](crate::ports::ObjectStore::count_files).
    pub(super) fn count(
        &self,
        container: &str,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let folder = match job_id {
            Some(id) => {
                let hour_before = began.checked_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(began);
                let jobs = self.jobs(Some(container), hour_before)?;
                match jobs.into_iter().find(|job| job.job_id == id).and_then(|job| job.folder) {
                    Some(folder) => Some(folder),
                    None => return Ok(Seen::default()),
                }
            }
            None => None,
        };
        let prefix = folder.as_ref().map(|folder| format!("{folder}/")).unwrap_or_default();
        let mut seen = Seen { folder, files: 0, bytes: 0 };
        self.objects_of(container, &prefix, |key, size| {
            if key.ends_with(".ndjson") {
                seen.files += 1;
                seen.bytes += size;
            }
        })?;
        Ok(seen)
    }
}

/// Adds the objects and uploads directly in a directory to the ledger. What the ledger names counts as landed, so its
/// entries are made durable: the process that committed them may have ended before it did.
fn note(place: &Place, path: &str, ledger: &mut Ledger) -> io::Result<()> {
    place.sync()?;
    let mut found = Vec::new();
    objects(place, |name, size| found.push((name, size)))?;
    for (name, size) in &found {
        let record: Option<Record> = side::read(place, &marks_of(name))?;
        // Marks with another size come from a commit that lost against a file of somebody else.
        let marks = record.filter(|record| record.stored == *size).map(Record::marks);
        ledger.landed.push(LedgerEntry { blob: format!("{path}{name}"), marks });
    }
    let uploads = match place.enter(UPLOADS) {
        Ok(uploads) => uploads,
        Err(error) if failure::is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in uploads.list()? {
        let Some(object) = side::object_of_part(&entry.name) else { continue };
        if found.binary_search_by(|(name, _)| name.as_str().cmp(object)).is_err() {
            ledger.begun.push(format!("{path}{object}"));
        }
    }
    Ok(())
}
