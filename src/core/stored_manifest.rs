//! The manifest that lies beside the files of an export, as whoever reads the files needs it.

use std::collections::HashSet;

use serde::Deserialize;

use super::address::BlobAddress;
use super::folder::MANIFEST;
use super::landing::{FileKind, Sum};
use super::manifest::{Capped, is_type, json};
use super::store_name::key_in_bucket;

/// The largest stored manifest that is read, in bytes: room for `MAX_FILES` entries with URL and checksum.
pub const MAX_STORED: usize = 64 << 20;

/// A file that a stored manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// What the file holds.
    pub kind: FileKind,
    /// The resource type; `None` if the file holds many.
    pub type_: Option<String>,
    /// The URL, as the manifest has it.
    pub url: String,
    /// The key of the file in its container.
    pub key: String,
    /// The path below the folder of the manifest, without a suffix for compression.
    pub path: String,
    /// Number of resources, if the manifest says so.
    pub count: Option<u64>,
    /// The size in bytes, before compression, if the manifest says so.
    pub bytes: Option<u64>,
    /// The SHA-256 in hexadecimal, before compression, if the manifest says so.
    pub sha256: Option<String>,
}

/// What became of reading a stored file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retrieved {
    /// The file was read to its end.
    Whole,
    /// The file does not exist.
    Missing,
    /// The store gave the file, and it is not what landed: a clause that says why.
    Damaged(String),
}

#[derive(Deserialize)]
struct Raw {
    output: Capped<Entry>,
    #[serde(default)]
    deleted: Option<Capped<Entry>>,
    #[serde(default)]
    error: Option<Capped<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "type", default)]
    type_: Option<String>,
    url: String,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    file_size: Option<u64>,
    #[serde(default)]
    sha256: Option<String>,
}

/// Where a stored manifest lies.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The name of the store, if it is known.
    pub store: Option<&'a str>,
    /// The container.
    pub container: &'a str,
    /// The key of the manifest in the container.
    pub key: &'a str,
}

/// Reads the manifest that lies at `origin`. URLs of files are absolute, or relative to the manifest. The error says
/// in a few words what is wrong. A file outside the folder of the manifest is an error, and so are two files with one
/// path, a file in the place of the manifest, and a type or checksum that cannot be one.
pub fn files(body: &[u8], origin: Origin<'_>) -> Result<Vec<StoredFile>, String> {
    let raw: Raw = json(body)?;
    let lists = [
        (FileKind::Output, Some(raw.output)),
        (FileKind::Deleted, raw.deleted),
        (FileKind::Error, raw.error),
    ];
    let entries =
        lists.into_iter().flat_map(|(kind, list)| list.into_iter().flat_map(|l| l.0).map(move |e| (kind, e)));
    let files: Vec<StoredFile> =
        entries.map(|(kind, entry)| file(kind, entry, origin)).collect::<Result<_, _>>()?;
    distinct(&files)?;
    Ok(files)
}

/// Refuses two files with one path, and a file in the place of the manifest. Upper and lower case count as the same,
/// since some file systems do not tell them apart.
fn distinct(files: &[StoredFile]) -> Result<(), &'static str> {
    let mut paths = HashSet::new();
    for file in files {
        let path = file.path.to_lowercase();
        if path == MANIFEST {
            return Err("a file in the place of the manifest");
        }
        if !paths.insert(path) {
            return Err("two files with the same path");
        }
    }
    Ok(())
}

/// The key in the container of a file with an absolute URL.
fn key_of(url: &str, origin: Origin<'_>) -> Result<String, String> {
    let container = origin.container;
    if let Some(key) = origin.store.and_then(|store| key_in_bucket(store, container, url)) {
        return Ok(key?);
    }
    let address = BlobAddress::parse(url, None).map_err(|_| "a file with an unusable URL")?;
    if address.container != container {
        return Err(format!("a file in the container {} instead of {container}", address.container));
    }
    Ok(address.blob)
}

