//! The answers of a store, and the documents in them.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An answer that was taken in whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the store has done what was asked.
    success: bool,
    /// The store's own code for a failure, such as `NoSuchBucket`.
    code: Option<String>,
    at: Timestamp,
}

/// A failure, as the store describes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    code: String,
    region: Option<String>,
}

impl Answer {
    pub(super) fn new(status: u16, headers: HeaderMap, body: Vec<u8>, at: Timestamp) -> Self {
        let mut answer = Self { status, headers, body, success: false, code: None, at };
        // The answer to a commit begins before its outcome is known: a failure may come with status 200.
        answer.success = (200..300).contains(&status) && !answer.is_a("Error");
        if !answer.success {
            answer.code = answer.failure().map(|failure| failure.code).filter(|code| is_code(code));
        }
        answer
    }

    /// Whether the store has done what was asked.
    pub(super) fn is_success(&self) -> bool {
        self.success
    }

    /// Whether the body is a document whose root element has this name. White space, a declaration and comments may
    /// come before the root, and the root may have attributes.
    fn is_a(&self, name: &str) -> bool {
        let body = self.body.trim_ascii_start();
        let Ok(text) = std::str::from_utf8(body) else { return false };
        if !text.starts_with('<') {
            return false;
        }
        let mut reader = Reader::from_str(text);
        loop {
            match reader.read_event() {
                Ok(Event::Start(root) | Event::Empty(root)) => {
                    return root.local_name().as_ref() == name.as_bytes();
                }
                Ok(Event::Eof) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Whether the store says that it has put the parts of an upload together. The document must be there to its end.
    pub(super) fn is_completion(&self) -> bool {
        self.success && self.is_a("CompleteMultipartUploadResult") && self.has_end()
    }

    /// Whether the body is a document whose root element ends.
    fn has_end(&self) -> bool {
        let Ok(text) = std::str::from_utf8(self.body.trim_ascii_start()) else { return false };
        let (mut reader, mut depth) = (Reader::from_str(text), 0_u32);
        loop {
            match reader.read_event() {
                Ok(Event::Start(_)) => depth += 1,
                Ok(Event::End(_)) if depth <= 1 => return true,
                Ok(Event::End(_)) => depth -= 1,
                Ok(Event::Empty(_)) if depth == 0 => return true,
                Ok(Event::Eof) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    fn failure(&self) -> Option<Failure> {
        self.document()
    }

    /// The code of a failure; `None` for a success, or if the answer names none.
    pub(super) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The region that the bucket is in, if the store says so.
    pub(super) fn region(&self) -> Option<String> {
        let header = self.headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
        let named = header.map(str::to_owned).or_else(|| self.failure()?.region);
        named.filter(|region| {
            region.len() <= 32 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    }

    /// Whether repeating the request may lead to a better answer.
    pub(super) fn is_passing(&self) -> bool {
        let busy = matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504);
        let code = matches!(
            self.code(),
            Some(
                "SlowDown"
                    | "InternalError"
                    | "RequestTimeout"
                    | "ConditionalRequestConflict"
                    | "OperationAborted"
            )
        );
        busy || code
    }

    /// The wait that the store asks for, at most an hour.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get("retry-after")?.to_str().ok()?.trim();
        value.parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(3600)))
    }

    /// How far the clock of the store is from that of this machine.
    pub(super) fn skew(&self) -> Option<Duration> {
        let date = self.headers.get("date")?.to_str().ok()?;
        let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        Some(self.at.duration_since(date).unsigned_abs())
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The document in the answer; `None` if it is another one, such as the page of a gateway.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Option<T> {
        quick_xml::de::from_str(std::str::from_utf8(self.body.trim_ascii_start()).ok()?).ok()
    }
}

/// Whether a text looks like the code of a failure. Nothing else of an answer is repeated to people.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// A page of the objects of a bucket.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ObjectPage {
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    #[serde(default)]
    contents: Vec<ListedObject>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedObject {
    key: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

impl ObjectPage {
    /// The token that the next page is requested with; `None` after the last page.
    pub(super) fn next(&self) -> Option<String> {
        self.next_continuation_token.clone().filter(|_| self.is_truncated)
    }

    /// Keys and sizes of the objects, and the folders among them.
    pub(super) fn into_parts(self) -> (Vec<(String, u64)>, Vec<String>) {
        let encoded = self.encoding_type.as_deref() == Some("url");
        let plain = |text: String| if encoded { decoded(&text) } else { text };
        let objects = self.contents.into_iter().map(|object| (plain(object.key), object.size)).collect();
        (objects, self.common_prefixes.into_iter().map(|common| plain(common.prefix)).collect())
    }
}

/// A key in a listing whose encoding is `url`, where a space is a plus.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The answer to the begin of a multipart upload.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Initiated {
    pub(super) upload_id: String,
}

/// A page of the parts of an upload.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PartPage {
    pub(super) is_truncated: bool,
    pub(super) next_part_number_marker: Option<u64>,
    #[serde(rename = "Part", default)]
    pub(super) parts: Vec<ListedPart>,
}

/// A part of an upload.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedPart {
    pub(super) part_number: u64,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    #[serde(rename = "ChecksumSHA256")]
    pub(super) sha256: Option<String>,
}

/// A page of the uploads of a bucket that are not completed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UploadPage {
    pub(super) is_truncated: bool,
    pub(super) next_key_marker: Option<String>,
    pub(super) next_upload_id_marker: Option<String>,
    #[serde(rename = "Upload", default)]
    pub(super) uploads: Vec<ListedUpload>,
}

/// An upload that is not completed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedUpload {
    pub(super) key: String,
    pub(super) upload_id: String,
}

/// The buckets of an account.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BucketList {
    buckets: Buckets,
}

