//! Uploads in parts, as a store knows them.

use bytes::Bytes;
use rusty_s3::Method;

use super::answer::{Initiated, ListedPart, PartPage, UploadPage};
use super::bucket::Bucket;
use super::call::{Call, Right, checksum};
use super::failure;
use super::listing::MOST_KEYS;
use super::object::UPLOAD_ID;
use crate::core::ledger::StorageFailure;

/// A part that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredPart {
    /// The tag that the store gave it.
    pub(super) etag: String,
    /// The SHA-256 of its bytes; `None` if the store does not tell it.
    sha256: Option<String>,
}

/// The outcome of putting parts together.
pub(super) enum Joined {
    /// The object exists now.
    Now,
    /// An object exists already, and the store does not replace it.
    Exists,
    /// Another writer is at the object, or the upload has ended.
    Contested,
}

impl Bucket {
    /// Begins an upload, whose object names `id` in its metadata. Returns the store's own id of the upload.
    pub(super) async fn initiate(
        &self,
        key: &str,
        id: &str,
        content_type: &str,
    ) -> Result<String, StorageFailure> {
        let call = Call::new(Method::Post, Right::Write, &self.key(key)?)
            .ask("uploads", "")
            .header("content-type", content_type)
            .header("x-amz-checksum-algorithm", "SHA256")
            .header(UPLOAD_ID, id);
        let answer = self.done(&self.encrypted(call)).await?;
        let initiated: Initiated = answer.document().ok_or_else(|| failure::not_of_s3(self))?;
        Ok(initiated.upload_id)
    }

    /// Stores one part; numbers begin at 1. The store verifies its bytes. `None` if the upload has ended.
    pub(super) async fn store_part(
        &self,
        key: &str,
        upload: &str,
        number: u64,
        body: Bytes,
    ) -> Result<Option<StoredPart>, StorageFailure> {
        let hashed = body.clone();
        let sha256 = tokio::task::spawn_blocking(move || checksum(&hashed)).await;
        let sha256 = sha256.map_err(|_| StorageFailure::transient("the operator is stopping"))?;
        let call = Call::new(Method::Put, Right::Write, &self.key(key)?)
            .ask("partNumber", number.to_string())
            .ask("uploadId", upload)
            .verified(body, &sha256);
        let answer = self.send(&call).await?;
        if answer.code() == Some("NoSuchUpload") {
            return Ok(None);
        }
        if !answer.is_success() {
            return Err(failure::refused(self, &answer, Right::Write));
        }
        let etag = answer.header("etag").ok_or_else(|| failure::not_of_s3(self))?.to_owned();
        Ok(Some(StoredPart { etag, sha256: Some(sha256) }))
    }

    /// The parts of an upload with the numbers 1 to `upto`, in order; fewer if the store has fewer, and none if the
    /// upload has ended.
    pub(super) async fn parts(
        &self,
        key: &str,
        upload: &str,
        upto: u64,
    ) -> Result<Vec<StoredPart>, StorageFailure> {
        let mut parts: Vec<StoredPart> = Vec::new();
        let mut after: Option<u64> = None;
        loop {
            let mut call = Call::get(&self.key(key)?).ask("uploadId", upload);
            if let Some(after) = after {
                call = call.ask("part-number-marker", after.to_string());
            }
            let answer = self.send(&call).await?;
            if answer.code() == Some("NoSuchUpload") {
                return Ok(Vec::new());
            }
            if !answer.is_success() {
                return Err(failure::refused(self, &answer, Right::Write));
            }
            let page: PartPage = answer.document().ok_or_else(|| failure::not_of_s3(self))?;
            for ListedPart { part_number, etag, sha256 } in page.parts {
                if part_number != parts.len() as u64 + 1 || part_number > upto {
                    return Ok(parts);
                }
                parts.push(StoredPart { etag, sha256 });
            }
            let next = page.next_part_number_marker.filter(|next| page.is_truncated && *next < upto);
            match next.filter(|next| Some(*next) > after) {
                Some(next) => after = Some(next),
                None => return Ok(parts),
            }
        }
    }

