//! S3: buckets of AWS, and of other stores that speak its API. Nothing outside this folder names a part number, an
//! entity tag or an upload id.
//!
//! The crate `rusty_s3` signs the requests, and the operator's own HTTP client sends them.

mod answer;
mod bucket;
mod call;
mod caller;
mod connect;
mod create;
mod cut;
mod delete;
mod failure;
mod jobs;
mod keys;
mod lane;
mod listing;
mod multipart;
mod object;
mod port;
mod proof;
mod read;
mod request;
mod side;
mod upload;

use std::sync::Arc;

pub use keys::AccessKey;
pub use upload::S3Upload;

use bucket::{Account, Bucket, Way};
use caller::Source;
use connect::Connections;
use proof::Proven;

use crate::api::FhirServer;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::reach::Reach;
use crate::credentials::Identities;
use crate::credentials::transport::client_builder;
use crate::ports::Tenure;
use crate::storage::StorageHosts;

/// How many connections are kept open to one host.
const MAX_IDLE: usize = 64;

/// The HTTP client for all requests to S3 stores. It follows no redirects (a signature is for one host) and
/// decompresses nothing (ranges refer to the stored bytes). It trusts `extra_ca` (PEM) besides the system's
/// authorities, and connects only to addresses within `reach`. Each request has its own time limits.
pub fn s3_client(extra_ca: &[String], reach: &Reach) -> Result<reqwest::Client, reqwest::Error> {
    client_builder(extra_ca, Some(reach.clone()))?
        .no_gzip()
        .no_deflate()
        .pool_max_idle_per_host(MAX_IDLE)
        .build()
}

/// S3: the stores of all `FhirServer`s.
#[derive(Clone)]
pub struct S3Storage {
    source: Arc<Source>,
    proven: Proven,
}

impl S3Storage {
    /// A store that uses the credentials of `identities`, sends requests with `http` (see [`s3_client`]) and connects
    /// to addresses within `reach`. Tokens of ServiceAccounts go to AWS, or to `hosts`. The process may write only
    /// during `tenure`.
    pub fn new(
        tenure: Tenure,
        identities: Arc<Identities>,
        http: reqwest::Client,
        hosts: StorageHosts,
        reach: Reach,
    ) -> Self {
        let connections = Connections { identities, way: Way { http, tenure }, hosts, reach };
        Self { source: Arc::new(Source::Servers(connections)), proven: Proven::default() }
    }

    /// Runs an operation with the account of a server. If the store refuses the credentials and there are others by
    /// now, the operation runs once more with those.
    async fn with_account<T, F, Fut>(
        &self,
        server: &Arc<FhirServer>,
        operation: F,
    ) -> Result<T, StorageFailure>
    where
        F: Fn(Arc<Account>) -> Fut,
        Fut: Future<Output = Result<T, StorageFailure>>,
    {
        let account = self.source.of(server).await?;
        let failure = match operation(Arc::clone(&account)).await {
            Err(failure) if failure.kind == StorageFailureKind::Denied => failure,
            result => return result,
        };
        match self.source.instead_of(server, &account.access).await? {
            Some(other) => operation(other).await,
            None => Err(failure),
        }
    }

    /// Runs an operation with a container of a server, as [`with_account`](Self::with_account) does.
    async fn with_bucket<T, F, Fut>(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        operation: F,
    ) -> Result<T, StorageFailure>
    where
        F: Fn(Bucket) -> Fut,
        Fut: Future<Output = Result<T, StorageFailure>>,
    {
        let operation = &operation;
        self.with_account(server, |account| async move {
            operation(connect::container(server, &account, container)?).await
        })
        .await
    }
}
