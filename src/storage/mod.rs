//! The storage edge: lists, reads and writes blob containers, and reports what it saw.
//!
//! Credentials are those of the `FhirServer`. What is asked of a container and what was seen are values of
//! [`core::ledger`](crate::core::ledger); nothing is decided here.
//!
//! Uses: api, core, credentials, ports.

mod account;
mod accounts;
mod blocks;
mod bounded;
mod delete;
mod download;
mod failure;
mod hosts;
mod landed;
mod listing;
mod outgoing;
mod patience;
mod signature;
mod store;
mod verify;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Transport;
use bytes::Bytes;
use jiff::Timestamp;

pub use crate::core::lines::LineCounter;
pub use hosts::StorageHosts;

use account::Account;
use accounts::Accounts;
use bounded::Bounded;
use outgoing::Outgoing;

use crate::api::{Compression, FhirServer};
use crate::core::folder;
use crate::core::landing::{BlockId, Marks};
use crate::core::ledger::{
    Checked, FolderDeletion, FolderPlan, JobFolder, Ledger, Seen, StorageFailure, StorageFailureKind,
    VerifyPlan,
};
use crate::core::reach::Reach;
use crate::credentials::Identities;
use crate::credentials::transport::client_builder;
use crate::ports::Container;
use crate::ports::Tenure;

/// An orphan search looks at so many days at most: a job began near its kick-off.
const DAYS: usize = 31;

/// A read that brings nothing for so long has broken.
const STALLED: Duration = Duration::from_secs(15);

/// The client that carries all requests to storage accounts. It follows no redirect (a signature would go
/// along) and decompresses nothing (ranges are of what is stored); `extra_ca` (PEM) are trusted besides the
/// system's authorities; names must resolve to addresses within `reach`.
pub fn http_client(extra_ca: &[String], reach: &Reach) -> Result<reqwest::Client, reqwest::Error> {
    client_builder(extra_ca, Some(reach.clone()))?.no_gzip().no_deflate().read_timeout(STALLED).build()
}

/// Azure Blob Storage: the storage accounts of all `FhirServer`s.
pub struct BlobStorage {
    accounts: Accounts,
    page: i32,
}

impl BlobStorage {
    /// Uses `http` (see [`http_client`]) for every account, and reads Secrets through the memory of `identities`.
    /// Tokens of Entra go to Azure's own blob endpoints and to `hosts`.
    pub fn new(identities: Arc<Identities>, http: reqwest::Client, hosts: StorageHosts) -> Self {
        Self::within(Tenure::default(), identities, http, hosts)
    }

    /// Likewise; writes no longer than this.
    pub fn within(
        tenure: Tenure,
        identities: Arc<Identities>,
        http: reqwest::Client,
        hosts: StorageHosts,
    ) -> Self {
        let transport = Transport::new(Arc::new(Outgoing { http: Bounded(http), tenure }));
        Self { accounts: Accounts::new(identities, transport, hosts), page: listing::PAGE }
    }

