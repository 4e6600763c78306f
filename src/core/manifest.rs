//! The manifest of a finished export (Bulk Data specification: "Response - Complete Status"; for Azure's
//! deviations see docs/azure-behaviour.md, "Manifest").

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// A valid manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `transactionTime`, verbatim.
    pub transaction_time: String,
    /// The URL of the kick-off, as the server saw it.
    pub request: String,
    /// The data files.
    pub output: Vec<File>,
    /// The error files.
    pub errors: Vec<File>,
    /// The files that list deleted resources.
    pub deleted: Vec<File>,
    /// Whether downloading the files needs a token; `None` if the server does not say.
    pub requires_access_token: Option<bool>,
    /// What the output is organized by, if not by type (Bulk Data STU3).
    pub organized_by: Option<String>,
    /// The number of linked manifests that this one was assembled from.
    pub pages: usize,
    /// The body, if it is to be stored as the server wrote it.
    pub(super) raw: Bytes,
}

/// The longest manifest that is read, in bytes. Parsed, it takes no more than a few times as much memory.
pub const MAX_MANIFEST: usize = 16 << 20;
/// The largest number of files; more do not fit into memory and a listing.
pub const MAX_FILES: usize = 100_000;

/// The longest name of a resource type, and the longest instant, that is copied into a status, in characters.
pub(super) const MAX_NAME: usize = 64;

/// A file in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct File {
    /// The resource type.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// The URL of the file.
    pub url: String,
    /// Number of resources in the file, if the server reports it.
    #[serde(default)]
    pub count: Option<u64>,
    /// Length of the file in bytes, if a Bulk Data server reports it.
    #[serde(skip)]
    pub bytes: Option<u64>,
    /// SHA-256 of the file in hexadecimal, if a Bulk Data server reports it.
    #[serde(skip)]
    pub sha256: Option<String>,
    /// The URL of the file that continues this one (`continuesInFile`).
    #[serde(skip)]
    pub continues_in: Option<String>,
}

/// The totals of one resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeTotal {
    /// Number of files.
    pub files: u64,
    /// Number of resources; `None` if a file is not counted.
    pub resources: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    transaction_time: String,
    #[serde(default)]
    request: String,
    output: Capped<File>,
    #[serde(default)]
    error: Option<Capped<File>>,
    #[serde(default)]
    deleted: Option<Capped<File>>,
}

/// A list that keeps at most one entry more than can be used; the extra entry shows that the list was longer.
/// The server decides how long a list is, and an entry takes more memory than its text.
pub(super) struct Capped<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Capped<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Capped<T>, A::Error> {
                let mut list = Vec::new();
                while list.len() <= MAX_FILES {
                    let Some(entry) = entries.next_element()? else { return Ok(Capped(list)) };
                    list.push(entry);
                }
                while entries.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Capped(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// The URLs of a body, as slices of that body.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    output: Option<Capped<WrittenUrl<'a>>>,
    #[serde(borrow, default)]
    error: Option<Capped<WrittenUrl<'a>>>,
    #[serde(borrow, default)]
    deleted: Option<Capped<WrittenUrl<'a>>>,
}

#[derive(Deserialize)]
struct WrittenUrl<'a> {
    #[serde(borrow)]
    url: &'a RawValue,
}

