//! Uploads: parts, of which the store verifies each, and one commit; or one request for a file that fits into one.

use bytes::Bytes;
use rusty_s3::Method;

use super::bucket::Bucket;
use super::call::{Call, Right};
use super::cut;
use super::lane::{Lane, Object, State, begun_anew};
use super::multipart::Joined;
use super::object::{LONGEST_MARKS, Origin, marked};
use super::side::{Beside, Progress, Side, all_beside, encode_marks};
use crate::core::landing::{Checkpoint, Content, Marks};
use crate::core::ledger::StorageFailure;
use crate::ports::{Committed, Upload};
use crate::storage::at_rest;

/// The most bytes of an object that says how far an upload is.
const LONGEST_PROGRESS: usize = cut::SMALLEST + (64 << 10);

/// An upload of one object into an S3 store.
pub struct S3Upload {
    object: Object,
    content: Content,
    /// The number of bytes in all parts, before compression, those on their way included.
    taken: u64,
    work: Work,
}

enum Work {
    /// No part was handed over so far.
    NotBegun(Box<State>),
    Going(Lane),
    /// A part failed, or is not known to have ended.
    Over,
}

impl S3Upload {
    /// An upload from the first byte. Sends nothing yet.
    pub(super) fn begin(object: Object, content: Content) -> Self {
        let state = Box::new(State::fresh(object.clone()));
        Self { object, content, taken: 0, work: Work::NotBegun(state) }
    }

    /// Continues the upload of another process that got farthest, if one can be continued.
    pub(super) async fn resume(object: Object) -> Result<Option<(Self, Checkpoint)>, StorageFailure> {
        let found = {
            let object = &object;
            object
                .storage
                .with_bucket(&object.server, &object.container, |bucket| async move {
                    farthest(&bucket, object).await
                })
                .await?
        };
        Ok(found.map(|(state, checkpoint)| {
            let (content, taken) = (checkpoint.content(), state.plain);
            (Self { object, content, taken, work: Work::NotBegun(Box::new(state)) }, checkpoint)
        }))
    }

    /// The work, which begins with the first part.
    fn lane(&mut self) -> Result<&mut Lane, StorageFailure> {
        if let Work::NotBegun(_) = self.work
            && let Work::NotBegun(state) = std::mem::replace(&mut self.work, Work::Over)
        {
            self.work = Work::Going(Lane::begin(*state));
        }
        match &mut self.work {
            Work::Going(lane) => Ok(lane),
            Work::NotBegun(_) | Work::Over => Err(begun_anew(&self.object.key)),
        }
    }
}

impl Upload for S3Upload {
    fn part_size(&self, offset: u64) -> Option<usize> {
        cut::part_size(offset)
    }

    async fn part(&mut self, body: Bytes, after: &Checkpoint) -> Result<(), StorageFailure> {
        let taken = self.taken + body.len() as u64;
        if after.content() != self.content || after.bytes() != taken {
            let message = format!("a part of {} is not the next one of its upload", self.object.key);
            return Err(StorageFailure::permanent(message));
        }
        let handed_over = self.lane()?.part(body, after).await;
        if handed_over.is_err() {
            self.work = Work::Over;
        }
        self.taken = taken;
        handed_over
    }

    async fn settle(&mut self) -> Result<(), StorageFailure> {
        match &mut self.work {
            Work::NotBegun(_) => Ok(()),
            Work::Going(lane) => lane.settle().await,
            Work::Over => Err(begun_anew(&self.object.key)),
        }
    }

    fn stored(&self) -> u64 {
        match &self.work {
            Work::NotBegun(state) => state.plain,
            Work::Going(lane) => lane.stored(),
            Work::Over => 0,
        }
    }

    async fn commit(self, last: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        let mut state = match self.work {
            Work::NotBegun(state) => *state,
            Work::Going(lane) => lane.end().await?,
            Work::Over => return Err(begun_anew(&self.object.key)),
        };
        let packed = at_rest::pack(last, self.object.compression).await?;
        let rest = state.followed_by(packed);
        if state.upload.is_none() {
            return put(&state, rest, marks).await;
        }
        if !rest.is_empty() && !state.ended {
            state.store(rest).await?;
        }
        join(&state, marks).await
    }
}

/// Stores a whole object with one request, unless one exists.
async fn put(state: &State, body: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
    let object = &state.object;
    object.storage.prove(&object.server, &object.container).await?;
    let noted = state.noted;
    let with_body = |bucket: Bucket| {
        let body = body.clone();
        async move {
            let call = Call::new(Method::Put, Right::Write, &bucket.key(&object.key)?);
            let call = marked(call.header("content-type", object.content_type()).body(body), marks);
            let committed = bucket.create(call).await?;
            if noted && committed == Committed::Now {
                tidy(&bucket, &object.key, None).await;
            }
            Ok(committed)
        }
    };
    object.storage.with_bucket(&object.server, &object.container, with_body).await
}

