use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Result;
use crate::error::at;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A temporary folder, removed with its value.
///
/// A test that is killed removes nothing. So each folder has a lock that ends
/// with the process that holds it, and the next folder that is made removes
/// those whose lock is free. With `FHIR_EXPORT_KEEP` set nothing is removed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes a new folder with `name` in its name, for this user only.
    pub fn new(name: &str) -> Result<Self> {
        let root = std::env::temp_dir().join("fhir-export-stage");
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(at("making", &root))?;
        remove_abandoned(&root);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{name}-{}-{number}", std::process::id()));
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).map_err(at("making", &lock_path))?;
        lock.lock().map_err(at("locking", &lock_path))?;
        // Only a process of the same id before this one can have left it.
        let _ = std::fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path).map_err(at("making", &path))?;
        Ok(Self { path, lock_path, _lock: lock })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A log for each start of a program: what it said before an earlier end
    /// must not be taken for what it says now.
    pub(crate) fn next_log(&self, program: &str) -> PathBuf {
        let mut number = 1;
        loop {
            let log = self.path.join(format!("{program}-{number}.log"));
            if !log.exists() {
                return log;
            }
            number += 1;
        }
    }

    /// Writes a file that this user only may read: many here are keys.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(contents.as_ref()))
            .map_err(at("writing", &path))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !kept() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        // Without its lock file a kept folder is not taken for an abandoned one.
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

fn kept() -> bool {
    std::env::var_os("FHIR_EXPORT_KEEP").is_some()
}

fn remove_abandoned(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    for lock_path in entries.flatten().map(|entry| entry.path()) {
        if lock_path.extension().is_none_or(|end| end != "lock") || kept() {
            continue;
        }
        let Ok(lock) = File::open(&lock_path) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                let _ = std::fs::remove_dir_all(lock_path.with_extension(""));
                let _ = std::fs::remove_file(&lock_path);
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_value_and_an_abandoned_one_with_the_next() {
        let folder = Folder::new("folder").unwrap();
        let abandoned = folder.path().with_file_name("abandoned");
        std::fs::create_dir_all(abandoned.join("data")).unwrap();
        std::fs::write(abandoned.with_extension("lock"), "").unwrap();

        let next = Folder::new("folder").unwrap();
        assert!(!abandoned.exists());
        assert!(folder.path().exists(), "its lock is held");

        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
