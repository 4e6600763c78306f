//! Azure Blob Storage. Nothing outside this folder names a block, a signature or an endpoint.

mod account;
mod accounts;
mod block;
mod bounded;
mod caller;
mod delete;
mod download;
mod failure;
mod in_flight;
mod jobs;
mod landed;
mod listing;
mod outgoing;
mod patience;
mod port;
mod signature;
mod store;
mod upload;
mod verify;
mod whole;

use std::sync::Arc;

use azure_core::http::Transport;

pub use caller::CallerCredential;
pub use upload::BlobUpload;

use account::Account;
use accounts::Accounts;
use bounded::Bounded;
use outgoing::{LONGEST_WAIT, Outgoing};

use crate::api::FhirServer;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::reach::Reach;
use crate::credentials::Identities;
use crate::credentials::transport::client_builder;
use crate::ports::Tenure;
use crate::storage::StorageHosts;

/// How many connections are kept open to one account.
const MAX_IDLE: usize = 64;

/// The HTTP client for all requests to storage accounts. It follows no redirects (a signature would go along)
/// and decompresses nothing (ranges refer to the stored bytes). It trusts `extra_ca` (PEM) besides the
/// system's authorities, and connects only to addresses within `reach`.
pub fn http_client(extra_ca: &[String], reach: &Reach) -> Result<reqwest::Client, reqwest::Error> {
    client_builder(extra_ca, Some(reach.clone()))?
        .no_gzip()
        .no_deflate()
        .read_timeout(LONGEST_WAIT)
        .pool_max_idle_per_host(MAX_IDLE)
        .build()
}

/// Azure Blob Storage: the storage accounts of all `FhirServer`s.
#[derive(Clone)]
pub struct BlobStorage {
    source: Source,
    page: i32,
}

/// Where the account of an operation comes from.
#[derive(Clone)]
enum Source {
    /// The `FhirServer` that the operation names.
    Servers(Arc<Accounts>),
    /// The person who calls: this account, for every operation.
    Caller(Arc<Account>),
}

impl BlobStorage {
    /// Uses `http` (see [`http_client`]) for every account, and reads Secrets through the cache of
    /// `identities`. Tokens of Entra go to Azure's own blob endpoints and to `hosts`.
    pub fn new(identities: Arc<Identities>, http: reqwest::Client, hosts: StorageHosts) -> Self {
        Self::within(Tenure::default(), identities, http, hosts)
    }

    /// Like [`new`](Self::new), for a process that may write only during `tenure`.
    pub fn within(
        tenure: Tenure,
        identities: Arc<Identities>,
        http: reqwest::Client,
        hosts: StorageHosts,
    ) -> Self {
        let transport = Transport::new(Arc::new(Outgoing { http: Bounded(http), tenure }));
        let accounts = Arc::new(Accounts::new(identities, transport, hosts));
        Self { source: Source::Servers(accounts), page: listing::PAGE }
    }

    /// Rejects endpoints whose address is outside `reach`.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        if let Source::Servers(accounts) = &self.source {
            self.source = Source::Servers(Arc::new(accounts.within(reach)));
        }
        self
    }

    /// Lists `names` names with each request instead of 5000.
    #[must_use]
    pub fn with_page(mut self, names: i32) -> Self {
        self.page = names;
        self
    }

    /// Runs an operation with the account of a server. If the account refuses the credentials and the Secret
    /// holds others by now, the operation runs once more with those.
    async fn with_account<T, F, Fut>(
        &self,
        server: &Arc<FhirServer>,
        operation: F,
    ) -> Result<T, StorageFailure>
    where
        F: Fn(Arc<Account>) -> Fut,
        Fut: Future<Output = Result<T, StorageFailure>>,
    {
        let accounts = match &self.source {
            Source::Servers(accounts) => accounts,
            Source::Caller(account) => return operation(Arc::clone(account)).await,
        };
        let account = accounts.of(server).await?;
        let failure = match operation(Arc::clone(&account)).await {
            Err(failure) if failure.kind == StorageFailureKind::Denied => failure,
            result => return result,
        };
        match accounts.instead_of(server, &account).await? {
            Some(other) => operation(other).await,
            None => Err(failure),
        }
    }
}
