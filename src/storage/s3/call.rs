//! One request to a store, as a value.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rusty_s3::Method;
use sha2::{Digest, Sha256};

/// How long an answer may not begin, or bring no byte, before it counts as broken.
pub(super) const STALLED: Duration = Duration::from_secs(15);
/// How long the answer to a commit may not begin, or bring no byte: the store puts the parts together meanwhile.
const COMMITTING: Duration = Duration::from_secs(600);
/// The lowest rate, in bytes per second, at which a body is sent or taken in: the request may take that much longer.
pub(super) const SLOWEST: u64 = 64 << 10;

/// What a request needs the right for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To list the bucket and to read its objects.
    Read,
    /// To list the buckets of the account.
    ListBuckets,
    /// To write objects, in parts or at once.
    Write,
    /// To delete objects.
    Delete,
    /// To create a bucket.
    CreateBucket,
}

impl Right {
    /// The actions of a policy that grant it.
    pub(super) fn actions(self) -> &'static str {
        match self {
            Self::Read => "s3:ListBucket and s3:GetObject",
            Self::ListBuckets => "s3:ListAllMyBuckets (or name a bucket in defaultContainer or s3.bucket)",
            Self::Write => {
                "s3:PutObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts and s3:ListBucketMultipartUploads"
            }
            Self::Delete => "s3:DeleteObject",
            Self::CreateBucket => "s3:CreateBucket (or make the bucket yourself)",
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The key of the object in the bucket; empty for the bucket itself.
    pub(super) key: String,
    pub(super) query: BTreeMap<&'static str, String>,
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: Bytes,
    /// What the request needs the right for.
    pub(super) right: Right,
    pub(super) stalled: Duration,
}

impl Call {
    pub(super) fn new(method: Method, right: Right, key: &str) -> Self {
        Self {
            method,
            key: key.to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Bytes::new(),
            right,
            stalled: STALLED,
        }
    }

    pub(super) fn get(key: &str) -> Self {
        Self::new(Method::Get, Right::Read, key)
    }

    /// Adds a field to the query; one without a value is empty.
    pub(super) fn ask(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.insert(name, value.into());
        self
    }

    /// Adds a header, whose name is in lower case.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// Adds a body, with the checksum by which the store verifies it.
    pub(super) fn verified(self, body: Bytes, sha256: &str) -> Self {
        let call = self.header("x-amz-checksum-sha256", sha256);
        Self { body, ..call }
    }

    /// Adds a small body and its checksum.
    pub(super) fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let sha256 = checksum(&body);
        self.verified(body, &sha256)
    }

    /// Adds a body that the store reads as a list of parts to put together, which takes long.
    pub(super) fn committing(self, body: String) -> Self {
        Self { body: body.into(), stalled: COMMITTING, ..self }
    }

    /// How long the answer may not begin.
    pub(super) fn wait(&self) -> Duration {
        self.stalled + Duration::from_secs(self.body.len() as u64 / SLOWEST)
    }
}

/// The SHA-256 of a body, as the store takes it.
pub(super) fn checksum(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}
