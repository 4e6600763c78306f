//! The manifest of a finished export in all its forms (specification: "Response - Complete Status", STU1 to
//! STU4).

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use url::Url;

use crate::core::manifest::{Capped, File, MAX_FILES, MAX_NAME, Manifest, TOO_MANY, is_type, json};

/// The largest number of linked manifests; a server that sends more is looping.
const MAX_PAGES: usize = 10_000;
/// The longest URL of a file, in bytes.
const MAX_URL: usize = 8192;
/// The largest total length of all URLs on all pages, in bytes.
const MAX_URLS: usize = 32 << 20;
/// The longest extension of a file that is parsed, in bytes.
const MAX_EXTENSION: usize = 4096;
/// The type of files that hold resources of many types, because the output is organized by patient or group.
pub const MIXED: &str = "Mixed";

/// A manifest that is being assembled, page by page. Reading a page copies none of the pages before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pages {
    /// The URL of the next page, if there is one.
    pub next: Option<String>,
    /// What the first page says, without its files.
    head: Arc<Manifest>,
    /// The pages so far, in their order.
    read: Vec<Arc<Page>>,
    /// The number of files so far.
    files: usize,
    /// The total length of all URLs so far, in bytes.
    urls: usize,
}

/// The files of one page.
#[derive(Debug, PartialEq)]
struct Page {
    /// The hash of the URL of this page.
    at: [u8; 32],
    output: Vec<File>,
    deleted: Vec<File>,
    errors: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest<'a> {
    #[serde(default)]
    resource_type: Option<IgnoredAny>,
    #[serde(default)]
    transaction_time: String,
    #[serde(default)]
    request: Option<String>,
    #[serde(default)]
    requires_access_token: Option<bool>,
    #[serde(default)]
    output_organized_by: Option<String>,
    #[serde(borrow, default)]
    output: Option<Capped<Entry<'a>>>,
    #[serde(borrow, default)]
    deleted: Option<Capped<Entry<'a>>>,
    #[serde(borrow, default)]
    error: Option<Capped<Entry<'a>>>,
    #[serde(borrow, default)]
    outcome: Option<Capped<Entry<'a>>>,
    #[serde(default)]
    link: Option<Capped<Link>>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    relation: String,
    url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(rename = "type", default)]
    type_: Option<String>,
    url: String,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    file_size: Option<u64>,
    #[serde(default)]
    continues_in_file: Option<String>,
    #[serde(borrow, default)]
    extension: Option<&'a RawValue>,
}

impl Pages {
    /// Reads the body from the status URL, or from the next page. Relative URLs are resolved against `at`.
    /// The error says in a few words what is wrong.
    pub fn read(so_far: Option<&Self>, body: &[u8], at: &str) -> Result<Self, &'static str> {
        let wire: RawManifest<'_> = json(body)?;
        // Some servers send other FHIR JSON here, such as Parameters.
        if wire.resource_type.is_some() {
            return Err("a FHIR resource instead of a manifest");
        }
        let time = &wire.transaction_time;
        // Not every server writes a valid instant. It is kept verbatim if it can be displayed.
        let shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '+' | '-' | ' ');
        if time.is_empty() || time.len() > MAX_NAME || !time.chars().all(shown) {
            return Err("a manifest without a usable transactionTime");
        }
        if wire.output.is_none() && wire.requires_access_token.is_none() {
            return Err("JSON that is not a manifest");
        }
        let base = Url::parse(at).map_err(|_| "an answer from an unknown URL")?;
        let mut pages = so_far.map(|pages| pages.read.clone()).unwrap_or_default();
        let own = hash(at);
        let known = |url: &str| {
            let hash = hash(url);
            hash == own || pages.iter().any(|page| page.at == hash)
        };
        let next = wire.link.iter().flat_map(|list| &list.0).find(|link| link.relation == "next");
        let next = next.map(|link| absolute(&base, &link.url)).transpose()?;
        if next.as_deref().is_some_and(known) || pages.len() >= MAX_PAGES {
            return Err("a manifest whose links form a loop");
        }
        let organized = wire.output_organized_by.filter(|by| is_type(by));
        let mut urls = so_far.map_or(0, |pages| pages.urls);
        let mut read = |list: Option<Capped<Entry<'_>>>, fallback: Option<&str>| {
            let entries = list.into_iter().flat_map(|list| list.0);
            let files = entries.map(|entry| {
                let file = file(&base, entry, fallback)?;
                urls += file.url.len() + file.continues_in.as_ref().map_or(0, String::len);
                if urls > MAX_URLS { Err(TOO_MANY) } else { Ok(file) }
            });
            files.collect::<Result<Vec<File>, &'static str>>()
        };
        if so_far.is_some_and(|pages| pages.head.transaction_time != wire.transaction_time) {
            return Err("a linked manifest with another transactionTime");
        }
        let output = read(wire.output, organized.is_some().then_some(MIXED))?;
        let deleted = read(wire.deleted, Some("Bundle"))?;
        let mut errors = read(wire.error, Some("OperationOutcome"))?;
        errors.extend(read(wire.outcome, Some("OperationOutcome"))?);
        let files = so_far.map_or(0, |pages| pages.files) + output.len() + deleted.len() + errors.len();
        if files > MAX_FILES {
            return Err(TOO_MANY);
        }
        let first = || {
            Arc::new(Manifest {
                transaction_time: wire.transaction_time,
                request: wire.request.unwrap_or_default(),
                output: Vec::new(),
                errors: Vec::new(),
                deleted: Vec::new(),
                requires_access_token: wire.requires_access_token,
                organized_by: organized,
                pages: 0,
                raw: Bytes::new(),
            })
        };
        let head = so_far.map_or_else(first, |pages| Arc::clone(&pages.head));
        pages.push(Arc::new(Page { at: own, output, deleted, errors }));
        Ok(Self { next, head, read: pages, files, urls })
    }

    /// The whole manifest, once the last page was read.
    pub fn into_manifest(self) -> Manifest {
        let mut manifest = Arc::unwrap_or_clone(self.head);
        manifest.pages = self.read.len();
        for page in self.read {
            manifest.output.extend_from_slice(&page.output);
            manifest.deleted.extend_from_slice(&page.deleted);
            manifest.errors.extend_from_slice(&page.errors);
        }
        manifest
    }
}

