//! Where objects of an S3 store lie: the endpoint, the bucket, and the folder in it that is the container.

use crate::api::S3;

/// The region whose buckets are created without a location.
pub const DEFAULT_REGION: &str = "us-east-1";

/// The container of a `FhirServer` with storage of type S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// Scheme and host of the store, without the bucket and without a trailing slash.
    pub endpoint: String,
    /// The name of the bucket.
    pub bucket: String,
    /// Whether the bucket is part of the path instead of the host.
    pub path_style: bool,
    /// What each key in the container begins with: empty, or folders that end with a slash.
    pub base: String,
}

impl BucketPlace {
    /// The place of a container: a bucket, or a folder in the one that the settings name.
    pub fn of(s3: &S3, container: &str) -> Self {
        let (bucket, base) = match &s3.bucket {
            Some(bucket) => (bucket.as_str(), format!("{}{container}/", folder(s3))),
            None => (container, String::new()),
        };
        Self { endpoint: endpoint(s3), bucket: bucket.to_owned(), path_style: path_style(s3, bucket), base }
    }

    /// The place of all containers: the folder that holds them, if the settings name a bucket.
    pub fn of_all(s3: &S3) -> Option<Self> {
        let bucket = s3.bucket.as_deref()?;
        let path_style = path_style(s3, bucket);
        Some(Self { endpoint: endpoint(s3), bucket: bucket.to_owned(), path_style, base: folder(s3) })
    }
}

fn folder(s3: &S3) -> String {
    s3.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default()
}

fn path_style(s3: &S3, bucket: &str) -> bool {
    s3.path_style.unwrap_or_else(|| s3.endpoint.is_some() || bucket.contains('.'))
}

/// The endpoint of the store, without a trailing slash.
pub fn endpoint(s3: &S3) -> String {
    let own = s3.endpoint.as_ref().map(|endpoint| endpoint.trim_end_matches('/').to_owned());
    own.unwrap_or_else(|| format!("https://s3.{}.{}", s3.region, domain(&s3.region)))
}

/// The endpoint of the security token service of AWS in a region.
pub fn token_service(region: &str) -> String {
    format!("https://sts.{region}.{}", domain(region))
}

/// The region of an endpoint of AWS that is reached over TLS; `None` for the endpoint of another store.
pub fn aws_region(endpoint: &str) -> Option<&str> {
    let rest = endpoint.trim_end_matches('/').strip_prefix("https://s3.")?;
    let (region, of) = rest.split_once('.')?;
    (is_region(region) && of == domain(region)).then_some(region)
}

/// Whether a text is the name of a region: nothing in it can lead to another host.
fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(plain)
}

/// The domain of the services of AWS in a region.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// What the name of an S3 store begins with.
const SCHEME: &str = "s3://";
/// What separates the bucket from the endpoint in the name of a store.
const AT: &str = "?endpoint=";

/// The name of the store, as statuses and messages have it: `s3://BUCKET/PREFIX?endpoint=ENDPOINT`, without `BUCKET`
/// and `PREFIX` if the settings name none.
pub(super) fn store_name(s3: &S3) -> String {
    let bucket = s3.bucket.as_deref().unwrap_or_default();
    let prefix = s3.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
    format!("{SCHEME}{bucket}{prefix}{AT}{}", endpoint(s3))
}

/// An S3 store, as its name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedBucket<'n> {
    /// The bucket that holds all containers; `None` if each container is a bucket.
    pub bucket: Option<&'n str>,
    /// The folder in the bucket that holds the containers; `None` for its root.
    pub prefix: Option<&'n str>,
    /// The endpoint of the store.
    pub endpoint: &'n str,
}

impl<'n> NamedBucket<'n> {
    /// Reads the name of a store; `None` if it is not one of an S3 store.
    pub fn parse(name: &'n str) -> Option<Self> {
        let (place, endpoint) = name.strip_prefix(SCHEME)?.split_once(AT)?;
        let (bucket, prefix) = match place.split_once('/') {
            Some((bucket, prefix)) => (bucket, Some(prefix)),
            None => (place, None),
        };
        Some(Self { bucket: Some(bucket).filter(|bucket| !bucket.is_empty()), prefix, endpoint })
    }
}

/// The URL of a file, `s3://BUCKET/KEY`, from the name of its store; `None` if the store is no S3 store.
pub(super) fn file_url(store: &str, container: &str, key: &str) -> Option<String> {
    url(store, &format!("{container}/{key}"))
}

