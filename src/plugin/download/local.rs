//! The directory that files are downloaded into: locked, of one export, and nobody else's to write to.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::core::manifest::sha256_hex;
use crate::core::stored_manifest::{StoredFile, is_sha256};
use crate::stop::Stop;

/// The name of the manifest in the directory. Where it lies, every file lies.
pub const MANIFEST: &str = "manifest.json";
/// The file that a download holds locked, so that no other one writes to the same directory. It contains the SHA-256 of
/// the manifest whose files the directory holds.
const LOCK: &str = ".fhirexport-download.lock";
/// The suffix of a file that is not whole yet; its name begins with a dot, too.
const PART: &str = "part";
/// The rights on files and directories of patient data: their owner's alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The rights that nobody but the owner may have on a file, and on a directory.
const SHARED_FILE: u32 = 0o077;
const SHARED_DIRECTORY: u32 = 0o022;
/// The most that is read of a lock file, in bytes: one more than a SHA-256 in hexadecimal.
const LONGEST_NOTE: u64 = 65;

/// The error for a file or directory that cannot be used or written, with the next step.
pub fn failed(path: &Path, error: &io::Error) -> Stop {
    let next = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, and repeat the command: it goes on"
        }
        _ => "correct that, and repeat the command: it goes on",
    };
    Stop::because(format!("{} cannot be written: {error}; {next}.", path.display()))
}

/// Makes the directory, locks it against other downloads until the returned file is dropped, and notes in that file
/// which manifest it is for. Fails if others may write to the directory, or if it may hold files of another export.
pub fn claimed(directory: &Path, manifest: &[u8], files: &[StoredFile]) -> Result<File, Stop> {
    let made = made(directory).and_then(|()| fs::metadata(directory));
    guarded(directory, &made.map_err(|e| failed(directory, &e))?)?;
    let path = directory.join(LOCK);
    let mut lock = locked(directory, &path)?;
    check_manifest(directory, manifest)?;
    let own = sha256_hex(manifest);
    match noted(&mut lock).map_err(|e| failed(&path, &e))? {
        Some(noted) if noted == own => {}
        Some(_) => return Err(of_another(directory)),
        None => {
            check_unsigned(directory, files)?;
            note(&mut lock, &own).map_err(|e| failed(&path, &e))?;
        }
    }
    Ok(lock)
}

/// Makes the directories on the way to a file below `directory`. Each has to be a directory and no link, and one that
/// nobody but its owner may write to.
pub fn make_way(directory: &Path, file: &str) -> Result<(), Stop> {
    let Some((above, _)) = file.rsplit_once('/') else { return Ok(()) };
    let mut way = directory.to_owned();
    for name in above.split('/') {
        way.push(name);
        let made = made(&way).and_then(|()| fs::symlink_metadata(&way));
        let metadata = made.map_err(|e| failed(&way, &e))?;
        if !metadata.is_dir() {
            return Err(failed(&way, &io::Error::other("it is a link")));
        }
        guarded(&way, &metadata)?;
    }
    Ok(())
}

/// The path of a file while it is not whole: hidden, beside the whole one.
pub fn part_of(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{PART}"))
}

/// Opens a file for reading and writing, and creates it if it does not exist. Then only its owner may use it. Fails if
/// the path leads to a link, to something else than a file, to another owner's file, or to one that has a second name.
pub fn begun(path: &Path) -> io::Result<File> {
    owned(path, OFlags::RDWR | OFlags::CREATE)
}

/// Opens an existing file for reading. Then only its owner may use it. Fails if the path leads to a link, to something
/// else than a file, or to another owner's file.
pub fn existing(path: &Path) -> io::Result<File> {
    owned(path, OFlags::RDONLY)
}

/// Writes a small file whole.
pub fn keep(target: &Path, body: &[u8]) -> io::Result<()> {
    let part = part_of(target);
    let mut file = begun(&part)?;
    file.set_len(0)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&part, target)
}

