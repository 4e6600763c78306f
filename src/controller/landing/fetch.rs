//! One fetch of a file: cuts its bytes into the parts of an upload, and computes its sums.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::StreamExt;

use super::super::runs::Part;
use super::super::world::World;
use crate::api::FhirServer;
use crate::core::landing::{
    Checkpoint, Content, FileForm, FileKind, FormReader, LandFile, LandPlan, Landed, Marks, OutcomeReader,
    Sum, Tally,
};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::wire::{FileHead, Resume};
use crate::ports::{BrokenOff, Committed, ObjectStore, Pieces, Target, Upload};

/// The beginning, without blanks, of a refusal that a server sends with status 200 in place of data.
const REFUSAL: &[u8] = br#"{"resourceType":"OperationOutcome""#;
/// The number of bytes, blanks left out, that are kept of a file to recognise a refusal.
const BEGINNING: usize = 64;

/// The upload type of a world's store.
type UploadOf<W> = <<W as World>::Objects as ObjectStore>::Upload;

/// A file as far as it was read.
// Each flag is independent of the others.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Fetch<W: World> {
    content: Content,
    etag: Option<String>,
    resumable: bool,
    /// Whether the end of the current body is marked, so that a body that is cut off is noticed.
    framed: bool,
    form: FormReader,
    /// Whether to read the file to its end even if its first line has another type than it should have.
    any_type: bool,
    /// Whether the fetch cannot be resumed only because the server compressed the body.
    compressed: bool,
    /// `None` after a part could not be stored.
    upload: Option<UploadOf<W>>,
    /// Bytes that were read and are not in a part yet.
    rest: Part,
    /// The size of the part that `rest` becomes, unless it is the last; `None` if the object can hold no other part.
    part: Option<usize>,
    /// The sums over all bytes that were read.
    tally: Tally,
    /// How many bytes of the parts are known to be stored.
    stored: u64,
    /// How many of the last bytes to request again: one, after the server said that the file has no further bytes.
    overlap: usize,
    outcomes: Option<OutcomeReader>,
    /// The first bytes that are not blank, at most [`BEGINNING`].
    beginning: Vec<u8>,
    /// Whether the file may hold OperationOutcomes.
    of_outcomes: bool,
}

/// How reading the body of a download ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Poured {
    /// The body was read to its end.
    Whole,
    /// The body broke off before its end.
    Broken,
    /// The body could not be decompressed.
    Undecodable,
    /// The first line of the file is of another type than it should be.
    OtherType,
    /// The body holds more bytes than an object can.
    TooLong,
}

/// A file that was read to its end and is not committed yet.
pub(super) struct Read<W: World> {
    upload: UploadOf<W>,
    /// The number of bytes that are already counted as landed.
    stored: u64,
    last: Bytes,
    sum: Sum,
    form: FileForm,
    outcomes: OutcomeReader,
}

impl<W: World> Fetch<W> {
    /// Begins a fetch at the first byte. If the server does not identify the bytes, `chance` distinguishes
    /// this fetch from all others. With `any_type`, the type of the first line does not end the fetch, and no
    /// other process can continue it.
    pub(super) fn anew(
        world: &W,
        server: &Arc<FhirServer>,
        plan: &LandPlan,
        file: &LandFile,
        head: &FileHead,
        chance: (f64, f64),
        any_type: bool,
    ) -> Self {
        let resumable = head.resumable && !any_type;
        let content = match &head.etag {
            Some(etag) if resumable => Content::of_etag(&file.source, etag),
            _ => Content::of_one_fetch(&file.source, chance.0, chance.1),
        };
        let target = Target::new(server, &plan.container);
        let upload = world.objects().begin(target, &file.blob, content, plan.compression);
        Self {
            content,
            etag: head.etag.clone(),
            resumable,
            any_type,
            framed: head.framed,
            form: FormReader::new(plan.type_of(file)),
            compressed: head.resumable_as_it_is && !head.resumable,
            part: upload.part_size(0),
            upload: Some(upload),
            rest: Part::default(),
            tally: Tally::default(),
            stored: 0,
            overlap: 0,
            outcomes: (file.kind == FileKind::Error).then(OutcomeReader::default),
            beginning: Vec::new(),
            of_outcomes: file.kind == FileKind::Error || file.is_of("OperationOutcome"),
        }
    }

