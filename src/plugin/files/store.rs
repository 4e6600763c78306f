//! Reads the files of an export from their store, with the caller's own credential.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;

use super::credential::of_environment;
use super::place::{Place, StoreArgs, StorePlace, endpoint, endpoint_of_server};
use crate::api::{FhirExport, FhirServer};
use crate::cluster::root_cause;
use crate::core::landing::{Sum, Tally};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::sha256_hex;
use crate::core::reach::Reach;
use crate::core::stored_manifest::{MAX_STORED, StoredFile, files};
use crate::plugin::connection::Connected;
use crate::plugin::describe::parsed;
use crate::ports::{ObjectStore as _, Target};
use crate::show::ObjectKind;
use crate::stop::Stop;
use crate::storage::{BlobStorage, EndpointFrom, FolderStorage, http_client};

/// The waits before the second, third and fourth try of a read that failed for a reason that may pass.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The files of one export.
pub struct Files {
    store: Store,
    /// The ports name a FhirServer with each operation. The caller's stores do not look at it.
    nobody: Arc<FhirServer>,
    place: Place,
}

enum Store {
    Account(Box<BlobStorage>),
    Directory(FolderStorage),
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
    /// The file begins, or is read on after a failure. Returns what the sink has of it: reading goes on after these bytes.
    fn begin(&mut self) -> Tally;
    /// The next piece.
    fn take(&mut self, piece: &[u8]);
}

/// What became of reading a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// It was read whole.
    Whole(Sum),
    /// It does not exist.
    Missing,
    /// It is there and cannot be read, as a clause.
    Unreadable(String),
}

/// Why the manifest of an export is of no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// It is gone, or other than the one that the operator stored, or the container is gone. As a sentence.
    NotAsStored(String),
    /// It cannot be read now. As a sentence.
    Unreadable(String),
}

impl Unlisted {
    /// The sentence.
    pub fn into_stop(self) -> Stop {
        match self {
            Self::NotAsStored(sentence) | Self::Unreadable(sentence) => Stop::because(sentence),
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
        Ok(Self { store: open(&place).await?, nobody: nobody()?, place })
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
        let files = files(&body, &self.place.container, &manifest.path).map_err(|what| {
            Unlisted::NotAsStored(format!("The manifest {path} cannot be used: it is {what}."))
        })?;
        Ok(Listed { body, files })
    }

    /// Reads a file, decompressed, and passes to `sink` what that has not got yet. Tries again while that may help. Fails with a sentence
    /// if the store, and not only this file, cannot be read.
    pub async fn read(&self, file: &StoredFile, sink: &mut (dyn Sink + Send)) -> Result<Reading, Stop> {
        match patiently(async || self.read_once(file, sink).await).await {
            Ok(Some(sum)) => Ok(Reading::Whole(sum)),
            Ok(None) => Ok(Reading::Missing),
            Err(StorageFailure { kind: StorageFailureKind::Permanent, message }) => {
                Ok(Reading::Unreadable(message))
            }
            Err(failure) => Err(Stop::because(sentence(&failure))),
        }
    }

    async fn read_once(
        &self,
        file: &StoredFile,
        sink: &mut (dyn Sink + Send),
    ) -> Result<Option<Sum>, StorageFailure> {
        let mut tally = sink.begin();
        let from = tally.bytes();
        let mut both = |piece: &[u8]| {
            tally.feed(piece);
            sink.take(piece);
        };
        let (target, key) = (self.target(), &file.key);
        // A file that is compressed can only be read from its beginning.
        let found = match (&self.store, from) {
            (Store::Account(account), 0) => account.read_through(target, key, &mut both).await?,
            (Store::Account(account), from) => account.read_rest(target, key, from, &mut both).await?,
            (Store::Directory(directory), 0) => directory.read_through(target, key, &mut both).await?,
            (Store::Directory(directory), from) => directory.read_rest(target, key, from, &mut both).await?,
        };
        Ok(found.then(|| tally.finish()))
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

/// A failure as a sentence.
fn sentence(failure: &StorageFailure) -> String {
    format!("The files cannot be read: {}.", failure.message.trim_end_matches('.'))
}

async fn open(place: &Place) -> Result<Store, Stop> {
    match &place.store {
        StorePlace::Directory(directory) => Ok(Store::Directory(FolderStorage::new(directory))),
        StorePlace::Account { endpoint, named } => {
            let from = if *named { EndpointFrom::Caller } else { EndpointFrom::Cluster };
            let http = http_client(&[], &Reach::default())
                .map_err(|e| Stop::because(format!("The program cannot use TLS: {}.", root_cause(&e))))?;
            let account = BlobStorage::of_caller(endpoint, from, of_environment().await?, http);
            let account = account.map_err(|failure| Stop::because(sentence(&failure)))?;
            Ok(Store::Account(Box::new(account)))
        }
    }
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

/// A FhirServer for operations on stores that do not look at it.
fn nobody() -> Result<Arc<FhirServer>, Stop> {
    let spec = json!({ "url": "https://localhost", "dialect": "BulkData", "auth": { "type": "None" } });
    Ok(Arc::new(FhirServer::new("nobody", parsed(spec)?)))
}
