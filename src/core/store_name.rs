//! The name of the store that a `FhirServer` names, as statuses and messages have it, and the URLs of files in it.

use super::bucket::{self, NamedBucket};
use crate::api::{Storage, StorageType, Volume};

/// What the name of a volume begins with. A blob endpoint begins with `http`.
const VOLUME: &str = "volume:";

/// The name of a store: the blob endpoint of the storage account as the `FhirServer` has it, `volume:CLAIM/PATH`, or
/// `s3://BUCKET/PREFIX?endpoint=ENDPOINT`. `None` if the settings for its type are missing.
pub fn store_name(storage: &Storage) -> Option<String> {
    match storage.type_ {
        StorageType::AzureBlob => Some(storage.azure_blob.as_ref()?.endpoint.clone()),
        StorageType::Volume => {
            let Volume { claim_name, path } = storage.volume.as_ref()?;
            Some(match path.as_deref() {
                None | Some("") => format!("{VOLUME}{claim_name}"),
                Some(path) => format!("{VOLUME}{claim_name}/{path}"),
            })
        }
        StorageType::S3 => storage.s3.as_ref().map(bucket::store_name),
    }
}

/// The store that a name of [`store_name`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store<'n> {
    /// The storage account with this blob endpoint.
    Account(&'n str),
    /// A folder of a volume, as `CLAIM` or `CLAIM/PATH`.
    Volume(&'n str),
    /// An S3 store.
    S3(NamedBucket<'n>),
    /// A store of another type.
    Other(&'n str),
}

/// The store that this name means.
pub fn store_of(name: &str) -> Store<'_> {
    if let Some(folder) = name.strip_prefix(VOLUME) {
        return Store::Volume(folder);
    }
    if let Some(bucket) = NamedBucket::parse(name) {
        return Store::S3(bucket);
    }
    if name.starts_with("http") { Store::Account(name) } else { Store::Other(name) }
}

/// The URL of a landed file in the manifest beside it: absolute in a storage account, and `s3://BUCKET/KEY` in an S3
/// store. On a volume it is relative to the manifest in `folder`, because each reader mounts the volume at a path of
/// its own. `key` names the file in the container.
pub(super) fn file_url(store: &str, container: &str, folder: &str, key: &str) -> String {
    if store.starts_with(VOLUME) {
        let below = key.strip_prefix(folder).and_then(|below| below.strip_prefix('/'));
        return below.unwrap_or(key).to_owned();
    }
    bucket::file_url(store, container, key)
        .unwrap_or_else(|| format!("{}/{container}/{key}", store.trim_end_matches('/')))
}

/// The key in its container of a file with this URL, in the S3 store of this name; `None` if the store is no S3 store.
/// The error says that the file lies elsewhere.
pub(super) fn key_in_bucket(store: &str, container: &str, url: &str) -> Option<Result<String, &'static str>> {
    let root = bucket::url(store, container)?;
    let key = url.strip_prefix(&root).and_then(|rest| rest.strip_prefix('/'));
    Some(key.map(str::to_owned).ok_or("a file outside the container"))
}

/// Where a folder lies, for people: its URL, `s3://BUCKET/…` in an S3 store and `volume:CLAIM/…` on a volume. Without a
/// folder, where the container lies; without a name of the store, the path in it.
pub fn folder_url(store: Option<&str>, container: &str, folder: Option<&str>) -> String {
    let path = folder.map_or_else(|| container.to_owned(), |folder| format!("{container}/{folder}"));
    match store {
        Some(store) => {
            bucket::url(store, &path).unwrap_or_else(|| format!("{}/{path}", store.trim_end_matches('/')))
        }
        None => path,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_store_has_a_name_of_its_own() {
        let name = |storage: Value| store_name(&serde_json::from_value(storage).unwrap());
        let volume = |volume: Value| json!({ "type": "Volume", "volume": volume });
        let blob = json!({ "type": "AzureBlob", "azureBlob": { "endpoint": "https://lake.example.org/",
            "auth": { "type": "SameAsServer" } } });
        assert_eq!(name(blob).unwrap(), "https://lake.example.org/");
        assert_eq!(name(volume(json!({ "claimName": "lake" }))).unwrap(), "volume:lake");
        assert_eq!(name(volume(json!({ "claimName": "lake", "path": "a/b" }))).unwrap(), "volume:lake/a/b");
        assert_eq!(store_of("volume:lake/a/b"), Store::Volume("lake/a/b"));
        assert_eq!(store_of("file:///lake"), Store::Other("file:///lake"));
        assert_eq!(store_of("https://lake.example.org/"), Store::Account("https://lake.example.org/"));
        assert_eq!(name(json!({ "type": "Volume" })), None);
        assert_eq!(name(json!({ "type": "AzureBlob" })), None);
        let s3 = json!({ "bucket": "lake", "region": "eu-central-1", "auth": { "type": "Anonymous" } });
        let named = name(json!({ "type": "S3", "s3": s3 })).unwrap();
        assert_eq!(named, "s3://lake?endpoint=https://s3.eu-central-1.amazonaws.com");
        let bucket = NamedBucket {
            bucket: Some("lake"),
            prefix: None,
            endpoint: "https://s3.eu-central-1.amazonaws.com",
        };
        assert_eq!(store_of(&named), Store::S3(bucket));
        assert_eq!(name(json!({ "type": "S3" })), None);
    }

    #[test]
    fn urls_of_files() {
        let key = "20261124T020304-0123abcd/deleted/Bundle-1.ndjson";
        let url = |store: &str| file_url(store, "exports", "20261124T020304-0123abcd", key);
        let absolute = "https://lake.example.org/exports/20261124T020304-0123abcd/deleted/Bundle-1.ndjson";
        assert_eq!(url("https://lake.example.org"), absolute);
        assert_eq!(url("https://lake.example.org/"), absolute);
        assert_eq!(url("volume:lake"), "deleted/Bundle-1.ndjson");
        assert_eq!(url("volume:lake/clinic"), "deleted/Bundle-1.ndjson");
        assert_eq!(url("s3://lake?endpoint=https://s3.example"), format!("s3://lake/exports/{key}"));
    }

    #[test]
    fn places_of_folders() {
        for (store, folder, wanted) in [
            (Some("https://lake.example.org/"), Some("f"), "https://lake.example.org/exports/f"),
            (Some("https://lake.example.org"), None, "https://lake.example.org/exports"),
            (Some("volume:lake/clinic"), Some("f"), "volume:lake/clinic/exports/f"),
            (Some("s3://lake/a/b?endpoint=https://s3.example"), Some("f"), "s3://lake/a/b/exports/f"),
            (Some("s3://?endpoint=https://s3.example"), Some("f"), "s3://exports/f"),
            (Some("s3://?endpoint=https://s3.example"), None, "s3://exports"),
            (None, Some("f"), "exports/f"),
        ] {
            assert_eq!(folder_url(store, "exports", folder), wanted, "{store:?}");
        }
    }
}
