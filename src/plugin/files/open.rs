//! Opens the store of an export with the caller's own credential.

use std::sync::Arc;

use serde_json::json;

use super::place::{BucketPlace, StorePlace};
use super::{aws_login, azure_login};
use crate::api::{FhirServer, S3};
use crate::cluster::root_cause;
use crate::core::bucket::{DEFAULT_REGION, aws_region};
use crate::core::ledger::StorageFailure;
use crate::core::reach::Reach;
use crate::plugin::describe::parsed;
use crate::stop::Stop;
use crate::storage::{BlobStorage, EndpointFrom, FolderStorage, S3Storage, http_client, s3_client};

/// A store that the caller reads.
pub enum Store {
    /// A storage account.
    Account(Box<BlobStorage>),
    /// An S3 store.
    Bucket(S3Storage),
    /// A directory.
    Directory(FolderStorage),
}

/// A failure as a sentence.
pub fn sentence(failure: &StorageFailure) -> String {
    format!("The files cannot be read: {}.", failure.message.trim_end_matches('.'))
}

/// Opens a store, with the credential of the environment that fits its type.
pub async fn open(store: &StorePlace) -> Result<Store, Stop> {
    match store {
        StorePlace::Directory(directory) => Ok(Store::Directory(FolderStorage::new(directory))),
        StorePlace::Account { endpoint, named } => {
            let http = http_client(&[], &Reach::default()).map_err(|e| without_tls(&e))?;
            let credential = azure_login::of_environment().await?;
            let account = BlobStorage::of_caller(endpoint, chosen(*named), credential, http);
            let account = account.map_err(|failure| Stop::because(sentence(&failure)))?;
            Ok(Store::Account(Box::new(account)))
        }
        StorePlace::Bucket(bucket) => {
            let http = s3_client(&[], &Reach::default()).map_err(|e| without_tls(&e))?;
            let key = aws_login::of_environment().await?;
            let store = S3Storage::of_caller(&settings(bucket)?, chosen(bucket.named), key, http);
            Ok(Store::Bucket(store.map_err(|failure| Stop::because(sentence(&failure)))?))
        }
    }
}

fn without_tls(error: &reqwest::Error) -> Stop {
    Stop::because(format!("The program cannot use TLS: {}.", root_cause(error)))
}

fn chosen(by_caller: bool) -> EndpointFrom {
    if by_caller { EndpointFrom::Caller } else { EndpointFrom::Cluster }
}

/// The settings of an S3 store. The bucket is part of the path, except at AWS.
fn settings(place: &BucketPlace) -> Result<S3, Stop> {
    let of_environment =
        || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
    let region = place.region.clone().or_else(of_environment).filter(|region| !region.is_empty());
    let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let endpoint = Some(&place.endpoint).filter(|endpoint| aws_region(endpoint) != Some(region.as_str()));
    parsed(json!({ "bucket": place.bucket, "prefix": place.prefix, "region": region, "endpoint": endpoint,
        "auth": { "type": "Anonymous" } }))
}

/// A FhirServer for operations on stores that take no more from it than the place of a bucket.
pub fn nobody(store: &StorePlace) -> Result<Arc<FhirServer>, Stop> {
    let storage = match store {
        StorePlace::Bucket(bucket) => Some(json!({ "type": "S3", "s3": settings(bucket)? })),
        StorePlace::Account { .. } | StorePlace::Directory(_) => None,
    };
    let spec = json!({ "url": "https://localhost", "dialect": "BulkData", "auth": { "type": "None" },
        "storage": storage });
    Ok(Arc::new(FhirServer::new("nobody", parsed(spec)?)))
}