fn hash(url: &str) -> [u8; 32] {
    Sha256::digest(url.as_bytes()).into()
}

fn absolute(base: &Url, url: &str) -> Result<String, &'static str> {
    let joined = base.join(url.trim()).map_err(|_| "a manifest with an invalid URL")?;
    let web = matches!(joined.scheme(), "http" | "https") && joined.as_str().len() <= MAX_URL;
    if web { Ok(joined.to_string()) } else { Err("a manifest with a URL that cannot be fetched") }
}

/// Converts an entry. `fallback` is the type of entries that name none.
fn file(base: &Url, entry: Entry<'_>, fallback: Option<&str>) -> Result<File, &'static str> {
    let type_ = match (entry.type_.filter(|t| !t.is_empty()), fallback) {
        (Some(type_), _) if is_type(&type_) => type_,
        (None, Some(fallback)) => fallback.to_owned(),
        _ => return Err("a manifest with an invalid type"),
    };
    let extension = entry.extension.map(RawValue::get).filter(|text| text.len() <= MAX_EXTENSION);
    let extension: Value = extension.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok(File {
        type_,
        url: absolute(base, &entry.url)?,
        count: entry.count,
        bytes: entry.file_size.or_else(|| number(&extension, "file_length")),
        sha256: text(&extension, "checksum").and_then(|sum| hexadecimal(&sum)),
        continues_in: entry.continues_in_file.and_then(|url| absolute(base, &url).ok()),
    })
}

/// The value of the extension whose URL ends with `ending`. Extensions are an array of FHIR extensions (STU4,
/// and before it AB2D and DPC), or an object of URLs and values.
fn extension<'v>(extension: &'v Value, ending: &str) -> Option<&'v Value> {
    let fits = |url: &str| url.trim_end_matches('/').rsplit(['/', '#']).next() == Some(ending);
    match extension {
        Value::Array(list) => {
            let found = list.iter().find(|e| e.get("url").and_then(Value::as_str).is_some_and(fits))?;
            found.as_object()?.iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value)
        }
        Value::Object(members) => members.iter().find(|(url, _)| fits(url)).map(|(_, value)| value),
        _ => None,
    }
}

fn text(of: &Value, ending: &str) -> Option<String> {
    extension(of, ending)?.as_str().map(str::to_owned)
}

fn number(of: &Value, ending: &str) -> Option<u64> {
    let value = extension(of, ending)?;
    // A valueDecimal of 1234.0 counts as 1234.
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).or_else(|| {
        let whole = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n))?;
        format!("{whole:.0}").parse().ok()
    })
}

/// The digits of a checksum `sha256:<64 digits>`. The operator does not compute any other kind.
fn hexadecimal(sum: &str) -> Option<String> {
    let digits = sum.trim().strip_prefix("sha256:")?.trim();
    let right = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    right.then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
