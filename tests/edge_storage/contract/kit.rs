//! The kit of each test of the contract: a store with an empty container, and files to land.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use azure_storage_blob::BlobContainerClient;
use blobs::s3::Bucket;
use bytes::Bytes;
use fhir_export_operator::api::{Compression, FhirServer};
use fhir_export_operator::core::landing::{Checkpoint, Content, FileForm, Issues, Marks, Tally};
use fhir_export_operator::core::ledger::StorageFailure;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{Committed, ObjectStore, Target, Upload};
use fhir_export_operator::storage::{BlobStorage, FolderStorage, S3Storage, StorageByType, StorageHosts};
use futures::{StreamExt, stream};
use serde_json::json;
use stage::{Azurite, AzuriteOptions, S3Kind, S3Server};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use crate::lake::{self, Secrets, by_key};

/// A store and a container in it.
pub struct Kit<S> {
    pub store: S,
    pub server: Arc<FhirServer>,
    pub container: String,
    behind: Behind,
}

/// Direct access to the storage behind the store, for objects that a test puts there itself.
enum Behind {
    Azure {
        container: BlobContainerClient,
        /// An Azurite that ends with the test.
        _own: Option<Box<Azurite>>,
    },
    S3 {
        bucket: Bucket,
        /// A store that ends with the test.
        _own: Option<Box<S3Server>>,
    },
    Folder {
        root: PathBuf,
        /// A directory that is removed with the test.
        _kept: Option<TempDir>,
    },
}

/// A store in the shared Azurite, with the container `contract-<name>`.
pub async fn azurite(name: &str) -> Kit<BlobStorage> {
    let (azurite, store, server) = lake::ready().await;
    let container = format!("contract-{name}");
    let behind = Behind::Azure { container: lake::container(azurite, &container).await, _own: None };
    Kit { store, server, container, behind }
}

/// A store in an Azurite that no other test uses.
pub async fn azurite_of_its_own(name: &str) -> Kit<BlobStorage> {
    let azurite = Azurite::start(AzuriteOptions::default()).await.unwrap();
    let secrets = Arc::new(Secrets::default());
    secrets.set("key", azurite.key());
    let server = lake::server(&azurite.endpoint().unwrap(), &by_key());
    let store = lake::storage(&secrets, EntraSettings::default());
    let container = lake::container(&azurite, name).await;
    let behind = Behind::Azure { container, _own: Some(Box::new(azurite)) };
    Kit { store, server, container: name.to_owned(), behind }
}

/// A store in a folder of the file system, with a container of this name. Its parts are small, so that files have many.
pub async fn folder(name: &str) -> Kit<FolderStorage> {
    let directory = TempDir::new().unwrap();
    let server = lake::server(&Url::parse("https://folder.example").unwrap(), &by_key());
    let kit = folder_at(directory.path(), server, name).await;
    Kit { behind: Behind::Folder { root: directory.path().to_owned(), _kept: Some(directory) }, ..kit }
}

/// Like [`folder`], in a directory that the caller owns.
pub async fn folder_at(root: &Path, server: Arc<FhirServer>, name: &str) -> Kit<FolderStorage> {
    let store = FolderStorage::new(root).with_part_size(256);
    let behind = Behind::Folder { root: root.to_owned(), _kept: None };
    let kit = Kit { store, server, container: name.to_owned(), behind };
    kit.store.make_container(kit.target()).await.unwrap();
    kit
}

/// The operator's storage with a container of this name in a folder of a volume.
pub async fn volume(name: &str) -> Kit<StorageByType> {
    let directory = TempDir::new().unwrap();
    let root = lake::volume(directory.path(), "lake").join("clinic/exports");
    let store = lake::by_type(directory.path(), &[("fhir", "lake/clinic")]);
    let server = lake::volume_server("fhir", "lake", Some("clinic/exports"));
    let behind = Behind::Folder { root, _kept: Some(directory) };
    let kit = Kit { store, server, container: name.to_owned(), behind };
    kit.store.make_container(kit.target()).await.unwrap();
    kit
}