    /// Continues after the parts that an earlier fetch stored; `None` if there are none. Error files are
    /// small and are read from the beginning, because the checkpoint does not hold their texts.
    pub(super) async fn resumed(
        world: &W,
        server: &Arc<FhirServer>,
        plan: &LandPlan,
        file: &LandFile,
    ) -> Result<Option<Self>, StorageFailure> {
        if file.kind == FileKind::Error {
            return Ok(None);
        }
        let target = Target::new(server, &plan.container);
        let Some((upload, checkpoint)) = world.objects().resume(target, &file.blob, plan.compression).await?
        else {
            return Ok(None);
        };
        Ok(checkpoint.tally().map(|tally| Self {
            content: checkpoint.content(),
            etag: None,
            resumable: true,
            any_type: false,
            framed: false,
            // A fetch of another type is not resumable, so the stored parts are of the right type.
            form: FormReader::default(),
            compressed: false,
            part: upload.part_size(tally.bytes()),
            upload: Some(upload),
            rest: Part::default(),
            stored: tally.bytes(),
            overlap: 0,
            tally,
            outcomes: None,
            beginning: b"{".to_vec(),
            of_outcomes: true,
        }))
    }

    /// The number of bytes that were read so far.
    pub(super) fn offset(&self) -> u64 {
        self.tally.bytes()
    }

    /// The number of stored bytes that no later fetch of this file has to read again.
    pub(super) fn kept(&self) -> u64 {
        if self.resumable { self.stored } else { 0 }
    }

    /// Where to continue this fetch; `None` if it cannot be continued or has read no bytes.
    pub(super) fn resume(&self) -> Option<Resume> {
        (self.resumable && self.offset() > 0).then(|| Resume { offset: self.next(), etag: self.etag.clone() })
    }

    /// The offset of the first byte to request.
    fn next(&self) -> u64 {
        self.offset().saturating_sub(self.overlap as u64)
    }

    /// Handles an answer that the file has no bytes after those that were read. If it is still the same file,
    /// it is complete: the next request asks for its last byte again to prove that. Returns false if that was
    /// already tried.
    pub(super) fn ask_for_last_byte(&mut self) -> bool {
        std::mem::replace(&mut self.overlap, 1) == 0
    }

    /// Whether the fetch could be resumed if the server did not compress the body.
    pub(super) fn better_as_it_is(&self) -> bool {
        self.compressed
    }

    /// Whether a body continues the same bytes exactly where this fetch ends. If so, the fetch takes over its
    /// ETag and its framing.
    pub(super) fn fits(&mut self, file: &LandFile, head: &FileHead) -> bool {
        let same =
            head.etag.as_ref().is_some_and(|etag| Content::of_etag(&file.source, etag) == self.content);
        let fits = same && head.offset == self.next();
        if fits {
            self.etag.clone_from(&head.etag);
            self.framed = head.framed;
        }
        fits
    }