impl Manifest {
    /// Parses a body. The error says in a few words what is wrong with it.
    pub fn parse(body: &Bytes) -> Result<Self, &'static str> {
        let wire: RawManifest = json(body)?;
        if wire.transaction_time.len() > MAX_NAME || wire.transaction_time.parse::<Timestamp>().is_err() {
            return Err("a manifest without a usable transactionTime");
        }
        // Types are copied into the status, so nothing else may be accepted as one.
        if wire.output.0.iter().any(|file| !file.type_.is_empty() && !is_type(&file.type_)) {
            return Err("a manifest with an invalid type");
        }
        let manifest = Self {
            transaction_time: wire.transaction_time,
            request: wire.request,
            output: wire.output.0,
            errors: wire.error.map(|list| list.0).unwrap_or_default(),
            deleted: wire.deleted.map(|list| list.0).unwrap_or_default(),
            requires_access_token: None,
            organized_by: None,
            pages: 1,
            raw: body.clone(),
        };
        if manifest.files() > MAX_FILES { Err(TOO_MANY) } else { Ok(manifest) }
    }

    /// Totals by type, ordered by name.
    pub fn by_type(&self) -> BTreeMap<&str, TypeTotal> {
        let mut totals: BTreeMap<&str, TypeTotal> = BTreeMap::new();
        for file in &self.output {
            let total =
                totals.entry(file.type_.as_str()).or_insert(TypeTotal { files: 0, resources: Some(0) });
            total.files += 1;
            total.resources = total.resources.zip(file.count).map(|(a, b)| a.saturating_add(b));
        }
        totals
    }

    /// Number of files: data, errors and deletions.
    pub fn files(&self) -> usize {
        self.output.len() + self.errors.len() + self.deleted.len()
    }

    /// Number of resources in all data files; `None` if a file is not counted.
    pub fn resources(&self) -> Option<u64> {
        self.output.iter().try_fold(0_u64, |sum, file| Some(sum.saturating_add(file.count?)))
    }

    /// The manifest to store beside the data: the server's text, without the queries of file URLs, which may
    /// be signatures.
    pub fn to_store(&self) -> Vec<u8> {
        let written: Written<'_> = match serde_json::from_slice(&self.raw) {
            Ok(written) => written,
            // This cannot happen: the same bytes were parsed before.
            Err(_) => return Vec::new(),
        };
        let lists = [written.output, written.error, written.deleted];
        let mut urls: Vec<&RawValue> = lists.into_iter().flatten().flat_map(|l| l.0).map(|w| w.url).collect();
        let start = self.raw.as_ptr().addr();
        urls.sort_by_key(|url| url.get().as_ptr().addr());
        let mut body = Vec::with_capacity(self.raw.len() + 1);
        let mut done = 0;
        for url in urls {
            let at = url.get().as_ptr().addr() - start;
            body.extend_from_slice(self.raw.get(done..at).unwrap_or_default());
            done = at + url.get().len();
            let whole: String = serde_json::from_str(url.get()).unwrap_or_default();
            let bare = whole.split('?').next().unwrap_or_default();
            body.extend(serde_json::to_vec(bare).unwrap_or_default());
        }
        body.extend_from_slice(self.raw.get(done..).unwrap_or_default().trim_ascii_end());
        body.push(b'\n');
        body
    }
}

pub(super) const TOO_MANY: &str = "a manifest with more files than the operator can store";

/// Parses a body as JSON of type `T`. The error says in a few words what it is instead.
pub(super) fn json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, &'static str> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("an empty body");
    }
    serde_json::from_slice(body).map_err(|e| {
        if body.trim_ascii_start().starts_with(b"<") {
            "a web page"
        } else if e.is_eof() {
            "truncated JSON"
        } else if e.is_data() {
            "JSON that is not a manifest"
        } else {
            "something that is not JSON"
        }
    })
}