#[derive(Deserialize)]
struct Buckets {
    #[serde(rename = "Bucket", default)]
    all: Vec<ListedBucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedBucket {
    name: String,
    creation_date: String,
}

impl BucketList {
    /// The names of the buckets, each with the time when it was created.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (String, Timestamp)> {
        self.buckets
            .all
            .into_iter()
            .filter_map(|bucket| Some((bucket.name, bucket.creation_date.parse().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, HeaderMap::new(), body.as_bytes().to_vec(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_failure_may_come_with_status_200() {
        let failed =
            "<?xml version=\"1.0\"?>\n  <Error><Code>InternalError</Code><Message>x</Message></Error>";
        let answer = answer(200, failed);
        assert!(!answer.is_success() && answer.is_passing());
        assert_eq!(answer.code(), Some("InternalError"));
        let failed = "<Error xmlns=\"a\"><Code>SlowDown</Code></Error>";
        let late = format!("<?xml version=\"1.0\"?>{}{failed}", " ".repeat(9000));
        let answer = self::answer(200, &late);
        assert!(!answer.is_success() && !answer.is_completion());
        assert_eq!(answer.code(), Some("SlowDown"));
        assert!(!self::answer(200, "<Error/>").is_success(), "a failure without a code is one, too");
    }

    #[test]
    fn only_a_whole_document_tells_that_parts_were_put_together() {
        let told = "<?xml version=\"1.0\"?>\n \n<CompleteMultipartUploadResult xmlns=\"http://s3.example/doc/\">\
                    <Location>x</Location><ETag>\"a-1\"</ETag></CompleteMultipartUploadResult>";
        assert!(answer(200, told).is_completion());
        assert!(answer(200, &format!("  {told}")).is_completion());
        assert!(answer(200, "<CompleteMultipartUploadResult/>").is_completion());
        assert!(!answer(500, told).is_completion());
        let declared = "<?xml version=\"1.0\"?>  ";
        for body in ["", "   ", declared, "<html>Sign in</html>", "<Error/>", "Complete", &told[..60]] {
            assert!(!answer(200, body).is_completion(), "{body}");
        }
        assert!(!answer(200, &told[..told.len() - 5]).is_completion());
    }

    #[test]
    fn no_store_makes_the_operator_wait_for_ever() {
        let headers: HeaderMap =
            [(reqwest::header::RETRY_AFTER, "18446744073709551615".parse().unwrap())].into_iter().collect();
        let answer = Answer::new(503, headers, Vec::new(), Timestamp::UNIX_EPOCH);
        assert_eq!(answer.retry_after(), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn only_what_looks_like_a_code_is_one() {
        for (body, code) in [
            ("<Error><Code>NoSuchBucket</Code><BucketName>b</BucketName></Error>", Some("NoSuchBucket")),
            ("<Error><Code>KMS.DisabledException</Code></Error>", Some("KMS.DisabledException")),
            ("<Error><Code>a secret name</Code></Error>", None),
            ("<html>Sign in</html>", None),
            ("", None),
        ] {
            assert_eq!(answer(403, body).code(), code, "{body}");
        }
    }

    #[test]
    fn keys_of_a_page_are_decoded_if_they_are_encoded() {
        let page = |encoding: &str, key: &str| {
            let text = format!(
                "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated>\
                 {encoding}<NextContinuationToken>n</NextContinuationToken><Contents><Key>{key}</Key>\
                 <Size>3</Size><Owner><ID>1</ID></Owner></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>\
                 </ListBucketResult>"
            );
            let page: ObjectPage = answer(200, &text).document().unwrap();
            assert_eq!(page.next().as_deref(), Some("n"));
            page.into_parts()
        };
        let url = "<EncodingType>url</EncodingType>";
        assert_eq!(page(url, "a+b%2Bc%25"), (vec![("a b+c%".to_owned(), 3)], vec!["d/".to_owned()]));
        assert_eq!(page("", "a+b&amp;").0, [("a+b&".to_owned(), 3)]);
        assert!(answer(200, "<html><body>Sign in</body></html>").document::<ObjectPage>().is_none());
    }
}