fn owned(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(opened) => opened.into(),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link")),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Only root and the owner of the directory can have put files into it: others may not write there.
    let is_theirs = ![0, fs::metadata(above)?.uid()].contains(&metadata.uid());
    let is_elsewhere = how.contains(OFlags::RDWR) && metadata.nlink() > 1;
    if !metadata.is_file() || is_theirs || is_elsewhere {
        return Err(io::Error::other("it is not a file of yours alone: move it away"));
    }
    if metadata.mode() & SHARED_FILE != 0 {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(file)
}

/// Creates a directory, and those above it, for its owner alone, unless it exists.
fn made(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Refuses a directory that others may write to, since they could put their own files in the place of those of the
/// export.
fn guarded(directory: &Path, metadata: &Metadata) -> Result<(), Stop> {
    if metadata.mode() & SHARED_DIRECTORY == 0 {
        return Ok(());
    }
    Err(Stop::because(format!(
        "Others may write to {}: take that right away with chmod go-w, or choose another directory.",
        directory.display()
    )))
}

/// Locks a directory against another download, until the file is dropped.
fn locked(directory: &Path, path: &Path) -> Result<File, Stop> {
    let file = begun(path).map_err(|e| failed(path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Stop::because(format!(
            "Another download writes to {}: wait for its end, or choose another directory.",
            directory.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(path, &error)),
    }
}

/// The SHA-256 that a lock file contains; `None` if it contains none, or only a part of one.
fn noted(lock: &mut File) -> io::Result<Option<String>> {
    let mut noted = Vec::new();
    lock.take(LONGEST_NOTE).read_to_end(&mut noted)?;
    Ok(String::from_utf8(noted).ok().filter(|noted| is_sha256(noted)))
}

/// Writes a SHA-256 into a lock file, durably.
fn note(lock: &mut File, sha256: &str) -> io::Result<()> {
    lock.rewind()?;
    lock.set_len(0)?;
    lock.write_all(sha256.as_bytes())?;
    lock.sync_all()
}

fn of_another(directory: &Path) -> Stop {
    Stop::because(format!(
        "{} holds the files of another export: choose another directory, or empty this one, with {LOCK}.",
        directory.display()
    ))
}

/// Refuses a directory that holds the manifest of another export.
fn check_manifest(directory: &Path, manifest: &[u8]) -> Result<(), Stop> {
    let path = directory.join(MANIFEST);
    let mut there = Vec::new();
    match existing(&path).and_then(|mut file| file.read_to_end(&mut there)) {
        Ok(_) if there == manifest => Ok(()),
        Ok(_) => Err(of_another(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(&path, &error)),
    }
}

/// Refuses a directory with a file that the manifest has no checksum for: nothing shows of which export it is.
fn check_unsigned(directory: &Path, files: &[StoredFile]) -> Result<(), Stop> {
    let unsigned = files.iter().filter(|file| file.sha256.is_none());
    let mut paths = unsigned.map(|file| directory.join(&file.path));
    match paths.find(|path| fs::symlink_metadata(path).is_ok()) {
        None => Ok(()),
        Some(path) => Err(Stop::because(format!(
            "{} is there already, and the manifest has no checksum that shows whether it is of this export: move it away, \
             or choose another directory.",
            path.display()
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::slice;

    use super::*;
    use crate::core::landing::FileKind;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn unsigned() -> StoredFile {
        let path = "Patient-1.ndjson".to_owned();
        StoredFile {
            kind: FileKind::Output,
            type_: None,
            url: path.clone(),
            key: path.clone(),
            path,
            count: Some(1),
            bytes: None,
            sha256: None,
        }
    }

    #[test]
    fn a_directory_is_locked_and_of_one_export() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let said = |manifest: &[u8]| claimed(directory, manifest, &[]).unwrap_err().to_string();
        let lock = claimed(directory, b"{}", &[]).unwrap();
        assert!(said(b"{}").starts_with("Another download writes to "));
        drop(lock);
        drop(claimed(directory, b"{}", &[]).unwrap());
        // No manifest lies there yet: what an interrupted download leaves.
        assert!(said(b"{ }").contains("holds the files of another export"));
        fs::remove_file(directory.join(LOCK)).unwrap();
        keep(&directory.join(MANIFEST), b"{}").unwrap();
        assert!(said(b"{ }").contains("holds the files of another export"));
        drop(claimed(directory, b"{}", &[]).unwrap());
        fs::write(directory.join(LOCK), "half").unwrap();
        drop(claimed(directory, b"{}", &[]).unwrap());
        assert_eq!(fs::read_to_string(directory.join(LOCK)).unwrap(), sha256_hex(b"{}"));
    }

    #[test]
    fn a_file_without_a_checksum_counts_only_if_a_download_of_this_export_brought_it() {
        let file = unsigned();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(&file.path), "{}\n").unwrap();
        for _ in 0..2 {
            let refused = claimed(folder.path(), b"{}", slice::from_ref(&file)).unwrap_err().to_string();
            assert!(refused.contains("has no checksum that shows"), "{refused}");
        }
        let signed = StoredFile { sha256: Some(sha256_hex(b"{}\n")), ..file.clone() };
        drop(claimed(folder.path(), b"{ }", slice::from_ref(&signed)).unwrap());

        let own = tempfile::tempdir().unwrap();
        drop(claimed(own.path(), b"{}", slice::from_ref(&file)).unwrap());
        fs::write(own.path().join(&file.path), "{}\n").unwrap();
        drop(claimed(own.path(), b"{}", slice::from_ref(&file)).unwrap());
    }

    #[test]
    fn no_link_is_followed_and_no_planted_file_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, planted) = (folder.path().join("victim"), folder.path().join("planted"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &planted).unwrap();
        for opened in [begun(&planted), existing(&planted)] {
            assert_eq!(opened.unwrap_err().to_string(), "it is a link");
        }
        fs::remove_file(&planted).unwrap();
        fs::hard_link(&victim, &planted).unwrap();
        assert!(begun(&planted).unwrap_err().to_string().starts_with("it is not a file of yours alone"));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        fs::create_dir(folder.path().join("below")).unwrap();
        assert!(existing(&folder.path().join("below")).is_err());
        symlink(folder.path().join("below"), folder.path().join("deleted")).unwrap();
        let refused = make_way(folder.path(), "deleted/Bundle-1.ndjson").unwrap_err().to_string();
        assert!(refused.contains("deleted cannot be written: it is a link"), "{refused}");
    }

    #[test]
    fn what_is_there_becomes_its_owner_s_alone_and_a_shared_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for open in [begun, existing] {
            let planted = folder.path().join("planted");
            fs::write(&planted, "x").unwrap();
            fs::set_permissions(&planted, Permissions::from_mode(0o666)).unwrap();
            open(&planted).unwrap();
            assert_eq!(mode(&planted), FILE_MODE);
        }
        make_way(folder.path(), "error/deep/a.ndjson").unwrap();
        assert_eq!(mode(&folder.path().join("error/deep")), DIRECTORY_MODE);
        fs::set_permissions(folder.path().join("error"), Permissions::from_mode(0o770)).unwrap();
        let refused = make_way(folder.path(), "error/a.ndjson").unwrap_err().to_string();
        assert!(refused.starts_with("Others may write to "), "{refused}");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let refused = claimed(folder.path(), b"{}", &[]).unwrap_err().to_string();
        assert!(refused.starts_with("Others may write to "), "{refused}");
    }
}
