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
use crate::storage::key;
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

/// Whether the store says that it has written an object: the page of a gateway names no tag.
fn is_written(answer: &Answer) -> bool {
    answer.is_success() && answer.header("etag").is_some()
}

/// A key without the slash at its end.
fn without_slash(key: &str) -> &str {
    key.strip_suffix('/').unwrap_or(key)
}

/// Whether a listed key is one that the operator may ask for: it means no other place than it says. That of an empty
/// object which stands for a folder is one, too.
pub(super) fn is_plain(key: &str) -> bool {
    key::components(without_slash(key)).is_some()
}

/// One version of an object.
pub(super) struct Version {
    /// The size in bytes.
    pub(super) size: u64,
    /// The tag of the version, if the store names one.
    pub(super) etag: Option<String>,
}

impl Bucket {
    /// What the store says of an object without sending it; `None` if it does not exist.
    async fn head(&self, key: &str) -> Result<Option<Answer>, StorageFailure> {
        let answer = self.send(&Call::new(Method::Head, Right::Read, &self.key(key)?)).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(Some(answer)),
            // The answer to HEAD has no body, so it names no code.
            400 if answer.code().is_none() => Err(failure::ended(self, &answer)),
            _ => Err(failure::refused(self, &answer, Right::Read)),
        }
    }

    /// The origin of an object; `None` if it does not exist.
    pub(super) async fn origin(&self, key: &str) -> Result<Option<Origin>, StorageFailure> {
        Ok(self.head(key).await?.map(|answer| Origin::of(&answer)))
    }

    /// The version of an object that is there now; `None` if it does not exist.
    pub(super) async fn version(&self, key: &str) -> Result<Option<Version>, StorageFailure> {
        let Some(answer) = self.head(key).await? else { return Ok(None) };
        let size = answer.header("content-length").and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| failure::not_of_s3(self))?;
        Ok(Some(Version { size, etag: answer.header("etag").map(str::to_owned) }))
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
        let answer = self.send_for(&call, max).await?.ok_or_else(too_large)?;
        match answer.status {
            200..=299 => Ok(Some(answer.body)),
            _ if answer.code() == Some("NoSuchKey") => Ok(None),
            _ => Err(failure::refused(self, &answer, Right::Read)),
        }
    }

    /// Creates an object with one request, unless one exists. `call` is a PUT with the body and what goes with it.
    pub(super) async fn create(&self, call: Call) -> Result<Committed, StorageFailure> {
        let answer = self.send(&self.encrypted(call).header("if-none-match", "*")).await?;
        match answer.status {
            412 => Ok(Committed::AlreadyThere),
            _ if is_written(&answer) => Ok(Committed::Now),
            _ if answer.is_success() => Err(failure::untold(self)),
            _ => Err(failure::refused(self, &answer, Right::Write)),
        }
    }

    /// Writes an object of the operator's own, whether or not it exists.
    pub(super) async fn overwrite(&self, key: &str, body: impl Into<Bytes>) -> Result<(), StorageFailure> {
        let call = Call::new(Method::Put, Right::Write, &self.key(key)?).body(body);
        let answer = self.done(&self.encrypted(call)).await?;
        if is_written(&answer) { Ok(()) } else { Err(failure::untold(self)) }
    }

    /// Deletes an object, or the empty object with a slash at its end that stands for a folder. One that does not exist
    /// is a success.
    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageFailure> {
        // The store would take a key such as `f/../x` for another one.
        self.key(without_slash(key))?;
        let answer = self.send(&Call::new(Method::Delete, Right::Delete, &self.prefix(key))).await?;
        if answer.is_success() || answer.code() == Some("NoSuchKey") {
            return Ok(());
        }
        Err(failure::refused(self, &answer, Right::Delete))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_lead_elsewhere_are_not_asked_for() {
        for key in ["f/x.ndjson", "f/deleted/", "f/", ".x"] {
            assert!(is_plain(key), "{key}");
        }
        for key in ["f/../g/x.ndjson", "f/./x", "f//x", "f//", "/", "", "..", "f/..", "f/../"] {
            assert!(!is_plain(key), "{key}");
        }
    }
}