/// The stores that all tests of this program share.
async fn s3_server(kind: S3Kind) -> &'static S3Server {
    static VERSITY: OnceCell<S3Server> = OnceCell::const_new();
    static MOTO: OnceCell<S3Server> = OnceCell::const_new();
    let cell = match kind {
        S3Kind::Versity => &VERSITY,
        S3Kind::Moto => &MOTO,
    };
    cell.get_or_init(|| async { S3Server::start(kind).await.unwrap() }).await
}

/// A store in the shared Versity gateway, with the bucket `contract-<name>`.
pub async fn versity(name: &str) -> Kit<S3Storage> {
    s3(s3_server(S3Kind::Versity).await, &format!("contract-{name}")).await
}

/// A store in a Versity gateway that no other test uses.
pub async fn versity_of_its_own(name: &str) -> Kit<S3Storage> {
    let server = Box::new(S3Server::start(S3Kind::Versity).await.unwrap());
    let kit = s3(&server, name).await;
    let behind = Behind::S3 { bucket: Bucket::open(&server, name).unwrap(), _own: Some(server) };
    Kit { behind, ..kit }
}

/// A store in the shared server of moto, with the bucket `contract-<name>`.
pub async fn moto(name: &str) -> Kit<S3Storage> {
    s3(s3_server(S3Kind::Moto).await, &format!("contract-{name}")).await
}

async fn s3(server: &S3Server, name: &str) -> Kit<S3Storage> {
    let storage = lake::s3_storage(&lake::s3_secrets(), EntraSettings::default(), StorageHosts::default());
    let endpoint = server.endpoint().unwrap();
    let fhir = lake::s3_server("fhir", endpoint.as_str(), &json!({}));
    let behind = Behind::S3 { bucket: Bucket::open(server, name).unwrap(), _own: None };
    let kit = Kit { store: storage, server: fhir, container: name.to_owned(), behind };
    kit.store.make_container(kit.target()).await.unwrap();
    kit
}

impl Kit<FolderStorage> {
    /// The directory of all containers.
    pub fn root(&self) -> &Path {
        match &self.behind {
            Behind::Folder { root, .. } => root,
            Behind::Azure { .. } | Behind::S3 { .. } => panic!("this is no folder"),
        }
    }
}

