//! Manifests of both kinds of server: names that become paths, URLs that are fetched.

use std::collections::BTreeSet;
use std::time::Duration;

use fhir_export_operator::api::Compression;
use fhir_export_operator::core::address::BlobAddress;
use fhir_export_operator::core::bulk::manifest::Pages;
use fhir_export_operator::core::landing::{Place, plan};
use fhir_export_operator::core::manifest::{MAX_FILES, Manifest};
use fhir_export_operator::core::poll::Bounds;
use fhir_export_operator::fhir::origin::{Origin, file_trust};
use serde_json::Value;
use url::Url;

use super::server;

const AT: &str = "https://clinic.example/fhir/status/1";
const ENDPOINT: &str = "https://acct.blob.example";

/// What is read of a manifest is bounded, leads nowhere else than it may, and names no blob outside the run's folder.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        azure(&manifest);
    }
    if let Ok(first) = Pages::read(None, data, AT) {
        bulk(&first);
        let at = first.next.as_deref().unwrap_or(AT);
        if let Ok(second) = Pages::read(Some(&first), data, at) {
            assert!(first.next.is_some() || at == AT);
            assert_eq!(second.manifest.files(), 2 * first.manifest.files());
            bulk(&second);
        }
    }
}

fn azure(manifest: &Manifest) {
    assert!(manifest.files() <= MAX_FILES && manifest.transaction_time.len() <= 64);
    for type_ in manifest.by_type().keys() {
        assert!(type_.len() <= 64 && type_.bytes().all(|b| b.is_ascii_alphanumeric()), "{type_:?}");
    }
    let files = manifest.output.iter().chain(&manifest.errors).chain(&manifest.deleted);
    for file in files.clone() {
        let Ok(address) = BlobAddress::parse(&file.url, Some(ENDPOINT)) else { continue };
        assert_eq!(address.account_origin, ENDPOINT, "{}", file.url);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(address.container.bytes().all(plain) && (3..=63).contains(&address.container.len()));
        within_a_container(&address.blob);
    }
    // What is stored is the same manifest, without a query.
    let again = Manifest::parse(&manifest.to_store()).expect("a manifest");
    let bare = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    let stored: Vec<&String> =
        again.output.iter().chain(&again.errors).chain(&again.deleted).map(|f| &f.url).collect();
    let wanted: Vec<String> = files.map(|file| bare(&file.url)).collect();
    assert!(stored.into_iter().eq(wanted.iter()), "{wanted:?}");
    assert_eq!(
        (again.transaction_time, again.request),
        (manifest.transaction_time.clone(), manifest.request.clone())
    );
}

fn bulk(pages: &Pages) {
    let manifest = &pages.manifest;
    let server = server("BulkData", Value::Null);
    assert!(manifest.files() <= MAX_FILES && manifest.transaction_time.len() <= 64);
    let files = manifest.output.iter().chain(&manifest.errors).chain(&manifest.deleted);
    for url in files.map(|file| file.url.as_str()).chain(pages.next.as_deref()) {
        let parsed = Url::parse(url).expect("a URL");
        assert!(matches!(parsed.scheme(), "http" | "https") && url.len() <= 8192, "{url}");
        let trusted = Origin::of(&parsed).and_then(|origin| file_trust(&server, &origin));
        let named = ["https://clinic.example", "https://bulk.example:8443", "https://files.example"];
        let origin = parsed.origin().ascii_serialization();
        assert!(trusted.is_none() || named.contains(&origin.as_str()), "{url}");
    }
    let place = Place::of(None, "0123abcd-ef", "2026-11-24T02:03:04Z".parse().unwrap());
    let second = Duration::from_secs(1);
    let bounds = Bounds { min: second, max: second, max_retry_after: second };
    let plan = plan(&server.spec, manifest, &place, Compression::None, bounds);
    let mut names = BTreeSet::new();
    for file in &plan.files {
        let name = file.blob.strip_prefix("20261124T020304-0123abcd/").expect("in the run's folder");
        within_a_container(name);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/');
        assert!(name.bytes().all(plain) && name.matches('/').count() <= 1, "{name:?}");
        assert!(names.insert(name), "{name} twice");
    }
}

fn within_a_container(name: &str) {
    assert!(!name.is_empty() && name.chars().count() <= 1024 && !name.contains(char::is_control), "{name:?}");
    assert!(name.split('/').all(|segment| segment != "." && segment != ".."), "{name:?}");
}
