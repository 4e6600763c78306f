//! The objects beside an object that has more than one part: while it is uploaded, how far the upload is; afterwards,
//! the marks of the object. Their names begin with a dot, so readers and listings of data skip them.
//!
//! S3 fixes the metadata of such an object when its upload begins, before anything is known of the file. So the
//! metadata hold the id of the upload, and the marks lie in an object with that id in its name.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::Compression;
use crate::core::landing::{Checkpoint, Marks};
use crate::core::manifest::hex;
use crate::storage::marks::{fields, read_marks};

/// The ending of an object that says how far an upload is.
const UPLOAD: &str = ".upload";
/// The ending of an object that holds marks.
const MARKS: &str = ".marks";

/// A new id of an upload, which tells it from all others.
pub(super) fn fresh_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// What an object beside another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// How far an upload is.
    Upload,
    /// The marks of an object.
    Marks,
}

/// The name of an object beside another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beside<'k> {
    /// The folder that both lie in; empty, or with a slash at its end.
    folder: &'k str,
    /// The name of the other object.
    name: &'k str,
    /// The id of the upload.
    pub(super) id: &'k str,
    pub(super) side: Side,
}

impl<'k> Beside<'k> {
    /// The object beside the one with this key.
    pub(super) fn new(key: &'k str, id: &'k str, side: Side) -> Self {
        let (folder, name) = split(key);
        Self { folder, name, id, side }
    }

    /// Reads the key of such an object; `None` if it is another one.
    pub(super) fn parse(key: &'k str) -> Option<Self> {
        let (folder, file) = split(key);
        let file = file.strip_prefix('.')?;
        let (rest, side) = match (file.strip_suffix(UPLOAD), file.strip_suffix(MARKS)) {
            (Some(rest), _) => (rest, Side::Upload),
            (None, Some(rest)) => (rest, Side::Marks),
            (None, None) => return None,
        };
        let (name, id) = rest.rsplit_once('.')?;
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_id && !name.is_empty()).then_some(Self { folder, name, id, side })
    }

    /// The key of this object.
    pub(super) fn key(&self) -> String {
        let ending = match self.side {
            Side::Upload => UPLOAD,
            Side::Marks => MARKS,
        };
        format!("{}{}{ending}", beside(self.folder, self.name), self.id)
    }

    /// The key of the other object.
    pub(super) fn object(&self) -> String {
        format!("{}{}", self.folder, self.name)
    }
}

/// What the keys of all objects beside the one with this key begin with, and some others.
pub(super) fn all_beside(key: &str) -> String {
    let (folder, name) = split(key);
    beside(folder, name)
}

fn beside(folder: &str, name: &str) -> String {
    format!("{folder}.{name}.")
}

fn split(key: &str) -> (&str, &str) {
    match key.rfind('/') {
        Some(slash) => key.split_at(slash + 1),
        None => ("", key),
    }
}

/// Whether a key is that of an object which listings of data leave out: a hidden one, or the mark of a folder.
pub(super) fn is_hidden(key: &str) -> bool {
    let name = split(key).1;
    name.is_empty() || name.starts_with('.')
}

/// A hash over the parts of an upload. A checkpoint applies to an upload only if its parts are those that it was taken
/// after: another writer may have replaced one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    /// The chain with one more part, by the tag that the store gave it.
    pub(super) fn with(&self, etag: &str) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(etag.trim_matches('"')).finalize().into())
    }

    fn text(&self) -> String {
        hex(&self.0)
    }
}

/// How far an upload is, as a store keeps it: one line, and after it the bytes that are no part yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    /// The store's own id of the upload; `None` before its first part.
    pub(super) upload: Option<String>,
    /// The number of parts that are stored.
    pub(super) parts: u64,
    chain: String,
    pub(super) checkpoint: Checkpoint,
    pub(super) compression: Compression,
    /// The bytes after the parts and up to the checkpoint, as they are to be stored: too few for a part.
    pub(super) tail: Bytes,
}

#[derive(Deserialize, Serialize)]
struct Line {
    upload: Option<String>,
    parts: u64,
    chain: String,
    checkpoint: Vec<u8>,
    compression: Compression,
}

