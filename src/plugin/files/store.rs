//! Reads the files of an export from their store, with the caller's own credential.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;

use super::open::{Store, nobody, open, sentence};
use super::place::{Place, StoreArgs, endpoint, endpoint_of_server};
use crate::api::{FhirExport, FhirServer};
use crate::core::landing::{Sum, Tally};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::sha256_hex;
use crate::core::stored_manifest::{MAX_STORED, Origin, Retrieved, StoredFile, files};
use crate::plugin::connection::Connected;
use crate::plugin::describe::parsed;
use crate::plugin::exit::Exit;
use crate::ports::{ObjectStore as _, Target};
use crate::show::ObjectKind;
use crate::stop::Stop;

/// The waits before the second, third and fourth try of a read that failed for a reason that may pass.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The files of one export.
pub struct Files {
    store: Store,
    /// A placeholder: every storage operation takes a FhirServer. The caller's stores take nothing from it but the
    /// place of a bucket.
    nobody: Arc<FhirServer>,
    place: Place,
}

/// The manifest of an export.
pub struct Listed {
    /// The manifest as it is stored.
    pub body: Vec<u8>,
    /// Its files.
    pub files: Vec<StoredFile>,
}

/// What takes in a file that is read.
pub trait Sink {
    /// The file begins, or is read on after a failure. Returns what the sink has of it: reading goes on after these
    /// bytes.
    fn begin(&mut self) -> Tally;
    /// The next piece.
    fn take(&mut self, piece: &[u8]);
}

/// What became of reading a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// The file was read whole.
    Whole(Sum),
    /// The file does not exist.
    Missing,
    /// The file is not what was stored: a clause that says why.
    Damaged(String),
}

/// Why the manifest of an export is of no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The manifest is gone, or other than the one that the operator stored, or the container is gone. As a sentence.
    NotAsStored(String),
    /// The manifest cannot be read now. As a sentence.
    Unreadable(String),
}

impl Unlisted {
    /// The end of a command that needs the manifest: unsuccessful if the manifest is not as stored, and an error if it
    /// cannot be read.
    pub fn into_exit(self) -> Result<Exit, Stop> {
        match self {
            Self::NotAsStored(sentence) => Ok(Exit::not_in_order(&sentence)),
            Self::Unreadable(sentence) => Err(Stop::because(sentence)),
        }
    }
}

impl Files {
    /// Finds the files of an export, and opens their store.
    pub async fn of(cluster: &Connected, export: &FhirExport, args: &StoreArgs) -> Result<Self, Stop> {
        let endpoint = match endpoint(export) {
            Some(endpoint) => Some(endpoint.to_owned()),
            None if args.names_store() => None,
            None => named_by_server(cluster, export).await?,
        };
        let place = args.place(export, endpoint.as_deref()).map_err(Stop::because)?;
        let store = open(&place.store).await?;
        Ok(Self { store, nobody: nobody(&place.store)?, place })
    }

    fn target(&self) -> Target<'_> {
        Target::new(&self.nobody, &self.place.container)
    }

    /// Where the folder of the files is, for people.
    pub fn shown(&self) -> String {
        let folder = self.place.manifest.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{}/{folder}", self.place.container).trim_end_matches('/').to_owned()
    }

    /// Reads the manifest, and compares it with the SHA-256 in the status.
    pub async fn manifest(&self) -> Result<Listed, Unlisted> {
        let (target, manifest) = (self.target(), &self.place.manifest);
        let path = format!("{}/{}", self.place.container, manifest.path);
        let read = patiently(async || match &self.store {
            Store::Account(account) => account.read(target, &manifest.path, MAX_STORED).await,
            Store::Bucket(bucket) => bucket.read(target, &manifest.path, MAX_STORED).await,
            Store::Directory(directory) => directory.read(target, &manifest.path, MAX_STORED).await,
        });
        let body = match read.await {
            Ok(Some(body)) => body,
            Ok(None) => {
                return Err(Unlisted::NotAsStored(format!(
                    "The manifest {path} is gone: the files were deleted or moved after the export had completed."
                )));
            }
            Err(failure) if failure.kind == StorageFailureKind::NotFound => {
                return Err(Unlisted::NotAsStored(format!(
                    "The container {} is gone: it was deleted after the export had completed.",
                    self.place.container
                )));
            }
            Err(failure) => return Err(Unlisted::Unreadable(sentence(&failure))),
        };
        if sha256_hex(&body) != manifest.sha256 {
            return Err(Unlisted::NotAsStored(format!(
                "The manifest {path} is not the one that the operator stored: somebody changed it, so do not use the data."
            )));
        }
        let Place { name, container, .. } = &self.place;
        let files = files(&body, Origin { store: name.as_deref(), container, key: &manifest.path })
            .map_err(|what| Unlisted::NotAsStored(format!("The manifest {path} cannot be used: {what}.")))?;
        Ok(Listed { body, files })
    }

    /// Reads a file, decompressed, and passes to `sink` the bytes after those it already has. Retries passing failures.
    /// Fails if the whole store cannot be read, and if the store does not give the file.
    pub async fn read(&self, file: &StoredFile, sink: &mut (dyn Sink + Send)) -> Result<Reading, Stop> {
        let read = patiently(async || self.read_once(file, sink).await).await;
        read.map_err(|failure| Stop::because(sentence(&failure)))
    }

    async fn read_once(
        &self,
        file: &StoredFile,
        sink: &mut (dyn Sink + Send),
    ) -> Result<Reading, StorageFailure> {
        let mut tally = sink.begin();
        let from = tally.bytes();
        let mut both = |piece: &[u8]| {
            tally.feed(piece);
            sink.take(piece);
        };
        let (target, key) = (self.target(), &file.key);
        // A file that is compressed can only be read from its beginning.
        let retrieved = match (&self.store, from) {
            (Store::Account(account), 0) => account.read_whole(target, key, &mut both).await?,
            (Store::Account(account), from) => account.read_rest(target, key, from, &mut both).await?,
            (Store::Bucket(bucket), 0) => bucket.read_whole(target, key, &mut both).await?,
            (Store::Bucket(bucket), from) => bucket.read_rest(target, key, from, &mut both).await?,
            (Store::Directory(directory), 0) => directory.read_whole(target, key, &mut both).await?,
            (Store::Directory(directory), from) => directory.read_rest(target, key, from, &mut both).await?,
        };
        Ok(match retrieved {
            Retrieved::Whole => Reading::Whole(tally.finish()),
            Retrieved::Missing => Reading::Missing,
            Retrieved::Damaged(why) => Reading::Damaged(why),
        })
    }
}

