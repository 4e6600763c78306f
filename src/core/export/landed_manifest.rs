//! The manifest that is stored beside the landed files and marks them as complete.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use crate::core::bulk::manifest::MIXED;
use crate::core::landing::{FileKind, LandFile, LandPlan, Landed};
use crate::core::manifest::{File, Manifest};
use crate::core::store_name::file_url;

/// The stored manifest: in the form of the specification, with a checksum for each file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored<'a> {
    transaction_time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    requires_access_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_organized_by: Option<&'a str>,
    output: Vec<Entry>,
    deleted: Vec<Entry>,
    error: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    url: String,
    count: u64,
    /// The size in bytes of the NDJSON before compression; the checksum is of the same bytes.
    file_size: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    continues_in_file: Option<String>,
}

/// The manifest to store beside the data, whose files lie in `store`: the URL, size and checksum of each file that
/// landed. It never contains a URL of the server's files, since such URLs may be signed.
pub(super) fn body(manifest: &Manifest, store: &str, plan: &LandPlan, landed: &[Landed]) -> Vec<u8> {
    let url = |blob: &str| file_url(store, &plan.container, &plan.folder, blob);
    let sources = manifest.output.iter().chain(&manifest.deleted).chain(&manifest.errors);
    let by_source: BTreeMap<&str, &str> =
        sources.clone().zip(&plan.files).map(|(s, f)| (s.url.as_str(), f.blob.as_str())).collect();
    let entry = |source: &File, file: &LandFile, landed: &Landed| Entry {
        type_: Some(source.type_.clone()).filter(|type_| type_ != MIXED),
        url: url(&file.blob),
        count: landed.sum.lines,
        file_size: landed.sum.bytes,
        sha256: landed.sum.sha256.clone(),
        continues_in_file: source
            .continues_in
            .as_deref()
            .and_then(|n| by_source.get(n))
            .map(|blob| url(blob)),
    };
    let entries = |kind: FileKind| -> Vec<Entry> {
        let rows = sources.clone().zip(&plan.files).zip(landed).filter(|((_, f), _)| f.kind == kind);
        rows.map(|((source, file), landed)| entry(source, file, landed)).collect()
    };
    let whole = Stored {
        transaction_time: &manifest.transaction_time,
        request: without_query(&manifest.request),
        requires_access_token: false,
        output_organized_by: manifest.organized_by.as_deref(),
        output: entries(FileKind::Output),
        deleted: entries(FileKind::Deleted),
        error: entries(FileKind::Error),
    };
    let mut body = serde_json::to_vec_pretty(&whole).unwrap_or_default();
    body.push(b'\n');
    body
}

/// The request without its query, which may name patients.
fn without_query(request: &str) -> Option<String> {
    let mut url = Url::parse(request).ok()?;
    url.set_query(None);
    Some(url.to_string())
}