impl Progress {
    pub(super) fn new(
        upload: Option<String>,
        parts: u64,
        chain: &Chain,
        checkpoint: Checkpoint,
        compression: Compression,
        tail: Bytes,
    ) -> Self {
        Self { upload, parts, chain: chain.text(), checkpoint, compression, tail }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let line = Line {
            upload: self.upload.clone(),
            parts: self.parts,
            chain: self.chain.clone(),
            checkpoint: self.checkpoint.encode(),
            compression: self.compression,
        };
        // Texts and numbers can always be written.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.reserve_exact(1 + self.tail.len());
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    /// Reads what [`encode`](Self::encode) returned; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, tail) = bytes.split_at_checked(end)?;
        let Line { upload, parts, chain, checkpoint, compression } = serde_json::from_slice(line).ok()?;
        let checkpoint = Checkpoint::decode(&checkpoint)?;
        let tail = Bytes::copy_from_slice(tail.get(1..)?);
        Some(Self { upload, parts, chain, checkpoint, compression, tail })
    }

    /// Whether these are the parts that the upload had.
    pub(super) fn is_after(&self, chain: &Chain) -> bool {
        self.chain == chain.text()
    }
}

/// Marks as the content of an object.
pub(super) fn encode_marks(marks: &Marks) -> Vec<u8> {
    serde_json::to_vec(&BTreeMap::from(fields(marks))).unwrap_or_default()
}

/// Reads what [`encode_marks`] returned; `None` for anything else.
pub(super) fn decode_marks(bytes: &[u8]) -> Option<Marks> {
    let values: BTreeMap<String, String> = serde_json::from_slice(bytes).ok()?;
    read_marks(|name| values.get(name).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::landing::{Content, FileForm, Issues, Sum, Tally};

    #[test]
    fn names_lead_back_to_their_object() {
        for key in ["f/deleted/Bundle-1.ndjson.gz", "list.txt", "f/.x"] {
            for side in [Side::Upload, Side::Marks] {
                let there = Beside::new(key, "0123456789abcdef", side).key();
                let read = Beside::parse(&there).unwrap();
                assert_eq!((read.object().as_str(), read.id, read.side), (key, "0123456789abcdef", side));
                assert!(is_hidden(&there) && there.starts_with(&all_beside(key)), "{there}");
            }
        }
        for key in
            ["f/Patient-1.ndjson", "f/.x", "f/.x.upload", "f/.x.0123.marks", "f/x.0123456789abcdef.marks"]
        {
            assert_eq!(Beside::parse(key), None, "{key}");
        }
        assert!(is_hidden("f/") && is_hidden(".fhir") && !is_hidden("f/x"));
    }

    #[test]
    fn progress_is_read_back_with_its_bytes() {
        let mut tally = Tally::default();
        tally.feed(&[b'a'; 128]);
        let checkpoint = Checkpoint::after(Content::of_etag("s", "1"), &tally).unwrap();
        let chain = Chain::default().with("\"a\"").with("b");
        let upload = Some("id/with+odd=characters".to_owned());
        let tail = Bytes::from_static(b"\n\0tail\n");
        let progress = Progress::new(upload, 2, &chain, checkpoint, Compression::Gzip, tail);
        let read = Progress::decode(&progress.encode()).unwrap();
        assert_eq!(read, progress);
        assert!(read.is_after(&Chain::default().with("a").with("\"b\"")), "quotes are not part of a tag");
        assert!(!read.is_after(&Chain::default().with("b").with("a")));
        for wrong in [&b""[..], b"{}", b"{}\n", b"nothing\nx"] {
            assert_eq!(Progress::decode(wrong), None);
        }
    }

    #[test]
    fn marks_are_read_back() {
        let marks = Marks {
            source: "abc".into(),
            sum: Sum { bytes: 7, lines: 2, sha256: "def".into() },
            form: FileForm::Cut,
            issues: Issues { errors: 1, warnings: 2, information: 3 },
        };
        assert_eq!(decode_marks(&encode_marks(&marks)), Some(marks));
        assert_eq!(decode_marks(b"{}"), None);
    }
}