/// Creates an object from the parts of an upload, unless one exists.
async fn join(state: &State, marks: &Marks) -> Result<Committed, StorageFailure> {
    let object = &state.object;
    object
        .storage
        .with_bucket(&object.server, &object.container, |bucket| async move {
            let (key, id) = (object.key.as_str(), state.id.as_str());
            if let (Some(upload), false) = (&state.upload, state.ended) {
                let promised = promise(&bucket, key, id, marks).await?;
                let committed = match promised {
                    Promised::Now => Some(Committed::Now),
                    // Whoever stored the marks may put the parts together at the same time: stores let both succeed.
                    Promised::Before => Some(Committed::AlreadyThere),
                    Promised::Otherwise => None,
                };
                match committed {
                    Some(committed) => {
                        if let Joined::Now = bucket.join(key, upload, &state.parts).await? {
                            tidy(&bucket, key, Some(id)).await;
                            return Ok(committed);
                        }
                    }
                    None => bucket.abort(key, upload).await?,
                }
            }
            // Another writer was first, or the answer to an earlier request of this one was lost.
            let origin = bucket.origin(key).await?;
            let winner = match &origin {
                Some(Origin::Parts(winner)) => Some(winner.as_str()),
                Some(Origin::Whole(_) | Origin::Other) | None => None,
            };
            if origin.is_none() {
                // Another writer may be putting its parts together now: its marks must stay.
                return Err(begun_anew(key));
            }
            tidy(&bucket, key, winner).await;
            Ok(Committed::AlreadyThere)
        })
        .await
}

/// Whether the marks of an upload are stored.
enum Promised {
    /// This process has stored them.
    Now,
    /// Another process that continued the same upload has stored the same marks.
    Before,
    /// Another process has stored other marks: the object would have marks that are not its own.
    Otherwise,
}

/// Stores the marks of an object before the object, which is never without them.
async fn promise(bucket: &Bucket, key: &str, id: &str, marks: &Marks) -> Result<Promised, StorageFailure> {
    let (beside, body) = (Beside::new(key, id, Side::Marks).key(), encode_marks(marks));
    let call = Call::new(Method::Put, Right::Write, &bucket.key(&beside)?).body(body.clone());
    match bucket.create(call).await? {
        Committed::Now => Ok(Promised::Now),
        Committed::AlreadyThere => match bucket.whole(&beside, LONGEST_MARKS).await? {
            Some(there) if there == body => Ok(Promised::Before),
            Some(_) | None => Ok(Promised::Otherwise),
        },
    }
}

/// Ends all other uploads of an object that exists, since none of them can become it any more, and deletes what lies
/// beside it, except for the marks of the upload `winner`. What cannot be deleted stays until the folder is deleted.
async fn tidy(bucket: &Bucket, key: &str, winner: Option<&str>) {
    for (other, upload) in bucket.uploads(key).await.unwrap_or_default() {
        if other == key {
            let _ = bucket.abort(key, &upload).await;
        }
    }
    for (beside, _) in bucket.list(&all_beside(key)).await.unwrap_or_default() {
        let Some(there) = Beside::parse(&beside) else { continue };
        let needed = there.side == Side::Marks && winner == Some(there.id);
        if there.object() == key && !needed {
            let _ = bucket.delete(&beside).await;
        }
    }
}

/// The upload of an object that got farthest, unless the object exists.
async fn farthest(bucket: &Bucket, object: &Object) -> Result<Option<(State, Checkpoint)>, StorageFailure> {
    let key = object.key.as_str();
    if bucket.origin(key).await?.is_some() {
        return Ok(None);
    }
    let mut best: Option<(State, Checkpoint)> = None;
    for (beside, _) in bucket.list(&all_beside(key)).await? {
        let Some(there) = Beside::parse(&beside) else { continue };
        if there.object() != key || there.side != Side::Upload {
            continue;
        }
        let noted = bucket.whole(&beside, LONGEST_PROGRESS).await?;
        let progress = noted.and_then(|noted| Progress::decode(&noted));
        let Some(progress) = progress.filter(|progress| progress.compression == object.compression) else {
            continue;
        };
        let checkpoint = progress.checkpoint.clone();
        if best.as_ref().is_some_and(|(_, other)| other.bytes() >= checkpoint.bytes()) {
            continue;
        }
        let parts = match &progress.upload {
            Some(upload) => bucket.parts(key, upload, progress.parts).await?,
            None => Vec::new(),
        };
        if let Some(state) = State::resumed(object.clone(), there.id, progress, parts) {
            best = Some((state, checkpoint));
        }
    }
    Ok(best)
}
