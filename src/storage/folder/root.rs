//! The folder that holds the containers of a `FhirServer`: one that all share, or a folder of a volume.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::ResourceExt;

use super::failure;
use super::place::Place;
use crate::api::{FhirServer, Volume};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::volume::{VolumeFolder, VolumeGrants};

/// A file in a directory below that of the volumes, with which its owner says that the directory is used as a volume
/// although nothing is mounted there.
const MARKER: &str = ".fhir-export-volume";

/// Where the folders of `FhirServer`s are.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    /// The same folder for all.
    One(Arc<Root>),
    /// A folder of a volume for each.
    Volumes(Arc<Volumes>),
}

/// The volumes that are mounted into the operator.
#[derive(Debug)]
pub(super) struct Volumes {
    /// The directory that they are mounted in, each with the name of its claim.
    directory: PathBuf,
    grants: VolumeGrants,
}

/// The folder of one `FhirServer`.
#[derive(Debug)]
pub(super) enum Root {
    /// A directory, which its owner created.
    Directory(PathBuf),
    /// A folder of a volume that is mounted in a directory with the name of its claim.
    Volume {
        /// The directory that all volumes are mounted in.
        directory: PathBuf,
        folder: VolumeFolder,
    },
    /// The `FhirServer` may use no folder.
    Refused(StorageFailure),
}

impl Roots {
    pub(super) fn one(root: &Path) -> Self {
        Self::One(Arc::new(Root::Directory(root.to_owned())))
    }

    pub(super) fn volumes(directory: &Path, grants: VolumeGrants) -> Self {
        Self::Volumes(Arc::new(Volumes { directory: directory.to_owned(), grants }))
    }

    /// The folder of a `FhirServer`.
    pub(super) fn of(&self, server: &FhirServer) -> Arc<Root> {
        match self {
            Self::One(root) => Arc::clone(root),
            Self::Volumes(volumes) => Arc::new(volumes.of(server)),
        }
    }
}

impl Volumes {
    fn of(&self, server: &FhirServer) -> Root {
        let volume: Option<&Volume> =
            server.spec.storage.as_ref().and_then(|storage| storage.volume.as_ref());
        let Some(volume) = volume else {
            return Root::Refused(StorageFailure {
                kind: StorageFailureKind::NotConfigured,
                message: "the FhirServer names no volume; set storage.volume".to_owned(),
            });
        };
        match self.grants.admit(&server.namespace().unwrap_or_default(), volume) {
            Ok(folder) => Root::Volume { directory: self.directory.clone(), folder },
            Err(failure) => Root::Refused(failure),
        }
    }
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// Returns [`StorageFailureKind::NotFound`] if the volume is mounted and lacks the folder.
    pub(super) fn open(&self) -> Result<Place, StorageFailure> {
        match self {
            Self::Directory(root) => directory(root),
            Self::Volume { directory, folder } => folder_of(&mounted(directory, folder)?, folder),
            Self::Refused(failure) => Err(failure.clone()),
        }
    }

    /// Opens the folder, and creates it if the volume lacks it. Never creates the directory that the volume is to be
    /// mounted on: files would land on the operator's own disk.
    pub(super) fn make(&self) -> Result<Place, StorageFailure> {
        match self {
            Self::Volume { directory, folder } => {
                let mut place = mounted(directory, folder)?;
                for name in folder.path() {
                    place = place.enter_or_make(name).map_err(|error| failed(folder, &error))?;
                }
                Ok(place)
            }
            Self::Directory(_) | Self::Refused(_) => self.open(),
        }
    }

    /// Makes the entries on the way to the folder durable: a process that created them may have ended before it did.
    pub(super) fn sync(&self) -> Result<(), StorageFailure> {
        match self {
            Self::Volume { directory, folder } => {
                let mut place = mounted(directory, folder)?;
                place.sync().map_err(|error| failed(folder, &error))?;
                for name in folder.path() {
                    place = place.enter(name).map_err(|error| failed(folder, &error))?;
                    place.sync().map_err(|error| failed(folder, &error))?;
                }
                Ok(())
            }
            Self::Directory(root) => {
                directory(root)?.sync().map_err(|error| failure::of("the directory of the store", &error))
            }
            Self::Refused(failure) => Err(failure.clone()),
        }
    }
}

/// Opens the directory of a store that is no volume.
fn directory(root: &Path) -> Result<Place, StorageFailure> {
    Place::root(root).map_err(|error| {
        let root = root.display();
        if failure::is_missing(&error) {
            return StorageFailure::permanent(format!(
                "the directory {root} of the store does not exist: create it"
            ));
        }
        failure::of(&format!("the directory {root} of the store"), &error)
    })
}