    /// Puts parts together to an object, unless one exists.
    pub(super) async fn join(
        &self,
        key: &str,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<Joined, StorageFailure> {
        let call = Call::new(Method::Post, Right::Write, &self.key(key)?)
            .ask("uploadId", upload)
            .header("content-type", "application/xml")
            .header("if-none-match", "*")
            .committing(list(parts));
        let answer = self.send(&call).await?;
        match (answer.code(), answer.status) {
            (Some("PreconditionFailed"), _) | (_, 412) => Ok(Joined::Exists),
            (Some("NoSuchUpload" | "InvalidPart"), _) | (_, 409) => Ok(Joined::Contested),
            _ if answer.is_completion() => Ok(Joined::Now),
            // The store began to answer before it knew the outcome, and never told it.
            _ if answer.is_success() => Err(failure::untold(self)),
            _ => Err(failure::refused(self, &answer, Right::Write)),
        }
    }

    /// Ends an upload without an object. One that has ended is a success.
    pub(super) async fn abort(&self, key: &str, upload: &str) -> Result<(), StorageFailure> {
        let call = Call::new(Method::Delete, Right::Write, &self.key(key)?).ask("uploadId", upload);
        let answer = self.send(&call).await?;
        if answer.is_success() || answer.code() == Some("NoSuchUpload") {
            return Ok(());
        }
        Err(failure::refused(self, &answer, Right::Write))
    }

    /// The uploads that have not ended of objects whose keys begin with `prefix`: key and the store's own id of each.
    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<(String, String)>, StorageFailure> {
        let mut uploads = Vec::new();
        let mut after: Option<(String, String)> = None;
        let mut listed = 0;
        loop {
            let mut call = Call::new(Method::Get, Right::Write, "").ask("uploads", "");
            call = call.ask("prefix", self.prefix(prefix));
            if let Some((key, upload)) = &after {
                call = call.ask("key-marker", key).ask("upload-id-marker", upload);
            }
            let answer = self.done(&call).await?;
            let page: UploadPage = answer.document().ok_or_else(|| failure::not_of_s3(self))?;
            listed += 1 + page.uploads.len();
            if listed > MOST_KEYS {
                return Err(failure::too_many(self, MOST_KEYS));
            }
            for upload in page.uploads {
                // What lies elsewhere was not asked for.
                if let Some(key) = self.below(&upload.key).filter(|key| key.starts_with(prefix)) {
                    uploads.push((key.to_owned(), upload.upload_id));
                }
            }
            let next = page.next_key_marker.filter(|_| page.is_truncated);
            let next = next.map(|key| (key, page.next_upload_id_marker.unwrap_or_default()));
            if next.is_none() || next == after {
                return Ok(uploads);
            }
            after = next;
        }
    }
}

/// The list of the parts of an object, as a store reads it.
fn list(parts: &[StoredPart]) -> String {
    let part = |(part, number): (&StoredPart, u32)| {
        let etag = part.etag.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let sha256 = part.sha256.as_ref();
        let sha256 =
            sha256.map(|sha256| format!("<ChecksumSHA256>{sha256}</ChecksumSHA256>")).unwrap_or_default();
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{sha256}</Part>")
    };
    let parts: String = parts.iter().zip(1..).map(part).collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_parts_names_tags_and_checksums() {
        let parts = [
            StoredPart { etag: "\"a\"".into(), sha256: Some("c2hh".into()) },
            StoredPart { etag: "<&>".into(), sha256: None },
        ];
        let text = list(&parts);
        let first =
            "<Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag><ChecksumSHA256>c2hh</ChecksumSHA256></Part>";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("<PartNumber>2</PartNumber><ETag>&lt;&amp;&gt;</ETag></Part>"), "{text}");
    }
}