impl<S: ObjectStore> Kit<S> {
    pub fn target(&self) -> Target<'_> {
        Target::new(&self.server, &self.container)
    }

    pub fn part_size(&self) -> usize {
        let content = Content::of_etag("any", "\"1\"");
        let upload = self.store.begin(self.target(), "any/Patient-1.ndjson", content, Compression::None);
        upload.part_size(0).unwrap()
    }

    /// Writes objects directly to the storage, all with the same bytes.
    pub async fn put(&self, keys: &[String], body: &[u8]) {
        match &self.behind {
            Behind::Azure { container, .. } => {
                let puts = keys.iter().map(|key| lake::put(container, key, body));
                stream::iter(puts).buffer_unordered(8).collect::<Vec<()>>().await;
            }
            Behind::S3 { bucket, .. } => {
                let puts = keys.iter().map(|key| bucket.put(key, body));
                stream::iter(puts).buffer_unordered(8).for_each(|put| async { put.unwrap() }).await;
            }
            Behind::Folder { root, .. } => {
                for key in keys {
                    let path = root.join(&self.container).join(key);
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, body).unwrap();
                }
            }
        }
    }

    /// Waits until the file operations of a killed process have ended. In these tests the process only stops
    /// waiting for them; a real process would take them with it.
    pub async fn gone(&self, file: &File) {
        let Behind::Folder { root, .. } = &self.behind else { return };
        let uploads = root.join(&self.container).join(file.folder()).join(".uploads");
        for part in std::fs::read_dir(uploads).into_iter().flatten().flatten().map(|entry| entry.path()) {
            while std::fs::File::open(&part).is_ok_and(|part| part.try_lock().is_err()) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Begins an upload, or continues one.
    pub async fn begin_or_resume(&self, file: &File) -> Result<(S::Upload, usize), StorageFailure> {
        let resumed = self.store.resume(self.target(), &file.key, file.compression).await?;
        Ok(match resumed {
            Some((upload, checkpoint)) if checkpoint.content() == file.content => {
                (upload, usize::try_from(checkpoint.bytes()).unwrap())
            }
            _ => (self.store.begin(self.target(), &file.key, file.content, file.compression), 0),
        })
    }

    /// Lands a file as a process does. Returns the result, and how many bytes of the file were stored before.
    pub async fn land(&self, file: &File) -> Result<(Committed, usize), StorageFailure> {
        let (mut upload, from) = self.begin_or_resume(file).await?;
        let upto = file.parts(&mut upload, from, usize::MAX).await?;
        let committed = upload.commit(file.body.slice(upto..), &file.marks()).await?;
        Ok((committed, from))
    }

    /// The bytes of an object as they were before compression.
    pub async fn content(&self, key: &str) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let mut take = |piece: &[u8]| content.extend_from_slice(piece);
        let found = self.store.read_through(self.target(), key, &mut take).await.unwrap();
        found.then_some(content)
    }

    /// Asserts that the folder holds exactly this file, whole and with its marks.
    pub async fn assert_landed(&self, file: &File, told: &str) {
        let content = self.content(&file.key).await;
        assert!(content.as_deref() == Some(&file.body[..]), "{told}: other bytes than were sent");
        let ledger = self.store.ledger(self.target(), file.folder()).await.unwrap();
        let landed: Vec<_> = ledger.landed.iter().map(|entry| (&entry.blob, entry.marks.clone())).collect();
        assert_eq!(landed, [(&file.key, Some(file.marks()))], "{told}");
        assert_eq!(ledger.begun, [""; 0], "{told}");
    }
}

/// A file to land.
pub struct File {
    pub key: String,
    pub content: Content,
    pub body: Bytes,
    pub compression: Compression,
}

impl File {
    /// A file of `size` bytes. Files with different `etag`s have different bytes.
    pub fn new(key: &str, etag: &str, size: usize) -> Self {
        let mut seed = etag.bytes().fold(size as u64 + 1, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        let byte = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if seed >> 58 == 0 { b'\n' } else { b'a' + (seed >> 59) as u8 % 26 }
        };
        let compression = if Path::new(key).extension().is_some_and(|ending| ending == "gz") {
            Compression::Gzip
        } else {
            Compression::None
        };
        let body = (0..size).map(byte).collect::<Vec<u8>>().into();
        Self { key: key.to_owned(), content: Content::of_etag(key, etag), body, compression }
    }

    pub fn folder(&self) -> &str {
        self.key.split('/').next().unwrap()
    }

    pub fn marks(&self) -> Marks {
        let mut tally = Tally::default();
        tally.feed(&self.body);
        let issues = Issues { errors: 1, warnings: 2, information: 3 };
        Marks { source: "of this file".to_owned(), sum: tally.finish(), form: FileForm::Framed, issues }
    }

    /// Stores at most `at_most` parts, beginning at the offset `from`. Returns the offset after the last one.
    pub async fn parts<U: Upload>(
        &self,
        upload: &mut U,
        from: usize,
        at_most: usize,
    ) -> Result<usize, StorageFailure> {
        let mut tally = Tally::default();
        tally.feed(&self.body[..from]);
        let mut offset = from;
        for _ in 0..at_most {
            let size = upload.part_size(offset as u64).unwrap();
            if self.body.len() < offset + size {
                break;
            }
            let part = self.body.slice(offset..offset + size);
            tally.feed(&part);
            upload.part(part, &Checkpoint::after(self.content, &tally).unwrap()).await?;
            offset += size;
        }
        upload.settle().await?;
        assert_eq!(upload.stored(), offset as u64);
        Ok(offset)
    }
}