    /// Whether the first bytes are JSON and not a server's refusal in place of data.
    pub(super) fn begins_well(&self) -> bool {
        let beginning = self.beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.beginning);
        let json = beginning.first().is_none_or(|first| *first == b'{' || *first == 0xEF);
        json && (self.of_outcomes || !beginning.starts_with(REFUSAL))
    }

    /// Reads a body to its end. While parts are stored, the next ones are read if there is memory for both.
    pub(super) async fn pour(&mut self, world: &W, mut pieces: Pieces) -> Result<Poured, StorageFailure> {
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(BrokenOff::Transfer) => return Ok(Poured::Broken),
                Err(BrokenOff::Decoding) => return Ok(Poured::Undecodable),
            };
            if let Some(poured) = self.take_in(world, piece).await? {
                return Ok(poured);
            }
        }
        Ok(if self.overlap > 0 { Poured::Broken } else { Poured::Whole })
    }

    /// Takes in the next bytes of the body. Returns how reading ends if no further bytes should be read.
    async fn take_in(&mut self, world: &W, mut piece: Bytes) -> Result<Option<Poured>, StorageFailure> {
        let again = piece.split_to(piece.len().min(self.overlap));
        self.overlap -= again.len();
        self.form.feed_again(&again);
        self.see(&piece);
        if self.form.is_of_another_type() && !self.any_type {
            return Ok((!piece.is_empty()).then_some(Poured::OtherType));
        }
        if !self.begins_well() {
            return Ok((!piece.is_empty()).then_some(Poured::Broken));
        }
        while !piece.is_empty() {
            let Some(size) = self.part else { return Ok(Some(Poured::TooLong)) };
            self.fill(world, &mut piece, size);
            if self.rest.len() == size {
                self.store(world).await?;
            }
        }
        Ok(None)
    }

    /// Hands the full part to the store. If there is no memory to read ahead, waits until the part is stored.
    async fn store(&mut self, world: &W) -> Result<(), StorageFailure> {
        let body = self.rest.take();
        let after = Checkpoint::after(self.content, &self.tally).ok_or_else(not_resumable)?;
        let mut upload = self.upload.take().ok_or_else(over)?;
        let taken = match world.runs().part_memory().hold(body) {
            Ok(held) => upload.part(held, &after).await,
            Err(body) => match upload.part(body, &after).await {
                Ok(()) => upload.settle().await,
                failed => failed,
            },
        };
        // Parts that were stored before a failure still count.
        self.note_stored(world, &upload);
        taken?;
        self.part = upload.part_size(self.tally.bytes());
        self.upload = Some(upload);
        Ok(())
    }

    /// Waits until the parts that were handed over are stored. If that fails, another fetch reads them again.
    pub(super) async fn settle(&mut self, world: &W) {
        if let Some(mut upload) = self.upload.take() {
            let settled = upload.settle().await;
            self.note_stored(world, &upload);
            self.upload = settled.is_ok().then_some(upload);
        }
    }

    fn note_stored(&mut self, world: &W, upload: &UploadOf<W>) {
        // An upload that failed may no longer know what it stored.
        let stored = upload.stored().max(self.stored);
        world.note_landed(0, stored - self.stored);
        self.stored = stored;
    }

    /// Moves bytes of a piece into the next part, which holds `size` bytes. They are hashed and counted now, while the
    /// processor's caches hold them.
    fn fill(&mut self, world: &W, piece: &mut Bytes, size: usize) {
        let part = piece.split_to(piece.len().min(size - self.rest.len()));
        self.tally.feed(&part);
        self.rest.push(&part, size, world.runs().part_memory());
    }

    fn see(&mut self, piece: &Bytes) {
        let room = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend(piece.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(room));
        self.form.feed(piece);
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.feed(piece);
        }
    }

    /// Ends a fetch whose body was read to its end; `None` if a part of it could not be stored.
    pub(super) fn finish(mut self) -> Option<Read<W>> {
        let last = self.rest.take();
        let outcomes = self.outcomes.unwrap_or_default();
        let form = self.form.finish(self.framed);
        Some(Read {
            upload: self.upload?,
            stored: self.stored,
            last,
            sum: self.tally.finish(),
            form,
            outcomes,
        })
    }
}

impl<W: World> Read<W> {
    /// The sums of the whole file.
    pub(super) fn sum(&self) -> &Sum {
        &self.sum
    }

    /// The form of the whole file.
    pub(super) fn form(&self) -> FileForm {
        self.form
    }

    /// Commits the file. The marks that are returned are those of this file, not of an object that was there already.
    pub(super) async fn commit(
        self,
        world: &W,
        source: &str,
    ) -> Result<(Committed, Marks, Landed), StorageFailure> {
        let (issues, words) = self.outcomes.finish();
        let marks = Marks { source: source.to_owned(), sum: self.sum, form: self.form, issues };
        let committed = self.upload.commit(self.last, &marks).await?;
        world.note_landed(0, marks.sum.bytes.saturating_sub(self.stored));
        let landed = Landed { sum: marks.sum.clone(), form: marks.form, issues, words };
        Ok((committed, marks, landed))
    }
}

/// The failure of an upload that is used after a part of it could not be stored.
fn over() -> StorageFailure {
    StorageFailure::transient("an upload ended before; it is begun again")
}

/// The failure for a store whose part size is not a multiple of 64 bytes. No store of the operator has such a size.
fn not_resumable() -> StorageFailure {
    StorageFailure {
        kind: StorageFailureKind::Permanent,
        message: "the store cuts parts that cannot be resumed; report this as a defect of the operator"
            .to_owned(),
    }
}
