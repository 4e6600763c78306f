//! Shows once for each bucket that the store never overwrites an object. There are stores that take the condition of a
//! request and do not heed it: one of them would replace a landed file without a word.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusty_s3::Method;

use super::S3Storage;
use super::bucket::Bucket;
use super::call::{Call, Right};
use super::multipart::Joined;
use crate::api::FhirServer;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::ports::Committed;

/// The object that is tried to be overwritten, at the root of the container. It stays there.
const OBJECT: &str = ".fhir-export-operator";
const CONTENT: &[u8] = b"The operator makes sure with this object that the store never overwrites one.\n";

/// The buckets that were shown to heed the condition, by endpoint and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Proven {
    fn has(&self, bucket: &Bucket) -> bool {
        let (endpoint, name) = bucket.identity();
        let proven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        proven.contains(&(endpoint.to_owned(), name.to_owned()))
    }

    fn add(&self, bucket: &Bucket) {
        let (endpoint, name) = bucket.identity();
        let mut proven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        proven.insert((endpoint.to_owned(), name.to_owned()));
    }
}

impl S3Storage {
    /// Fails unless the bucket of a container was shown to heed the condition. Asks the store if nobody did so far.
    pub(super) async fn prove(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
    ) -> Result<(), StorageFailure> {
        self.with_bucket(server, container, |bucket| async move {
            if self.proven.has(&bucket) {
                return Ok(());
            }
            bucket.never_overwrites().await?;
            self.proven.add(&bucket);
            Ok(())
        })
        .await
    }
}

impl Bucket {
    /// Tries to overwrite an object, at once and in parts. Fails if either is done, and if the object may not be
    /// overwritten when that is asked for.
    async fn never_overwrites(&self) -> Result<(), StorageFailure> {
        let key = self.key(OBJECT)?;
        let put = || self.create(Call::new(Method::Put, Right::Write, &key).body(CONTENT));
        put().await?;
        if put().await? == Committed::Now {
            return Err(self.overwrites());
        }
        let upload = self.initiate(OBJECT, "proof", "text/plain").await?;
        let joined = match self.store_part(OBJECT, &upload, 1, CONTENT.into()).await? {
            Some(part) => self.join(OBJECT, &upload, &[part]).await?,
            None => return Err(StorageFailure::transient("the test upload has ended; it is begun again")),
        };
        match joined {
            Joined::Now => return Err(self.overwrites()),
            Joined::Exists => self.abort(OBJECT, &upload).await?,
            Joined::Contested => {
                self.abort(OBJECT, &upload).await?;
                return Err(StorageFailure::transient(format!(
                    "the S3 store {} does not say whether it overwrites objects; it is asked again",
                    self.host()
                )));
            }
        }
        self.may_overwrite().await
    }

    /// Overwrites the object unconditionally, as the notes of how far uploads are will be.
    async fn may_overwrite(&self) -> Result<(), StorageFailure> {
        self.overwrite(OBJECT, CONTENT).await.map_err(|mut failure| {
            if failure.kind == StorageFailureKind::Denied {
                failure.message.push_str(
                    "; if a policy demands If-None-Match of each PutObject (s3:if-none-match), exempt objects whose \
                     names begin with a dot: the operator notes in them how far uploads are",
                );
            }
            failure
        })
    }

    fn overwrites(&self) -> StorageFailure {
        StorageFailure::permanent(format!(
            "the S3 store {} overwrites objects although it is asked not to (If-None-Match), so files could be lost: \
             use one that heeds it",
            self.host()
        ))
    }
}
