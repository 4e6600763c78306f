//! Explains failures of the file system, each in one sentence that says what to do.

use std::io;

use rustix::io::Errno;

use crate::core::ledger::{StorageFailure, StorageFailureKind};

/// A failure of a file operation on `what`.
pub(super) fn of(what: &str, error: &io::Error) -> StorageFailure {
    let (kind, message) = match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => (
            StorageFailureKind::Full,
            format!("there is no room for {what}: make room on the file system, or enlarge it"),
        ),
        Some(Errno::DQUOT | Errno::FBIG) => (
            StorageFailureKind::Full,
            format!("a quota or limit leaves no room for {what}: raise it, or make room"),
        ),
        Some(Errno::ROFS) => (
            StorageFailureKind::ReadOnly,
            format!("{what} is on a file system that is mounted read-only: mount it writable"),
        ),
        Some(Errno::ACCESS | Errno::PERM) => (
            StorageFailureKind::Denied,
            format!("the operator may not write or read {what}: give its user or group the right to do so"),
        ),
        Some(Errno::LOOP | Errno::NOTDIR) => (
            StorageFailureKind::Permanent,
            format!("the way to {what} leads through a link or a file: only directories are followed"),
        ),
        Some(Errno::OPNOTSUPP | Errno::NOSYS) => (
            StorageFailureKind::Permanent,
            format!(
                "the file system of {what} lacks what a safe commit needs, hard links: use one that has them, such as \
                 ext4, XFS, NFS or CephFS"
            ),
        ),
        Some(Errno::NAMETOOLONG) => {
            (StorageFailureKind::Permanent, format!("{what} has a name that is too long for the file system"))
        }
        _ => (
            StorageFailureKind::Transient { retry_after: None },
            format!("{what} cannot be used now ({}); it is tried again", error.kind()),
        ),
    };
    StorageFailure { kind, message }
}

/// The container does not exist.
pub(super) fn no_container(container: &str) -> StorageFailure {
    StorageFailure {
        kind: StorageFailureKind::NotFound,
        message: format!("there is no directory {container} in the store: create it"),
    }
}

/// Whether an error says that the file does not exist.
pub(super) fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Whether an error says that the file already exists.
pub(super) fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        for (errno, kind, words) in [
            (Errno::NOSPC, StorageFailureKind::Full, "make room"),
            (Errno::DQUOT, StorageFailureKind::Full, "raise it"),
            (Errno::FBIG, StorageFailureKind::Full, "raise it"),
            (Errno::ROFS, StorageFailureKind::ReadOnly, "mount it writable"),
            (Errno::ACCESS, StorageFailureKind::Denied, "give its user"),
            (Errno::LOOP, StorageFailureKind::Permanent, "only directories are followed"),
            (Errno::OPNOTSUPP, StorageFailureKind::Permanent, "use one that has them"),
            (Errno::NAMETOOLONG, StorageFailureKind::Permanent, "too long"),
            (Errno::IO, StorageFailureKind::Transient { retry_after: None }, "tried again"),
        ] {
            let failure = of("f/Patient-1.ndjson", &errno.into());
            assert_eq!(failure.kind, kind, "{errno:?}");
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}