fn file(kind: FileKind, entry: Entry, origin: Origin<'_>) -> Result<StoredFile, String> {
    let prefix = origin.key.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let key = if entry.url.contains("://") {
        key_of(&entry.url, origin)?
    } else {
        format!("{prefix}{}", entry.url)
    };
    let below = key.strip_prefix(&prefix).filter(|below| is_below(below));
    let below = below.ok_or("a file outside the folder of the manifest")?;
    let path = below.strip_suffix(".gz").unwrap_or(below).to_owned();
    let Entry { type_, url, count, file_size, sha256 } = entry;
    // The manifest of Azure's FHIR service is stored as the server wrote it, and an empty type says nothing.
    let type_ = type_.filter(|type_| !type_.is_empty());
    if type_.as_deref().is_some_and(|type_| !is_type(type_)) {
        return Err("a file with an invalid type".to_owned());
    }
    if sha256.as_deref().is_some_and(|sum| !is_sha256(sum)) {
        return Err("a file with an invalid checksum".to_owned());
    }
    Ok(StoredFile { kind, type_, url, key, path, count, bytes: file_size, sha256 })
}

/// Whether `text` is a SHA-256 in hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a path leads to a visible file below the directory that it is relative to, on any system.
fn is_below(path: &str) -> bool {
    let odd = |c: char| matches!(c, '\\' | ':') || c.is_control();
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(odd);
    path.split('/').all(plain)
}

