//! Reads objects, and stores small ones.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use tokio::io::AsyncReadExt;

use super::blocking::blocking;
use super::open::Object;
use super::place::Place;
use super::side::{self, Names, UPLOADS};
use super::{Folder, FolderStorage, failure, listing};
use crate::core::ledger::{Checked, StorageFailure, StorageFailureKind, VerifyPlan};
use crate::core::lines::LineCounter;
use crate::core::manifest::sha256_hex;
use crate::core::stored_manifest::Retrieved;
use crate::ports::Target;
use crate::storage::at_rest::{Unpack, read, shorter, was_there};
use crate::storage::check::{chosen, looked_at, sizes};

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;

impl Object {
    /// Opens the object for reading; `None` if it does not exist. Only a file is an object.
    fn file(&self) -> Result<Option<(File, u64)>, StorageFailure> {
        let Some(place) = self.place()? else { return Ok(None) };
        let opened = place.read(self.name()?).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) if metadata.is_file() => Ok(Some((file, metadata.len()))),
            Ok(_) => Ok(None),
            Err(error) if failure::is_missing(&error) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Reads a small object whole.
    pub(super) fn read(&self, max: usize) -> Result<Option<Vec<u8>>, StorageFailure> {
        let Some((file, size)) = self.file()? else { return Ok(None) };
        let too_large = || {
            StorageFailure::permanent(format!(
                "the file {}/{} is larger than {max} bytes",
                self.container, self.key
            ))
        };
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        if size > limit {
            return Err(too_large());
        }
        let mut content = Vec::new();
        // The file may grow while it is read.
        file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(|error| self.failure(&error))?;
        if content.len() > max { Err(too_large()) } else { Ok(Some(content)) }
    }

    /// Stores a small object unless one exists. An object with the same content is a success.
    pub(super) fn store(&self, body: &[u8]) -> Result<String, StorageFailure> {
        self.storage.tenure.look();
        let place = self.place_made()?;
        let name = self.name()?;
        match put(&place, name, body) {
            Ok(()) => {}
            Err(error) if failure::is_there(&error) => match self.read(body.len()) {
                Ok(Some(there)) if there == body => {}
                Err(failure) if failure.kind != StorageFailureKind::Permanent => return Err(failure),
                _ => {
                    return Err(StorageFailure::permanent(format!(
                        "the file {}/{} is there already with other content, and is not overwritten: move it away",
                        self.container, self.key
                    )));
                }
            },
            Err(error) => return Err(self.failure(&error)),
        }
        self.sync_way()?;
        Ok(sha256_hex(body))
    }
}

/// Creates a durable file atomically. Fails if the name is taken.
fn put(place: &Place, name: &str, body: &[u8]) -> io::Result<()> {
    let uploads = place.enter_or_make(UPLOADS)?;
    let names = Names::fresh(name);
    let made = side::draft(&uploads, &names.draft, body)
        .and_then(|()| uploads.link(&names.draft, place, name))
        .and_then(|()| place.sync());
    uploads.remove(&names.draft)?;
    made
}

impl Folder {
    /// Reads an object in pieces, after its first `from` bytes, and returns its size; `None` if it does not exist.
    /// Nothing is read of an object that is shorter.
    async fn pieces(
        &self,
        object: Object,
        from: u64,
        mut take: impl FnMut(&[u8]) + Send,
    ) -> Result<Option<u64>, StorageFailure> {
        let opened = {
            let object = object.clone();
            blocking(move || object.file()).await?
        };
        let Some((mut file, size)) = opened else { return Ok(None) };
        file.seek(SeekFrom::Start(from)).map_err(|error| object.failure(&error))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).await.map_err(|error| object.failure(&error))? {
                0 => return Ok(Some(size)),
                read => take(piece.get(..read).unwrap_or_default()),
            }
        }
    }

    /// See [`ObjectStore::read_through`](crate::ports::ObjectStore::read_through).
    pub(super) async fn through(
        &self,
        object: Object,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        was_there(self.unpacked(&object, take).await?)
    }

    /// Reads an object from its beginning, decompressed, and passes each piece to `take` once.
    async fn unpacked(
        &self,
        object: &Object,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let mut unpack = Unpack::of(&object.key, take);
        let mut decoded = Ok(());
        let found = self
            .pieces(object.clone(), 0, |piece| {
                if decoded.is_ok() {
                    decoded = unpack.take(piece);
                }
            })
            .await?;
        if found.is_none() {
            return Ok(Retrieved::Missing);
        }
        let decoded = decoded.and_then(|()| unpack.finish());
        Ok(read(&object.container, &object.key, decoded.is_ok()))
    }

    /// See [`ObjectStore::verify`](crate::ports::ObjectStore::verify).
    pub(super) async fn check(
        &self,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        let (storage, container, prefix) = (self.clone(), plan.container.clone(), plan.prefix.clone());
        let found = blocking(move || {
            let mut found = Vec::new();
            storage.objects_of(&container, &prefix, |key, size| found.push((key, size)))?;
            Ok(found)
        })
        .await?;
        let sizes = sizes(plan, found);
        let mut checked: Vec<Checked> = sizes.iter().map(|size| looked_at(*size)).collect();
        let mut files_read = checked.iter().filter(|file| file.lines.is_some()).count() as u64;
        for (index, key, _) in chosen(plan, &sizes) {
            let mut counter = LineCounter::default();
            let object = Object { storage: self.clone(), container: plan.container.clone(), key };
            let size = self.pieces(object, 0, |piece| counter.feed(piece)).await?;
            if let Some(file) = checked.get_mut(index) {
                *file = Checked { bytes: size, lines: size.map(|_| counter.finish()) };
            }
            files_read += 1;
            read(files_read);
        }
        Ok(checked)
    }

    /// Lists the first level of a container, or of the root, and checks that it can be written to.
    pub(super) fn look(&self, container: Option<&str>) -> Result<(), StorageFailure> {
        let (place, what) = match container {
            Some(container) => (self.container(container)?, container),
            None => (self.root.open()?, "the store"),
        };
        let looked = listing::objects(&place, |_, _| ()).and_then(|()| place.may_write());
        looked.map_err(|error| failure::of(what, &error))
    }
}

impl FolderStorage {
    /// Reads a file from its beginning, decompressed, and passes each piece to `take` once. Fails if the store does not
    /// give the file; what is wrong with the file itself is a result.
    pub async fn read_whole(
        &self,
        target: Target<'_>,
        key: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let (folder, object) = (self.of(target.server), self.object(target, key));
        folder.unpacked(&object, take).await
    }

    /// Reads the bytes of a file as they are stored, after the first `from`, and passes each piece to `take` once.
    /// Fails if the store does not give the file. A file that is shorter than `from` bytes is damaged.
    pub async fn read_rest(
        &self,
        target: Target<'_>,
        key: &str,
        from: u64,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Retrieved, StorageFailure> {
        let folder = self.of(target.server);
        Ok(match folder.pieces(self.object(target, key), from, take).await? {
            None => Retrieved::Missing,
            Some(size) if size < from => shorter(target.container, key),
            Some(_) => Retrieved::Whole,
        })
    }
}
