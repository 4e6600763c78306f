//! Directories and names below the root. A key may come from a FHIR server, so no key leads outside: a key
//! with an empty component, `.`, `..`, a hidden name, a NUL or a backslash is refused. The directories on its
//! path are opened one by one, each relative to the one before, without following links.
//!
//! `cap-std` would do this too, but it follows links that stay below the root, where a link can still lead a file of
//! one run into the folder of another. `openat2` is not available on every kernel and in every sandbox. `openat` with
//! `O_NOFOLLOW` is, and `rustix`, which the operator uses for its clock, provides it without unsafe code.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, Stat, accessat, fsync, linkat, mkdirat, open, openat,
    renameat, statat, unlinkat,
};

use rustix::io::Errno;

use super::failure;
use crate::core::ledger::StorageFailure;
use crate::storage::key;

/// The longest component of a key, in bytes. The names of side files are longer, and 255 is the most
/// that file systems support.
const LONGEST: usize = 200;

/// An open directory.
#[derive(Debug)]
pub(super) struct Place(OwnedFd);

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_directory: bool,
    pub(super) is_file: bool,
}

impl Place {
    /// Opens the root of a store. The root itself may be a link, since the operator's owner chose it.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens this directory again.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Opens a directory in this one. Fails if it is a link or not a directory.
    pub(super) fn enter(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Opens a directory in this one, and creates it durably if it does not exist.
    pub(super) fn enter_or_make(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o750)) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.enter(name)
    }

    /// Whether a file system is mounted on this directory.
    pub(super) fn is_mount(&self) -> io::Result<bool> {
        if let Some(known) = mount_root(&self.0) {
            return Ok(known);
        }
        let above = statat(&self.0, "..", AtFlags::empty())?;
        Ok(above.st_dev != statat(&self.0, ".", AtFlags::empty())?.st_dev)
    }

    /// Fails if this process may not create entries in this directory, or if its file system is read-only.
    pub(super) fn may_write(&self) -> io::Result<()> {
        Ok(accessat(&self.0, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?)
    }

    /// Makes the entries of this directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }

    /// Opens a file for reading. Fails if it is a link.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Opens a file for reading and writing. Fails if it is a link.
    pub(super) fn write(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Creates a file. Fails if the name is taken.
    pub(super) fn make(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::from_raw_mode(0o640))?.into())
    }

    /// Links a file under a name in another directory. Fails if that name is taken, and with `EOPNOTSUPP` if the file
    /// system has no hard links.
    pub(super) fn link(&self, from: &str, other: &Self, to: &str) -> io::Result<()> {
        match linkat(&self.0, from, &other.0, to, AtFlags::empty()) {
            // Linux answers so for file systems without hard links. The process may link what it created itself.
            Err(Errno::PERM | Errno::NOSYS) => Err(Errno::OPNOTSUPP.into()),
            other => Ok(other?),
        }
    }

    /// Renames a file in this directory, replacing any entry with the new name.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a name. Returns false if it does not exist.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        missing_is_false(unlinkat(&self.0, name, AtFlags::empty()).map_err(Into::into))
    }

    /// Removes a directory if it is empty. Returns false if it does not exist or is not empty.
    pub(super) fn remove_directory(&self, name: &str) -> io::Result<bool> {
        match unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            other => missing_is_false(other.map_err(Into::into)),
        }
    }

    /// The metadata of an entry, without following links; `None` if it does not exist.
    pub(super) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries of this directory, without `.` and `..`, sorted by name. Names that are not UTF-8 do not
    /// come from the operator and are left out.
    pub(super) fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let type_ = match entry.file_type() {
                FileType::Unknown => match self.stat(name)? {
                    Some(stat) => FileType::from_raw_mode(stat.st_mode),
                    None => continue,
                },
                known => known,
            };
            entries.push(Entry {
                name: name.to_owned(),
                is_directory: type_ == FileType::Directory,
                is_file: type_ == FileType::RegularFile,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }
}

/// Whether a directory is the root of a mount, if the kernel tells (Linux 5.8 and later).
#[cfg(target_os = "linux")]
fn mount_root(directory: &OwnedFd) -> Option<bool> {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let found = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).ok()?;
    let told = found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    told.then(|| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn mount_root(_: &OwnedFd) -> Option<bool> {
    None
}

fn missing_is_false(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if failure::is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The components of a key: its directories, then the name of the object. Fails if the key could lead
/// elsewhere, or to a hidden file.
pub(super) fn components(key: &str) -> Result<(Vec<&str>, &str), StorageFailure> {
    let good = |part: &str| part.len() <= LONGEST && !part.starts_with('.');
    key::components(key).filter(|_| key.split('/').all(good)).ok_or_else(|| {
        StorageFailure::permanent(format!("{key:?} cannot be the name of a file in a folder; it is refused"))
    })
}

/// Rejects a container name that could lead elsewhere.
pub(super) fn container_name(name: &str) -> Result<(), StorageFailure> {
    match components(name) {
        Ok((directories, _)) if directories.is_empty() => Ok(()),
        _ => Err(StorageFailure::permanent(format!(
            "{name:?} cannot be the name of a directory; it is refused"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(201);
        for key in ["", "/etc/passwd", "../x", "a/../b", ".hidden", "a/.b", "a/.b/c", &long] {
            assert!(components(key).is_err(), "{key}");
        }
        assert_eq!(components("f/a b+c%.json").unwrap(), (vec!["f"], "a b+c%.json"));
    }
}
