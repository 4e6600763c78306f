//! The state file: all objects in one JSON document, which is replaced as a whole at each change.
//!
//! A process works on a state file only while it holds the lock beside it. The file holds no Secret.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stop::Stop;

/// The version of the document that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// The contents of a state file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    /// The version of this document.
    format: u32,
    /// The highest `resourceVersion` that was given to an object.
    resource_version: u64,
    /// The objects, in no order that matters.
    objects: Vec<Value>,
}

/// What a state file held when it was read.
#[derive(Debug, Default)]
pub struct Contents {
    /// The highest `resourceVersion` that was given to an object; 0 for a file that does not exist.
    pub resource_version: u64,
    /// The objects.
    pub objects: Vec<Value>,
}

/// A state file that no other process works on for as long as this value lives.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// The lock ends with this file, even when the process is killed.
    _lock: File,
}

impl StateFile {
    /// Locks the state file at `path`, creates its directory if necessary, and reads it. A file that does not exist
    /// counts as one without objects.
    pub fn open(path: &Path) -> Result<(Self, Contents), Stop> {
        let failed = |what: &str, e: &io::Error| {
            Stop::because(format!("The state file {} cannot be {what}: {e}.", path.display()))
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|e| failed("created", &e))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, "lock"))
            .map_err(|e| failed("locked", &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Stop::because(format!(
                    "Another fhir-export-operator works on the state file {}: wait until it ends, or use another file \
                     with --state.",
                    path.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(failed("locked", &e)),
        }
        let contents = read(path)?.unwrap_or_default();
        Ok((Self { path: path.to_owned(), _lock: lock }, contents))
    }

    /// Replaces the file durably: after a crash there is either the old document or the new one.
    pub fn save<'o>(
        &self,
        resource_version: u64,
        objects: impl Iterator<Item = &'o Value>,
    ) -> io::Result<()> {
        let document = Document { format: FORMAT, resource_version, objects: objects.cloned().collect() };
        let text = serde_json::to_vec_pretty(&document)?;
        let new = beside(&self.path, "new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Reads a state file without a lock: a change replaces the whole file, so what is read is never half of one. Returns
/// `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<Contents>, Stop> {
    let unreadable = |why: &str| {
        Stop::because(format!(
            "The state file {} cannot be read: {why}; restore it, or use another file with --state: exports that it \
             knows of are then not continued.",
            path.display()
        ))
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e.to_string())),
    };
    let document: Document = serde_json::from_slice(&text).map_err(|e| unreadable(&e.to_string()))?;
    if document.format != FORMAT {
        return Err(unreadable(&format!("its format {} is not one of this version", document.format)));
    }
    Ok(Some(Contents { resource_version: document.resource_version, objects: document.objects }))
}

/// The file beside the state file with this additional extension.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_saved_is_read_again_and_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        let (file, contents) = StateFile::open(&path).unwrap();
        assert_eq!((contents.resource_version, contents.objects.len()), (0, 0));
        file.save(7, [json!({"kind": "FhirServer"})].iter()).unwrap();
        drop(file);
        let (_file, contents) = StateFile::open(&path).unwrap();
        assert_eq!((contents.resource_version, contents.objects.len()), (7, 1));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_second_process_is_refused_with_the_name_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let _first = StateFile::open(&path).unwrap();
        let refused = StateFile::open(&path).unwrap_err().to_string();
        assert!(refused.starts_with("Another fhir-export-operator works on"), "{refused}");
        assert!(refused.contains("state.json: wait"), "{refused}");
    }

    #[test]
    fn what_is_no_state_is_neither_used_nor_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for text in ["not JSON", r#"{"format": 2, "resourceVersion": 1, "objects": []}"#, "{}"] {
            std::fs::write(&path, text).unwrap();
            let refused = StateFile::open(&path).unwrap_err().to_string();
            assert!(refused.contains("state.json cannot be read"), "{refused}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