    /// Uses endpoints that are addresses only within `reach`.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.accounts = self.accounts.within(reach);
        self
    }

    /// Lists so many names at once instead of 5000.
    #[must_use]
    pub fn with_page(mut self, names: i32) -> Self {
        self.page = names;
        self
    }

    /// Does something with the account of a server. If the account refuses the credentials and there are others by
    /// now, it is done once more with those.
    async fn with_account<T, F, Fut>(
        &self,
        server: &Arc<FhirServer>,
        operation: F,
    ) -> Result<T, StorageFailure>
    where
        F: Fn(Arc<Account>) -> Fut,
        Fut: Future<Output = Result<T, StorageFailure>>,
    {
        let account = self.accounts.of(server).await?;
        let failure = match operation(Arc::clone(&account)).await {
            Err(failure) if failure.kind == StorageFailureKind::Denied => failure,
            result => return result,
        };
        match self.accounts.instead_of(server, &account).await? {
            Some(other) => operation(other).await,
            None => Err(failure),
        }
    }

    /// `after` is a whole second, as the names are.
    async fn folders_since(
        &self,
        account: &Account,
        container: &str,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let mut jobs = Vec::new();
        for day in folder::day_prefixes(after, Timestamp::now().max(after), DAYS) {
            for name in listing::folders(account, container, &day, self.page).await? {
                if let Some((began, id)) = folder::parse(&name).filter(|(began, _)| *began >= after) {
                    jobs.push(JobFolder {
                        container: container.to_owned(),
                        job_id: id.to_owned(),
                        began,
                        folder: Some(name),
                    });
                }
            }
        }
        Ok(jobs)
    }

    async fn containers_since(
        &self,
        account: &Account,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let containers = listing::containers(account, folder::OWN_CONTAINER, self.page).await?;
        let jobs = containers.into_iter().filter(|(_, began)| *began >= after);
        let jobs = jobs.filter_map(|(container, began)| {
            let job_id = container.strip_prefix(folder::OWN_CONTAINER).filter(|id| folder::is_job_id(id))?;
            Some(JobFolder { job_id: job_id.to_owned(), container, folder: None, began })
        });
        Ok(jobs.collect())
    }

    async fn count(
        &self,
        account: &Account,
        container: &str,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let folder = match job_id {
            Some(id) => match self.folder_of(account, container, id, began).await? {
                Some(folder) => Some(folder),
                None => return Ok(Seen::default()),
            },
            None => None,
        };
        let prefix = folder.as_ref().map(|folder| format!("{folder}/")).unwrap_or_default();
        let mut seen = Seen { folder, files: 0, bytes: 0 };
        listing::blobs(account, container, &prefix, self.page, |name, size| {
            if name.ends_with(".ndjson") {
                seen.files += 1;
                seen.bytes += size;
            }
        })
        .await?;
        Ok(seen)
    }

    async fn folder_of(
        &self,
        account: &Account,
        container: &str,
        job_id: &str,
        began: Timestamp,
    ) -> Result<Option<String>, StorageFailure> {
        let next_day = began.checked_add(jiff::SignedDuration::from_hours(23)).unwrap_or(began);
        for day in folder::day_prefixes(began, next_day, 3) {
            let folders = listing::folders(account, container, &day, self.page).await?;
            let found =
                folders.into_iter().find(|name| folder::parse(name).is_some_and(|(_, id)| id == job_id));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Container for BlobStorage {
    async fn probe(&self, server: &Arc<FhirServer>, container: Option<&str>) -> Result<(), StorageFailure> {
        self.with_account(server, |account| async move {
            match container {
                Some(container) => listing::one_blob(&account, container).await,
                None => listing::one_container(&account).await,
            }
        })
        .await
    }

    async fn find_jobs(
        &self,
        server: &Arc<FhirServer>,
        container: Option<&str>,
        after: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        let after = Timestamp::from_second(after.as_second()).unwrap_or(after);
        self.with_account(server, |account| async move {
            match container {
                Some(container) => self.folders_since(&account, container, after).await,
                None => self.containers_since(&account, after).await,
            }
        })
        .await
    }

    async fn count_files(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        job_id: Option<&str>,
        began: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        let counted =
            self.with_account(server, |account| async move {
                self.count(&account, container, job_id, began).await
            })
            .await;
        match counted {
            Err(failure) if failure.kind == StorageFailureKind::NotFound => Ok(Seen::default()),
            other => other,
        }
    }

    async fn verify(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        self.check(server, plan, read).await
    }

    async fn store(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        body: &[u8],
    ) -> Result<String, StorageFailure> {
        self.with_account(
            server,
            |account| async move { store::store(&account, container, path, body).await },
        )
        .await
    }

    async fn read(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        self.with_account(server, |account| async move { store::read(&account, container, path, max).await })
            .await
    }

    async fn read_through(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        path: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        self.whole(server, container, path, take).await
    }

    async fn ledger(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        folder: &str,
    ) -> Result<Ledger, StorageFailure> {
        self.with_account(server, |account| async move {
            landed::ledger(&account, container, &format!("{folder}/"), self.page).await
        })
        .await
    }

    async fn make_container(&self, server: &Arc<FhirServer>, container: &str) -> Result<(), StorageFailure> {
        self.with_account(server, |account| async move { landed::make_container(&account, container).await })
            .await
    }

    async fn staged(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        blob: &str,
    ) -> Result<Vec<BlockId>, StorageFailure> {
        self.with_account(server, |account| async move { blocks::staged(&account, container, blob).await })
            .await
    }

    async fn stage(
        &self,
        server: &Arc<FhirServer>,
        (container, blob): (&str, &str),
        id: &BlockId,
        body: Bytes,
        compression: Compression,
    ) -> Result<(), StorageFailure> {
        let body = blocks::at_rest(body, compression).await?;
        self.with_account(server, |account| {
            let body = body.clone();
            async move { blocks::stage(&account, container, blob, id, body).await }
        })
        .await
    }

    async fn commit(
        &self,
        server: &Arc<FhirServer>,
        (container, blob): (&str, &str),
        ids: &[BlockId],
        marks: &Marks,
        compression: Compression,
    ) -> Result<bool, StorageFailure> {
        self.with_account(server, |account| async move {
            blocks::commit(&account, container, blob, ids, marks, compression).await
        })
        .await
    }

    async fn delete_folder(
        &self,
        server: &Arc<FhirServer>,
        plan: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        self.with_account(server, |account| async move { delete::folder(&account, plan, self.page).await })
            .await
    }
}
