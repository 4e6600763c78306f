//! A bucket, with the credentials to use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusty_s3::Method;
use url::Url;

use super::call::Call;
use super::keys::{Access, encoded};
use crate::api::{S3, S3Encryption, S3EncryptionType};
use crate::core::bucket::BucketPlace;
use crate::core::ledger::StorageFailure;
use crate::ports::Tenure;
use crate::storage::key;

/// How requests leave this process.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) http: reqwest::Client,
    pub(super) tenure: Tenure,
}

/// A store, with the credentials to use it: the account of all its buckets.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) access: Access,
    pub(super) region: String,
    owner: Option<String>,
    encryption: Option<S3Encryption>,
    way: Way,
}

impl Account {
    pub(super) fn new(s3: &S3, access: Access, way: Way) -> Self {
        Self {
            access,
            region: s3.region.clone(),
            owner: s3.expected_bucket_owner.clone(),
            encryption: s3.server_side_encryption.clone(),
            way,
        }
    }
}

/// A container: a bucket, or a folder in one.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    account: Arc<Account>,
    place: BucketPlace,
    /// The URL that the keys of the bucket follow, with a slash at its end.
    root: Url,
}

impl Bucket {
    pub(super) fn new(account: &Arc<Account>, place: BucketPlace) -> Result<Self, StorageFailure> {
        let wrong = || StorageFailure::permanent(format!("the S3 endpoint {} is not a URL", place.endpoint));
        let mut root = Url::parse(&place.endpoint).map_err(|_| wrong())?;
        let host = root.host_str().filter(|_| matches!(root.scheme(), "http" | "https")).ok_or_else(wrong)?;
        if place.bucket.is_empty() {
            root.set_path("/");
        } else if place.path_style {
            root.set_path(&format!("/{}/", place.bucket));
        } else {
            let host = format!("{}.{host}", place.bucket);
            root.set_host(Some(&host)).map_err(|_| wrong())?;
            root.set_path("/");
        }
        root.set_query(None);
        Ok(Self { account: Arc::clone(account), place, root })
    }

    /// The name of the bucket, for messages.
    pub(super) fn name(&self) -> &str {
        &self.place.bucket
    }

    /// Whether the container is a bucket of its own.
    pub(super) fn is_whole(&self) -> bool {
        self.place.base.is_empty()
    }

    /// What tells this bucket from those of other stores.
    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.place.endpoint, &self.place.bucket)
    }

    /// The host of the store, for messages.
    pub(super) fn host(&self) -> &str {
        self.place.endpoint.split("://").nth(1).unwrap_or(&self.place.endpoint)
    }

    pub(super) fn access(&self) -> &Access {
        &self.account.access
    }

    pub(super) fn region(&self) -> &str {
        &self.account.region
    }

    pub(super) fn owner(&self) -> Option<&str> {
        self.account.owner.as_deref()
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.account.way.http
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.account.way.tenure
    }

    /// The key in the bucket of an object of the container. Rejects one that could mean another place than it says.
    pub(super) fn key(&self, key: &str) -> Result<String, StorageFailure> {
        key::components(key).ok_or_else(|| {
            StorageFailure::permanent(format!(
                "{key:?} cannot be the name of an object of a run; it is refused"
            ))
        })?;
        Ok(self.prefix(key))
    }

    /// The beginning of keys in the bucket, from that of keys in the container.
    pub(super) fn prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.place.base)
    }

    /// The key in the container of an object in the bucket; `None` if it lies elsewhere.
    pub(super) fn below<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(self.place.base.as_str())
    }

    /// Adds the headers that say how the object is to be encrypted.
    pub(super) fn encrypted(&self, call: Call) -> Call {
        let Some(S3Encryption { type_, key_id }) = &self.account.encryption else { return call };
        let how = match type_ {
            S3EncryptionType::Aes256 => "AES256",
            S3EncryptionType::Kms => "aws:kms",
        };
        let call = call.header("x-amz-server-side-encryption", how);
        match key_id {
            Some(id) => call.header("x-amz-server-side-encryption-aws-kms-key-id", id),
            None => call,
        }
    }

    pub(super) fn signed(
        &self,
        method: Method,
        key: &str,
        query: &BTreeMap<&'static str, String>,
        headers: &BTreeMap<&'static str, String>,
    ) -> Url {
        let mut url = self.root.clone();
        let path: Vec<String> = key.split('/').map(encoded).collect();
        url.set_path(&format!("{}{}", self.root.path(), path.join("/")));
        // The URL of a bucket in the path has no slash at its end, as the store's own clients send it.
        if key.is_empty() && url.path().len() > 1 {
            url.set_path(self.root.path().trim_end_matches('/'));
        }
        self.account.access.signed(method, &url, &self.account.region, query, headers)
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bucket(more: Value) -> Bucket {
        let mut all = json!({ "region": "eu-central-1", "auth": { "type": "Anonymous" } });
        let Value::Object(more) = more else { panic!("no settings") };
        all.as_object_mut().unwrap().extend(more);
        let s3: S3 = serde_json::from_value(all).unwrap();
        let way = Way { http: reqwest::Client::new(), tenure: Tenure::default() };
        let account = Arc::new(Account::new(&s3, Access::Anonymous, way));
        Bucket::new(&account, BucketPlace::of(&s3, "lake")).unwrap()
    }

    fn url(bucket: &Bucket, key: &str) -> String {
        let none = BTreeMap::new();
        bucket.signed(Method::Get, key, &none, &BTreeMap::new()).to_string()
    }

    #[test]
    fn urls_of_objects_in_both_styles() {
        let aws = bucket(json!({}));
        assert_eq!(url(&aws, "f/a b.ndjson"), "https://lake.s3.eu-central-1.amazonaws.com/f/a%20b.ndjson");
        assert_eq!(url(&aws, ""), "https://lake.s3.eu-central-1.amazonaws.com/");
        let own = bucket(json!({ "endpoint": "http://127.0.0.1:9000", "bucket": "clinic", "prefix": "a" }));
        let key = own.key("f/%2e%2e/x?y#z").unwrap();
        assert_eq!(key, "a/lake/f/%2e%2e/x?y#z");
        assert_eq!(url(&own, &key), "http://127.0.0.1:9000/clinic/a/lake/f/%252e%252e/x%3Fy%23z");
        assert_eq!(url(&own, ""), "http://127.0.0.1:9000/clinic");
        assert_eq!(own.below(&key), Some("f/%2e%2e/x?y#z"));
        assert_eq!(own.below("a/other/f"), None);
        assert_eq!((own.host(), own.name()), ("127.0.0.1:9000", "clinic"));
    }

    #[test]
    fn no_key_leads_out_of_the_container() {
        let own = bucket(json!({ "endpoint": "https://s3.example", "bucket": "clinic" }));
        for key in ["", "/x", "../x", "f/../../x", "f//x", "f/", "f/\0"] {
            assert!(own.key(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn encryption_is_asked_for_by_headers() {
        let plain = bucket(json!({})).encrypted(Call::get("k"));
        let kms = json!({ "serverSideEncryption": { "type": "KMS", "keyID": "alias/exports" } });
        let kms = bucket(kms).encrypted(Call::get("k"));
        assert!(!format!("{plain:?}").contains("encryption"));
        let told = format!("{kms:?}");
        assert!(told.contains("aws:kms") && told.contains("alias/exports"), "{told}");
    }
}