/// How a file that was read differs from what the manifest says of it; empty if it does not. Each is a clause.
pub fn differences(file: &StoredFile, read: &Sum) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(bytes) = file.bytes.filter(|bytes| *bytes != read.bytes) {
        differences.push(format!("it has {} bytes instead of {bytes}", read.bytes));
    }
    if let Some(count) = file.count.filter(|count| *count != read.lines) {
        differences.push(format!("it holds {} resources instead of {count}", read.lines));
    }
    if file.sha256.as_ref().is_some_and(|sha256| !sha256.eq_ignore_ascii_case(&read.sha256)) {
        differences.push("its SHA-256 is another one".to_owned());
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], key: &str) -> Result<Vec<StoredFile>, String> {
        files(body, Origin { store: None, container: "exports", key })
    }

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const LANDED: &str = r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[
        {"type":"Patient","url":"https://lake.example.org/exports/f-1/Patient-1.ndjson.gz","count":3,"fileSize":9,
        "sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}],
        "deleted":[{"url":"https://lake.example.org/exports/f-1/deleted/Bundle-1.ndjson"}],"error":[]}"#;

    #[test]
    fn files_of_an_account_and_of_a_volume() {
        let listed = read(LANDED.as_bytes(), "f-1/manifest.json").unwrap();
        let [patient, bundle] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!(
            (patient.key.as_str(), patient.path.as_str()),
            ("f-1/Patient-1.ndjson.gz", "Patient-1.ndjson")
        );
        assert_eq!((patient.count, patient.bytes, patient.sha256.as_deref()), (Some(3), Some(9), Some(SUM)));
        assert_eq!((bundle.kind, bundle.path.as_str()), (FileKind::Deleted, "deleted/Bundle-1.ndjson"));
        let relative = LANDED.replace("https://lake.example.org/exports/f-1/", "");
        let on_volume = read(relative.as_bytes(), "f-1/manifest.json").unwrap();
        let keys = |files: &[StoredFile]| files.iter().map(|file| file.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&on_volume), keys(&listed));
    }

    #[test]
    fn files_of_a_bucket() {
        let of = |store: &'static str, url: &str| {
            let body = LANDED.replace("https://lake.example.org/exports/", url);
            let origin = Origin { store: Some(store), container: "exports", key: "f-1/manifest.json" };
            files(body.as_bytes(), origin)
                .map(|files| files.into_iter().map(|file| file.key).collect::<Vec<_>>())
        };
        let wanted = Ok(vec!["f-1/Patient-1.ndjson.gz".to_owned(), "f-1/deleted/Bundle-1.ndjson".to_owned()]);
        let (whole, inside) =
            ("s3://?endpoint=https://s3.example", "s3://clinic/a/b?endpoint=https://s3.example");
        assert_eq!(of(whole, "s3://exports/"), wanted);
        assert_eq!(of(inside, "s3://clinic/a/b/exports/"), wanted);
        for (store, url) in [
            (whole, "s3://others/"),
            (inside, "s3://clinic/a/exports/"),
            (inside, "s3://clinic/a/b/exports2/"),
            (inside, "https://lake.example.org/exports/"),
        ] {
            assert_eq!(of(store, url).unwrap_err(), "a file outside the container", "{url}");
        }
    }

    #[test]
    fn no_file_lies_elsewhere() {
        for url in [
            "https://lake.example.org/others/f-1/Patient-1.ndjson",
            "https://lake.example.org/exports/f-2/Patient-1.ndjson",
            "https://lake.example.org/exports/f-1/%2e%2e/x",
            "../x",
            "a/../../x",
            "/etc/x",
            ".ssh",
            "a\\\\b",
            "c:x",
            "\\u001b[2J",
            "",
        ] {
            let body = format!(r#"{{"output":[{{"url":"{url}"}}]}}"#);
            assert!(read(body.as_bytes(), "f-1/manifest.json").is_err(), "{url}");
        }
        assert_eq!(read(b"<html>", "manifest.json").unwrap_err(), "a web page");
    }

    #[test]
    fn no_two_files_have_one_path() {
        let listed = |urls: [&str; 2]| {
            let body = format!(r#"{{"output":[{{"url":"{}"}}],"error":[{{"url":"{}"}}]}}"#, urls[0], urls[1]);
            read(body.as_bytes(), "f-1/manifest.json")
        };
        for same in [["a.ndjson", "a.ndjson"], ["a.ndjson", "a.ndjson.gz"], ["d/A.ndjson", "d/a.ndjson"]] {
            assert_eq!(listed(same).unwrap_err(), "two files with the same path", "{same:?}");
        }
        for place in ["manifest.json", "Manifest.JSON", "manifest.json.gz"] {
            assert_eq!(listed(["a", place]).unwrap_err(), "a file in the place of the manifest");
        }
        assert_eq!(listed(["a.ndjson", "error/a.ndjson"]).unwrap().len(), 2);
    }

    #[test]
    fn a_type_and_a_checksum_are_nothing_else() {
        let listed = |what: &str| {
            let body = format!(r#"{{"output":[{{"url":"a.ndjson",{what}}}]}}"#);
            read(body.as_bytes(), "f-1/manifest.json").map(|mut files| files.remove(0).type_)
        };
        assert_eq!(listed(r#""type":"Patient""#), Ok(Some("Patient".to_owned())));
        for nothing in [r#""type":"""#, r#""type":null,"sha256":null"#] {
            assert_eq!(listed(nothing), Ok(None), "{nothing}");
        }
        for type_ in ["\\u001b[2J", "a b", "../x"] {
            let refused = listed(&format!(r#""type":"{type_}""#));
            assert_eq!(refused.unwrap_err(), "a file with an invalid type", "{type_}");
        }
        let long = format!("{SUM}0");
        for sum in ["", "ab", "\\u001b[2J", long.as_str(), &SUM.replace('0', "g")] {
            let refused = listed(&format!(r#""sha256":"{sum}""#));
            assert_eq!(refused.unwrap_err(), "a file with an invalid checksum", "{sum}");
        }
    }

    #[test]
    fn what_differs_is_said() {
        let listed = read(LANDED.as_bytes(), "f-1/manifest.json").unwrap();
        let read = |bytes, lines, sha256: &str| Sum { bytes, lines, sha256: sha256.into() };
        assert!(differences(&listed[0], &read(9, 3, &SUM.to_uppercase())).is_empty());
        assert_eq!(
            differences(&listed[0], &read(8, 2, "cd")),
            [
                "it has 8 bytes instead of 9",
                "it holds 2 resources instead of 3",
                "its SHA-256 is another one"
            ]
        );
        assert!(differences(&listed[1], &read(8, 2, "cd")).is_empty(), "nothing is said of this file");
    }
}
