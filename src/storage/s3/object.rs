//! Single objects: whether they exist, what their metadata say, and small ones whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusty_s3::Method;

use super::answer::Answer;
use super::bucket::Bucket;
use super::call::{Call, Right};
use super::failure;
use super::side::{Beside, Side, decode_marks};
use crate::core::landing::Marks;
use crate::core::ledger::StorageFailure;
use crate::ports::Committed;
use crate::storage::marks::{fields, read_marks};

/// What the names of the headers begin with that hold the metadata of an object.
const METADATA: &str = "x-amz-meta-fhirexport-";
/// The header that holds the id of the upload of an object with several parts.
pub(super) const UPLOAD_ID: &str = "x-amz-meta-fhirexport-upload";
/// The headers that hold the marks of an object with one part, by the fields of the marks.
const MARKS: [(&str, &str); 6] = [
    ("source", "x-amz-meta-fhirexport-source"),
    ("sha256", "x-amz-meta-fhirexport-sha256"),
    ("lines", "x-amz-meta-fhirexport-lines"),
    ("bytes", "x-amz-meta-fhirexport-bytes"),
    ("issues", "x-amz-meta-fhirexport-issues"),
    ("form", "x-amz-meta-fhirexport-form"),
];
/// The most bytes of marks.
pub(super) const LONGEST_MARKS: usize = 64 << 10;

/// Adds marks as metadata.
pub(super) fn marked(call: Call, marks: &Marks) -> Call {
    let values = BTreeMap::from(fields(marks));
    MARKS.iter().fold(call, |call, (field, header)| match values.get(field) {
        Some(value) => call.header(header, value),
        None => call,
    })
}

/// What the metadata of an object say of its origin.
pub(super) enum Origin {
    /// A landing wrote the object with one request.
    Whole(Marks),
    /// A landing wrote the object in parts, by the upload with this id.
    Parts(String),
    /// No landing wrote the object.
    Other,
}

impl Origin {
    fn of(answer: &Answer) -> Self {
        if let Some(id) = answer.header(UPLOAD_ID) {
            return Self::Parts(id.to_owned());
        }
        let marks = read_marks(|field| answer.header(&format!("{METADATA}{field}")));
        marks.map_or(Self::Other, Self::Whole)
    }
}

impl Bucket {
    /// The origin of an object; `None` if it does not exist.
    pub(super) async fn origin(&self, key: &str) -> Result<Option<Origin>, StorageFailure> {
        let answer = self.send(&Call::new(Method::Head, Right::Read, &self.key(key)?)).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(Some(Origin::of(&answer))),
            _ => Err(failure::refused(self, &answer, Right::Read)),
        }
    }

    /// The marks of an object; `None` if it does not exist, and no marks if no landing wrote it.
    pub(super) async fn marks(&self, key: &str) -> Result<Option<Option<Marks>>, StorageFailure> {
        Ok(match self.origin(key).await? {
            None => None,
            Some(Origin::Whole(marks)) => Some(Some(marks)),
            Some(Origin::Other) => Some(None),
            Some(Origin::Parts(id)) => {
                let beside = Beside::new(key, &id, Side::Marks).key();
                Some(self.whole(&beside, LONGEST_MARKS).await?.and_then(|bytes| decode_marks(&bytes)))
            }
        })
    }

    /// Reads a small object whole; `None` if it does not exist. Fails if it is larger than `max` bytes.
    pub(super) async fn whole(&self, key: &str, max: usize) -> Result<Option<Vec<u8>>, StorageFailure> {
        let too_large = || {
            StorageFailure::permanent(format!(
                "the file {key} in the bucket {} is larger than {max} bytes",
                self.name()
            ))
        };
        let call = Call::get(&self.key(key)?);
        let mut opened = match self.open(&call).await.map_err(|cause| failure::unanswered(self, &cause))? {
            Ok(opened) => opened,
            Err(answer) if answer.code() == Some("NoSuchKey") => return Ok(None),
            Err(answer) => return Err(failure::refused(self, &answer, Right::Read)),
        };
        let mut content = Vec::new();
        while let Some(piece) = opened.piece().await.map_err(|cause| failure::unanswered(self, &cause))? {
            content.extend_from_slice(&piece);
            if content.len() > max {
                return Err(too_large());
            }
        }
        Ok(Some(content))
    }

    /// Creates an object with one request, unless one exists. `call` is a PUT with the body and what goes with it.
    pub(super) async fn create(&self, call: Call) -> Result<Committed, StorageFailure> {
        let answer = self.send(&self.encrypted(call).header("if-none-match", "*")).await?;
        match answer.status {
            412 => Ok(Committed::AlreadyThere),
            _ if answer.is_success() => Ok(Committed::Now),
            _ => Err(failure::refused(self, &answer, Right::Write)),
        }
    }

    /// Writes an object of the operator's own, whether or not it exists.
    pub(super) async fn overwrite(&self, key: &str, body: impl Into<Bytes>) -> Result<(), StorageFailure> {
        let call = Call::new(Method::Put, Right::Write, &self.key(key)?).body(body);
        self.done(&self.encrypted(call)).await.map(drop)
    }

    /// Deletes an object. One that does not exist is a success.
    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageFailure> {
        let answer = self.send(&Call::new(Method::Delete, Right::Delete, &self.prefix(key))).await?;
        if answer.is_success() || answer.code() == Some("NoSuchKey") {
            return Ok(());
        }
        Err(failure::refused(self, &answer, Right::Delete))
    }
}