/// The URL of a path that begins with the container, from the name of its store; `None` if the store is no S3 store.
pub(super) fn url(store: &str, path: &str) -> Option<String> {
    let place = store.strip_prefix(SCHEME)?.split(AT).next().unwrap_or_default();
    let slash = if place.is_empty() { "" } else { "/" };
    Some(format!("{SCHEME}{place}{slash}{path}"))
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn s3(more: Value) -> S3 {
        let mut all = json!({ "region": "eu-central-1", "auth": { "type": "Anonymous" } });
        let Value::Object(more) = more else { panic!("no settings") };
        all.as_object_mut().unwrap().extend(more);
        serde_json::from_value(all).unwrap()
    }

    fn place(more: Value) -> (String, String, bool, String) {
        let BucketPlace { endpoint, bucket, path_style, base } = BucketPlace::of(&s3(more), "lake");
        (endpoint, bucket, path_style, base)
    }

    #[test]
    fn a_container_is_a_bucket_or_a_folder_in_one() {
        let aws = || "https://s3.eu-central-1.amazonaws.com".to_owned();
        assert_eq!(place(json!({})), (aws(), "lake".into(), false, String::new()));
        assert_eq!(place(json!({ "bucket": "clinic" })), (aws(), "clinic".into(), false, "lake/".into()));
        let inside = json!({ "bucket": "data.clinic", "prefix": "a/b" });
        assert_eq!(place(inside), (aws(), "data.clinic".into(), true, "a/b/lake/".into()));
        let own = json!({ "endpoint": "https://minio.example:9000/" });
        assert_eq!(place(own), ("https://minio.example:9000".into(), "lake".into(), true, String::new()));
        let hosts = json!({ "endpoint": "https://s3.example", "pathStyle": false });
        assert_eq!(place(hosts), ("https://s3.example".into(), "lake".into(), false, String::new()));
        assert_eq!(BucketPlace::of_all(&s3(json!({}))), None);
        let all = BucketPlace::of_all(&s3(json!({ "bucket": "clinic", "prefix": "a" }))).unwrap();
        assert_eq!((all.bucket.as_str(), all.base.as_str()), ("clinic", "a/"));
    }

    #[test]
    fn services_of_aws_in_a_region() {
        assert_eq!(token_service("eu-central-1"), "https://sts.eu-central-1.amazonaws.com");
        assert_eq!(token_service("cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
        let china = S3 { region: "cn-north-1".into(), ..s3(json!({})) };
        assert_eq!(endpoint(&china), "https://s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn the_name_of_a_store_leads_to_its_files() {
        for (more, name, url) in [
            (
                json!({}),
                "s3://?endpoint=https://s3.eu-central-1.amazonaws.com",
                "s3://lake/f/Patient-1.ndjson",
            ),
            (
                json!({ "bucket": "clinic", "prefix": "a/b", "endpoint": "https://minio.example:9000" }),
                "s3://clinic/a/b?endpoint=https://minio.example:9000",
                "s3://clinic/a/b/lake/f/Patient-1.ndjson",
            ),
        ] {
            let settings = s3(more);
            assert_eq!(store_name(&settings), name);
            let named = NamedBucket::parse(name).unwrap();
            let own = (settings.bucket.as_deref(), settings.prefix.as_deref(), endpoint(&settings));
            assert_eq!((named.bucket, named.prefix, named.endpoint.to_owned()), own);
            assert_eq!(file_url(name, "lake", "f/Patient-1.ndjson").unwrap(), url);
        }
        assert_eq!(file_url("https://lake.example.org", "lake", "f"), None);
        assert_eq!(NamedBucket::parse("https://lake.example.org"), None);
    }

    #[test]
    fn the_region_of_an_endpoint_of_aws() {
        for (endpoint, region) in [
            ("https://s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("https://s3.eu-central-1.amazonaws.com/", Some("eu-central-1")),
            ("https://s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("https://s3.eu-central-1.amazonaws.com.cn", None),
            ("https://s3.eu-central-1.amazonaws.com.evil.example", None),
            ("https://s3.a.compute-1.amazonaws.com", None),
            ("https://s3..amazonaws.com", None),
            ("https://s3.evil%2Eexample\\.amazonaws.com", None),
            ("https://s3.dev/x.amazonaws.com", None),
            ("https://s3.me@evil.amazonaws.com", None),
            ("http://s3.eu-central-1.amazonaws.com", None),
            ("https://minio.example:9000", None),
        ] {
            assert_eq!(aws_region(endpoint), region, "{endpoint}");
        }
    }
}