/// Opens the root of the volume of `folder`.
fn mounted(directory: &Path, folder: &VolumeFolder) -> Result<Place, StorageFailure> {
    let claim = folder.claim();
    let at = directory.join(claim);
    let not_mounted = |what: &str| StorageFailure {
        kind: StorageFailureKind::NotMounted,
        message: format!(
            "the volume {claim} is not mounted into the operator: {} {what}; mount it (volumes in the chart)",
            at.display()
        ),
    };
    let opened = Place::root(directory).and_then(|volumes| volumes.enter(claim));
    let place = opened.map_err(|error| {
        if failure::is_missing(&error) { not_mounted("does not exist") } else { failed(folder, &error) }
    })?;
    let is_volume = place.is_mount().and_then(|mount| Ok(mount || place.stat(MARKER)?.is_some()));
    if is_volume.map_err(|error| failed(folder, &error))? {
        Ok(place)
    } else {
        Err(not_mounted("is an ordinary directory"))
    }
}

/// Opens a folder of a volume.
fn folder_of(volume: &Place, folder: &VolumeFolder) -> Result<Place, StorageFailure> {
    let mut place = volume.again().map_err(|error| failed(folder, &error))?;
    for name in folder.path() {
        place = match place.enter(name) {
            Ok(place) => place,
            Err(error) if failure::is_missing(&error) => {
                return Err(StorageFailure {
                    kind: StorageFailureKind::NotFound,
                    message: format!("there is no folder {folder} in the volume: create it"),
                });
            }
            Err(error) => return Err(failed(folder, &error)),
        };
    }
    Ok(place)
}

fn failed(folder: &VolumeFolder, error: &std::io::Error) -> StorageFailure {
    failure::of(&format!("the volume {folder}"), error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn volume(directory: &Path, folder: &str) -> Root {
        Root::Volume { directory: directory.to_owned(), folder: VolumeFolder::parse(folder).unwrap() }
    }

    #[test]
    fn a_volume_is_a_mount_or_marked() {
        let directory = TempDir::new().unwrap();
        let lake = directory.path().join("lake");
        let kind = |root: &Root| root.make().map(|_| ()).map_err(|failure| failure.kind);
        assert_eq!(kind(&volume(directory.path(), "lake")), Err(StorageFailureKind::NotMounted));
        assert!(!lake.exists(), "the operator creates no mount point");
        std::fs::create_dir(&lake).unwrap();
        assert_eq!(kind(&volume(directory.path(), "lake/inner")), Err(StorageFailureKind::NotMounted));
        assert_eq!(
            std::fs::read_dir(&lake).unwrap().count(),
            0,
            "nothing was created in an ordinary directory"
        );
        std::fs::write(lake.join(MARKER), b"").unwrap();
        assert_eq!(kind(&volume(directory.path(), "lake/inner")), Ok(()));
        assert!(lake.join("inner").is_dir());
        let gone = volume(&directory.path().join("gone"), "lake");
        assert_eq!(gone.open().unwrap_err().kind, StorageFailureKind::NotMounted);
    }

    /// Linux mounts `/proc` wherever these tests run.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_needs_no_marker() {
        assert!(volume(Path::new("/"), "proc").open().is_ok());
        // A directory in a mount is not one itself.
        let inner = volume(Path::new("/proc"), "sys").open();
        let is_mount = Place::root(Path::new("/proc/sys")).unwrap().is_mount().unwrap();
        assert_eq!(inner.is_ok(), is_mount);
    }

    #[test]
    fn a_link_is_no_volume_and_no_folder_of_one() {
        let (directory, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(outside.path().join(MARKER), b"").unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("linked")).unwrap();
        let lake = directory.path().join("lake");
        std::fs::create_dir(&lake).unwrap();
        std::fs::write(lake.join(MARKER), b"").unwrap();
        std::os::unix::fs::symlink(outside.path(), lake.join("inner")).unwrap();
        for folder in ["linked", "lake/inner", "lake/inner/deeper"] {
            let root = volume(directory.path(), folder);
            for failure in [root.open().unwrap_err(), root.make().unwrap_err(), root.sync().unwrap_err()] {
                assert_eq!(failure.kind, StorageFailureKind::Permanent, "{folder}: {}", failure.message);
                assert!(failure.message.contains("link"), "{}", failure.message);
            }
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
