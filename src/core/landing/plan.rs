//! Turns a manifest into the files that are to land, and their keys.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use url::Url;

use super::source::{identity, identity_by_token};
use super::{Claims, FileKind, LandFile, LandPlan};
use crate::api::{Compression, FhirServerSpec};
use crate::core::manifest::{File, Manifest};
use crate::core::poll::Bounds;

/// How many files are read at once if the server's owner sets no limit.
const PARALLEL: usize = 8;

/// Where an attempt lands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandPlace {
    /// The container.
    pub container: String,
    /// The folder in the container.
    pub folder: String,
}

impl LandPlace {
    /// The place of the attempt that began at `intent`: no two attempts share a folder. Without `container`
    /// the run gets a container of its own.
    pub fn of(container: Option<String>, uid: &str, intent: Timestamp) -> Self {
        let plain: String = uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let stamp = intent.strftime("%Y%m%dT%H%M%S");
        let short: String = plain.chars().take(8).collect();
        Self {
            container: container.unwrap_or_else(|| format!("export-{plain}").to_ascii_lowercase()),
            folder: format!("{stamp}-{short}"),
        }
    }
}

/// The plan to land the files of a manifest.
pub fn plan(
    server: &FhirServerSpec,
    manifest: &Manifest,
    place: &LandPlace,
    compression: Compression,
    bounds: Bounds,
) -> LandPlan {
    let ending = match compression {
        Compression::None => "ndjson",
        Compression::Gzip => "ndjson.gz",
    };
    let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let parts = [
        (FileKind::Output, "", &manifest.output),
        (FileKind::Deleted, "deleted/", &manifest.deleted),
        (FileKind::Error, "error/", &manifest.errors),
    ];
    let mut files = Vec::with_capacity(manifest.files());
    for (kind, below, list) in parts {
        for file in list {
            let number = numbers.entry((below, &file.type_)).or_default();
            *number += 1;
            let blob = format!("{}/{below}{}-{number}.{ending}", place.folder, file.type_);
            files.push(land_file(kind, file, blob));
        }
    }
    tell_apart(&mut files);
    let limit = server.limits.as_ref().and_then(|limits| limits.max_parallel_downloads);
    LandPlan {
        container: place.container.clone(),
        folder: place.folder.clone(),
        compression,
        files,
        last: Vec::new(),
        parallel: limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(PARALLEL).max(1),
        // A file of output that is organized by patient or group may begin with a resource of any type.
        typed: manifest.organized_by.is_none(),
        // If the server does not say, its files are requested with a token like everything else.
        with_token: manifest.requires_access_token.unwrap_or(true),
        bounds,
    }
}

/// Gives files whose URLs differ only in a token different sources.
fn tell_apart(files: &mut [LandFile]) {
    let mut times: HashMap<String, u32> = HashMap::with_capacity(files.len());
    for file in &*files {
        *times.entry(file.source.clone()).or_default() += 1;
    }
    for file in files.iter_mut().filter(|file| times.get(&file.source).is_some_and(|times| *times > 1)) {
        file.source = Url::parse(&file.url).map(|url| identity_by_token(&url)).unwrap_or_default();
    }
}

/// Whether a manifest lists a data file more than once, regardless of signatures in the links. A server that
/// repeats a file, for example on overlapping pages, may have left out another one.
pub fn lists_a_file_twice(manifest: &Manifest) -> bool {
    let mut seen = HashSet::with_capacity(manifest.files());
    let data = manifest.output.iter().chain(&manifest.deleted);
    data.filter_map(|file| Url::parse(&file.url).ok()).any(|url| !seen.insert(identity_by_token(&url)))
}

fn land_file(kind: FileKind, file: &File, blob: String) -> LandFile {
    let source = Url::parse(&file.url).map(|url| identity(&url)).unwrap_or_default();
    LandFile {
        kind,
        url: file.url.clone(),
        blob,
        source,
        // Entries of deleted and error files have the structure of output entries (specification, "Bulk Data Output
        // Manifest"): their count is the number of resources, which are Bundles and OperationOutcomes there.
        claims: Claims { count: file.count, bytes: file.bytes, sha256: file.sha256.clone() },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::bulk::manifest::Pages;

    #[test]
    fn names_follow_type_and_place() {
        let body = br#"{"transactionTime":"2026-01-01T00:00:00Z","requiresAccessToken":true,"output":[
            {"type":"Patient","url":"https://x/1"},{"type":"Condition","url":"https://x/2","count":3},
            {"type":"Patient","url":"/f/3?sig=1"}],
            "deleted":[{"type":"Bundle","url":"https://x/4"}],
            "error":[{"type":"OperationOutcome","url":"https://x/5","count":7}]}"#;
        let manifest = Pages::read(None, body, "https://x/status/1").unwrap().into_manifest();
        let spec: FhirServerSpec = serde_json::from_value(serde_json::json!({
            "url": "https://x", "dialect": "BulkData", "auth": {"type": "None"},
            "storage": {"type": "AzureBlob"}, "limits": {"maxParallelDownloads": 3}}))
        .unwrap();
        let place = LandPlace::of(None, "0123abcd-ef", "2026-11-24T02:03:04.5Z".parse().unwrap());
        assert_eq!(place.container, "export-0123abcd-ef");
        let second = Duration::from_secs(1);
        let bounds = Bounds { min: second, max: second, max_retry_after: second };
        let plan = plan(&spec, &manifest, &place, Compression::Gzip, bounds);
        let names: Vec<&str> = plan.files.iter().map(|f| f.blob.as_str()).collect();
        let folder = "20261124T020304-0123abcd";
        assert_eq!(
            names,
            [
                format!("{folder}/Patient-1.ndjson.gz"),
                format!("{folder}/Condition-1.ndjson.gz"),
                format!("{folder}/Patient-2.ndjson.gz"),
                format!("{folder}/deleted/Bundle-1.ndjson.gz"),
                format!("{folder}/error/OperationOutcome-1.ndjson.gz"),
            ]
        );
        assert_eq!(plan.files[2].url, "https://x/f/3?sig=1");
        assert_eq!(plan.files[1].claims.count, Some(3));
        assert_eq!(plan.files[4].claims.count, Some(7));
        assert!(plan.with_token && plan.parallel == 3);
    }

    #[test]
    fn files_that_differ_by_a_token_only_are_told_apart() {
        let sources = |urls: [&str; 2]| {
            let output = urls.map(|url| serde_json::json!({"type": "Patient", "url": url}));
            let body = serde_json::json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": true,
                "output": output});
            let manifest =
                Pages::read(None, body.to_string().as_bytes(), "https://x/status/1").unwrap().into_manifest();
            let spec: FhirServerSpec = serde_json::from_value(serde_json::json!({
                "url": "https://x", "dialect": "BulkData", "auth": {"type": "None"}}))
            .unwrap();
            let place = LandPlace { container: "lake".to_owned(), folder: "f".to_owned() };
            let second = Duration::from_secs(1);
            let bounds = Bounds { min: second, max: second, max_retry_after: second };
            let plan = plan(&spec, &manifest, &place, Compression::None, bounds);
            plan.files.iter().map(|file| file.source.clone()).collect::<Vec<_>>()
        };
        let named_by_token = sources(["https://x/download?token=a", "https://x/download?token=b"]);
        assert_ne!(named_by_token[0], named_by_token[1]);
        let refreshed = sources(["https://x/1?token=c", "https://x/2?token=d"]);
        assert_eq!(
            sources(["https://x/1?token=a", "https://x/2?token=b"]),
            refreshed,
            "a token may be a signature"
        );
    }
}