/// Does `work` again while it fails for a reason that may pass, a few times.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, StorageFailure>) -> Result<T, StorageFailure> {
    for wait in WAITS {
        match work().await {
            Err(StorageFailure { kind: StorageFailureKind::Transient { retry_after }, .. }) => {
                tokio::time::sleep(retry_after.map_or(wait, |asked| asked.clamp(wait, WAITS[2]))).await;
            }
            done => return done,
        }
    }
    work().await
}

/// The store that the FhirServer of an export names, which the server writes its files to.
async fn named_by_server(cluster: &Connected, export: &FhirExport) -> Result<Option<String>, Stop> {
    let server = &export.spec.server_ref;
    let mut there = cluster.clone();
    if let Some(namespace) = &server.namespace {
        there.namespace.clone_from(namespace);
    }
    let object = there.get(ObjectKind::Server, &server.name).await.map_err(|stop| {
        Stop::because(format!("{stop} Or name the blob endpoint of {} with --endpoint.", export.name_any()))
    })?;
    Ok(endpoint_of_server(&parsed(object)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::StoredManifest;
    use crate::core::landing::FileKind;
    use crate::plugin::files::place::StorePlace;
    use crate::storage::FolderStorage;

    #[test]
    fn a_changed_manifest_is_a_finding_and_an_unreadable_one_an_error() {
        let changed = Unlisted::NotAsStored("The manifest is gone.".to_owned()).into_exit();
        assert_eq!(changed.unwrap(), Exit::Unsuccessful);
        let unreadable = Unlisted::Unreadable("The files cannot be read: no.".to_owned()).into_exit();
        assert_eq!(unreadable.unwrap_err().to_string(), "The files cannot be read: no.");
    }

    #[tokio::test]
    async fn only_what_is_wrong_with_the_file_counts_as_damage() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("lake/f")).unwrap();
        std::fs::write(folder.path().join("lake/f/a.ndjson.gz"), "no gzip").unwrap();
        let file = |key: &str| StoredFile {
            kind: FileKind::Output,
            type_: None,
            url: key.to_owned(),
            key: key.to_owned(),
            path: key.to_owned(),
            count: None,
            bytes: None,
            sha256: None,
        };
        let files = Files {
            store: Store::Directory(FolderStorage::new(folder.path())),
            nobody: nobody(&StorePlace::Directory(folder.path().to_owned())).unwrap(),
            place: Place {
                store: StorePlace::Directory(folder.path().to_owned()),
                name: None,
                container: "lake".to_owned(),
                manifest: StoredManifest { path: "f/manifest.json".into(), sha256: String::new() },
            },
        };
        let mut sink = Ignore;
        let damaged = files.read(&file("f/a.ndjson.gz"), &mut sink).await.unwrap();
        assert!(matches!(&damaged, Reading::Damaged(why) if why.contains("not what landed")), "{damaged:?}");
        assert_eq!(files.read(&file("f/b.ndjson"), &mut sink).await.unwrap(), Reading::Missing);
        let refused = files.read(&file("f/.hidden"), &mut sink).await.unwrap_err().to_string();
        assert!(refused.starts_with("The files cannot be read: "), "{refused}");
    }

    struct Ignore;

    impl Sink for Ignore {
        fn begin(&mut self) -> Tally {
            Tally::default()
        }

        fn take(&mut self, _: &[u8]) {}
    }
}