/// Whether `name` can be the name of a resource type. Such names become parts of paths and of the status.
pub(super) fn is_type(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The SHA-256 of `body` in hexadecimal.
pub fn sha256_hex(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// `bytes` in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'a' - 10 + half });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AZURE: &str = r#"{"transactionTime":"2026-11-23T01:58:30.1141234+00:00",
        "request":"https://x/$export?_type=Patient",
        "requiresAccessToken":false,"output":[{"type":"Patient","url":"https://a/c/f/P-1.ndjson?sig=s","count":5},
        {"type":"Patient","url":"https://a/c/f/P-2.ndjson","count":2},
        {"type":"Condition","url":"https://a/c/f/C.ndjson","count":0}],
        "error":[],"issues":[],"extra":{"a":1}}"#;

    #[test]
    fn reads_azure() {
        let m = Manifest::parse(&AZURE.into()).unwrap();
        assert_eq!(m.transaction_time, "2026-11-23T01:58:30.1141234+00:00");
        assert_eq!(m.resources(), Some(7));
        assert_eq!(m.by_type()["Patient"], TypeTotal { files: 2, resources: Some(7) });
        let stored = String::from_utf8(m.to_store()).unwrap();
        assert_eq!(stored.trim_end(), AZURE.replace("?sig=s", ""));
    }

    #[test]
    fn what_is_stored_has_no_query_however_it_is_written() {
        let body = r#"{"deleted":[{"url":"https:\/\/a\/d\u003fsig=hush"}],"transactionTime":"2026-01-01T00:00:00Z",
            "output":[{"url":"https://a/1?sig=hush?sig=hush","type":"A"}],"error":null,"note":"ü"}"#;
        let stored = String::from_utf8(Manifest::parse(&body.into()).unwrap().to_store()).unwrap();
        assert!(!stored.contains("hush") && stored.contains("ü"), "{stored}");
        let again = Manifest::parse(&stored.clone().into()).unwrap();
        assert_eq!(
            (again.output[0].url.as_str(), again.deleted[0].url.as_str()),
            ("https://a/1", "https://a/d")
        );
        // With two values, it is not known which one was meant.
        let twice = body.replace("\"type\"", "\"url\":\"https://b\",\"type\"");
        assert_eq!(Manifest::parse(&twice.into()).err(), Some("JSON that is not a manifest"));
    }

    #[test]
    fn no_more_files_than_can_be_landed() {
        let body = |files: usize| {
            let list = vec![r#"{"url":"u"}"#; files].join(",");
            format!(r#"{{"transactionTime":"2026-01-01T00:00:00Z","output":[],"error":[{list}]}}"#)
        };
        assert_eq!(Manifest::parse(&body(MAX_FILES).into()).unwrap().files(), MAX_FILES);
        for more in [1, 2, MAX_FILES] {
            assert_eq!(Manifest::parse(&body(MAX_FILES + more).into()).err(), Some(TOO_MANY));
        }
    }

    #[test]
    fn tolerates_absent_lists_and_counts() {
        let m = Manifest::parse(
            &r#"{"transactionTime":"2026-01-01T00:00:00Z",
                "output":[{"type":"A","url":"u","count":1},{"type":"A","url":"v"}]}"#
                .into(),
        )
        .unwrap();
        assert_eq!((m.resources(), m.errors.len()), (None, 0));
        assert_eq!(m.by_type()["A"], TypeTotal { files: 2, resources: None });
    }

    #[test]
    fn refuses_nonsense() {
        for (body, wanted) in [
            ("", "an empty body"),
            (" \n", "an empty body"),
            ("<html><body>502", "a web page"),
            (r#"{"transactionTime":"2026"#, "truncated JSON"),
            ("nonsense", "something that is not JSON"),
            ("[]", "JSON that is not a manifest"),
            (r#"{"output":[]}"#, "JSON that is not a manifest"),
            (r#"{"transactionTime":"2026-01-01T00:00:00Z"}"#, "JSON that is not a manifest"),
            (r#"{"transactionTime":"soon","output":[]}"#, "a manifest without a usable transactionTime"),
            (
                r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[{"type":"Patient/4711","url":"u"}]}"#,
                "a manifest with an invalid type",
            ),
            (
                r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[{"type":"A"}]}"#,
                "JSON that is not a manifest",
            ),
            (
                r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[{"url":"u","count":-1}]}"#,
                "JSON that is not a manifest",
            ),
        ] {
            assert_eq!(Manifest::parse(&body.to_owned().into()).err(), Some(wanted), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_is_refused(at in 0_usize..AZURE.len() - 1) {
            prop_assert!(Manifest::parse(&AZURE[..at].into()).is_err());
        }
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Manifest::parse(&bytes.into());
        }
    }
}
