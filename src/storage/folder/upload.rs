//! Uploads into a folder: a part file, locked by the process that writes it, and a checkpoint beside it.
//!
//! A checkpoint becomes visible only after the bytes that it covers are durable. A part file belongs to one upload of
//! one process, so parts of two contents, or of two writers, never meet (invariant parts-of-one-fetch).

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;

use super::blocking::blocking;
use super::commit::{self, Sealed};
use super::failure;
use super::open::{Object, Open, claim};
use super::place::Place;
use super::side::{self, Names, Progress, UPLOADS};
use crate::api::Compression;
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::StorageFailure;
use crate::ports::{Committed, Upload};
use crate::storage::at_rest;

/// An upload of one object into a folder.
pub struct FolderUpload {
    object: Object,
    content: Content,
    compression: Compression,
    state: State,
}

enum State {
    NotBegun,
    Open(Box<Open>),
    /// A part or a commit failed, or is not known to have ended.
    Over,
}

impl FolderUpload {
    /// An upload from the first byte. Writes nothing yet.
    pub(super) fn begin(object: Object, content: Content, compression: Compression) -> Self {
        Self { object, content, compression, state: State::NotBegun }
    }

    /// Continues the upload of a process that has ended, if one can be continued. Removes what other
    /// ended uploads left behind.
    pub(super) fn resume(
        object: Object,
        compression: Compression,
    ) -> Result<Option<(Self, Checkpoint)>, StorageFailure> {
        let found = resumable(&object)?;
        Ok(found.map(|(open, checkpoint)| {
            let begun = Self::begin(object, checkpoint.content(), compression);
            (Self { state: State::Open(Box::new(open)), ..begun }, checkpoint)
        }))
    }

    fn take(&mut self) -> Result<Option<Box<Open>>, StorageFailure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::NotBegun => Ok(None),
            State::Open(open) => Ok(Some(open)),
            State::Over => Err(StorageFailure::transient(format!(
                "an upload of {} ended before; it is begun again",
                self.object.key
            ))),
        }
    }
}

impl Upload for FolderUpload {
    fn part_size(&self, _: u64) -> Option<usize> {
        Some(self.object.storage.part_size)
    }

    async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        let open = self.take()?;
        let plain = open.as_ref().map_or(0, |open| open.plain) + body.len() as u64;
        if after.content() != self.content || after.bytes() != plain {
            let message = format!("a part of {} is not the next one of its upload", self.object.key);
            return Err(StorageFailure::permanent(message));
        }
        let body = at_rest::pack(body, self.compression).await?;
        let (object, after) = (self.object.clone(), after.clone());
        let open = blocking(move || {
            object.storage.tenure.look();
            let mut open = open.map_or_else(|| object.open().map(Box::new), Ok)?;
            let written = open.append(&body).and_then(|()| open.note(&after));
            written.map_err(|error| object.failure(&error))?;
            open.plain = plain;
            Ok(open)
        })
        .await?;
        self.state = State::Open(open);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        // A part is written before `part` returns.
        Ok(())
    }

    fn stored(&self) -> u64 {
        match &self.state {
            State::Open(open) => open.plain,
            State::NotBegun | State::Over => 0,
        }
    }

    async fn commit(mut self, last: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        let open = self.take()?;
        let last = at_rest::pack(last, self.compression).await?;
        let (object, marks) = (self.object.clone(), marks.clone());
        let sealed = blocking(move || {
            object.storage.tenure.look();
            let mut open = open.map_or_else(|| object.open().map(Box::new), Ok)?;
            let sealed = open.append(&last).and_then(|()| Sealed::new(*open, &marks));
            sealed.map_err(|error| object.failure(&error))
        })
        .await?;
        let object = self.object.clone();
        let (sealed, committed) = blocking(move || {
            object.storage.tenure.look();
            let committed = sealed.publish(&object)?;
            Ok((sealed, committed))
        })
        .await?;
        let object = self.object;
        blocking(move || {
            object.storage.tenure.look();
            sealed.tidy(object.name()?).map_err(|error| object.failure(&error))
        })
        .await?;
        Ok(committed)
    }
}

/// Finds the upload of an object that got farthest, among those whose process has ended.
fn resumable(object: &Object) -> Result<Option<(Open, Checkpoint)>, StorageFailure> {
    let Some(place) = object.place()? else { return Ok(None) };
    let name = object.name()?;
    let failure = |error: io::Error| object.failure(&error);
    // An upload that marks name may become the object, and must not be touched any more.
    if place.stat(name).map_err(failure)?.is_some() || commit::is_recorded(&place, name).map_err(failure)? {
        return Ok(None);
    }
    let uploads = match place.enter(UPLOADS) {
        Ok(uploads) => uploads,
        Err(error) if failure::is_missing(&error) => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    let mut best: Option<(Names, File, u64, Checkpoint)> = None;
    let mut left = Vec::new();
    for entry in uploads.list().map_err(failure)? {
        let Some(id) = side::id_of_part(name, &entry.name) else { continue };
        let names = Names::of(name, id);
        let Some(file) = claim(&uploads, &names.part).map_err(failure)? else { continue };
        match progress(&uploads, &names, &file).map_err(failure)? {
            Some((stored, checkpoint))
                if best.as_ref().is_none_or(|(.., other)| other.bytes() < checkpoint.bytes()) =>
            {
                left.extend(
                    best.replace((names, file, stored, checkpoint)).map(|(names, file, ..)| (names, file)),
                );
            }
            _ => left.push((names, file)),
        }
    }
    object.storage.tenure.look();
    for (names, file) in left {
        commit::forget(&uploads, &names).map_err(failure)?;
        drop(file);
    }
    let Some((names, file, stored, checkpoint)) = best else { return Ok(None) };
    file.set_len(stored).map_err(failure)?;
    let plain = checkpoint.bytes();
    Ok(Some((Open { place, uploads, file, names, plain, stored }, checkpoint)))
}

/// The state of a claimed upload; `None` if it cannot be continued. The state is read after the lock is held,
/// since the process of the upload may have continued until then.
fn progress(uploads: &Place, names: &Names, file: &File) -> io::Result<Option<(u64, Checkpoint)>> {
    let metadata = file.metadata()?;
    let Some(progress) = side::read::<Progress>(uploads, &names.checkpoint)? else { return Ok(None) };
    let whole = metadata.nlink() == 1 && metadata.len() >= progress.stored;
    Ok(progress.checkpoint().filter(|_| whole).map(|checkpoint| (progress.stored, checkpoint)))
}
