//! Creates buckets.

use rusty_s3::Method;

use super::bucket::Bucket;
use super::call::{Call, Right};
use super::failure;
use crate::core::bucket::DEFAULT_REGION;
use crate::core::ledger::{StorageFailure, StorageFailureKind};

impl Bucket {
    /// Creates the bucket of a container, unless it exists. A folder in a bucket needs no creation, and its bucket is
    /// never created: it is named by the `FhirServer`, and others may use it, too.
    pub(super) async fn make(&self) -> Result<(), StorageFailure> {
        match self.one().await {
            Err(failure) if failure.kind == StorageFailureKind::NotFound && self.is_whole() => {}
            looked => return looked,
        }
        let mut call = Call::new(Method::Put, Right::CreateBucket, "");
        if self.region() != DEFAULT_REGION {
            call = call.body(format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{}\
                 </LocationConstraint></CreateBucketConfiguration>",
                self.region()
            ));
        }
        let answer = self.send(&call).await?;
        match answer.code() {
            _ if answer.is_success() => Ok(()),
            Some("BucketAlreadyOwnedByYou") => Ok(()),
            // Names of buckets are the same for everybody: whoever has this one would get the files.
            Some("BucketAlreadyExists") => Err(StorageFailure::permanent(format!(
                "the bucket {} belongs to somebody else at {}: name another container",
                self.name(),
                self.host()
            ))),
            _ => Err(failure::refused(self, &answer, Right::CreateBucket)),
        }
    }
}
