//! The storage accounts of `FhirServer`s, each with the credentials that its Secrets hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use azure_core::http::Transport;
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::account::{Access, Account, BlobEndpoint, KEPT, Placement};
use super::failure;
use super::signature::{AccountKey, SasToken};
use crate::api::{AzureBlob, BlobAuthType, Entra, FhirServer, KeyRef, Reason};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::reach::Reach;
use crate::credentials::transport::check_address;
use crate::credentials::{CredentialProblem, CredentialSource, Identities};
use crate::storage::StorageHosts;

/// The audience of a token for storage alone.
const AUDIENCE: &str = "https://storage.azure.com";

/// The largest number of accounts that are kept.
const ACCOUNTS: usize = 64;

/// Creates the accounts of `FhirServer`s. Each operation reads the credentials, which
/// [`CachedSource`](crate::credentials::CachedSource) caches, and reuses the account that was recently
/// created from the same credentials, with its clients.
pub(super) struct Accounts {
    identities: Arc<Identities>,
    transport: Transport,
    hosts: StorageHosts,
    reach: Reach,
    /// The accounts that are kept, the oldest first, each with the time when it was created.
    kept: Mutex<Vec<(Instant, Arc<Account>)>>,
}

impl Accounts {
    pub(super) fn new(identities: Arc<Identities>, transport: Transport, hosts: StorageHosts) -> Self {
        Self { identities, transport, hosts, reach: Reach::default(), kept: Mutex::default() }
    }

    pub(super) fn within(&self, reach: Reach) -> Self {
        Self {
            identities: Arc::clone(&self.identities),
            transport: self.transport.clone(),
            hosts: self.hosts.clone(),
            reach,
            kept: Mutex::default(),
        }
    }

    /// The account of a server.
    pub(super) async fn of(&self, server: &FhirServer) -> Result<Arc<Account>, StorageFailure> {
        let Some(blob) = azure_blob(server) else {
            return Err(StorageFailure {
                kind: StorageFailureKind::NotConfigured,
                message: format!("the FhirServer {} names no storage account", server.name_any()),
            });
        };
        self.connect(server, blob).await.map(|account| self.keep(account)).map_err(Problem::into_failure)
    }

    /// The kept account with the same credentials; otherwise keeps `account` and returns it.
    fn keep(&self, account: Account) -> Arc<Account> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|(made, _)| now.duration_since(*made) < KEPT);
        if let Some((_, same)) = kept.iter().find(|(_, same)| same.is(&account)) {
            return Arc::clone(same);
        }
        if kept.len() >= ACCOUNTS {
            kept.remove(0);
        }
        let account = Arc::new(account);
        kept.push((now, Arc::clone(&account)));
        account
    }

    /// The account with other credentials than those that were just refused, if the Secrets hold others by now.
    pub(super) async fn instead_of(
        &self,
        server: &FhirServer,
        refused: &Account,
    ) -> Result<Option<Arc<Account>>, StorageFailure> {
        let namespace = server.namespace().unwrap_or_default();
        if let Some(secret) = secret_name(server) {
            self.identities.source().forget(&namespace, secret).await;
        }
        let account = self.of(server).await?;
        Ok(Some(account).filter(|account| !account.has_credentials_of(refused)))
    }

    async fn connect(&self, server: &FhirServer, blob: &AzureBlob) -> Result<Account, Problem> {
        let endpoint = BlobEndpoint::parse(&blob.endpoint)?;
        check_address(&self.reach, endpoint.url()).map_err(|refused| {
            StorageFailure::permanent(format!("{refused}: correct storage.azureBlob.endpoint"))
        })?;
        let namespace = server.namespace().unwrap_or_default();
        if matches!(blob.auth.type_, BlobAuthType::SameAsServer | BlobAuthType::Entra) {
            self.hosts.admit(endpoint.url())?;
        }
        let access = match blob.auth.type_ {
            BlobAuthType::SameAsServer => {
                let audience = Url::parse(&server.spec.url)
                    .map_or_else(|_| AUDIENCE.to_owned(), |url| url.origin().ascii_serialization());
                self.identity(&namespace, server.spec.auth.entra.as_ref(), &audience).await?
            }
            BlobAuthType::Entra => self.identity(&namespace, blob.auth.entra.as_ref(), AUDIENCE).await?,
            BlobAuthType::SasToken => {
                let (key, text) = self.secret(&namespace, blob.auth.secret_ref.as_ref()).await?;
                let Some(token) = SasToken::parse(text.expose_secret()) else {
                    let what = "no SAS token (it must hold sig=…, and not be a URL)";
                    return Err(self.invalid(&namespace, key, what).await);
                };
                Access::Sas(token)
            }
            BlobAuthType::AccountKey => {
                let (key, text) = self.secret(&namespace, blob.auth.secret_ref.as_ref()).await?;
                let Some(account_key) = AccountKey::parse(&endpoint.account, text.expose_secret()) else {
                    return Err(self.invalid(&namespace, key, "no account key (it must be base64)").await);
                };
                Access::Key(account_key)
            }
        };
        Ok(Account::new(endpoint, access, self.transport.clone()).placing(Placement::of(blob)))
    }

    async fn identity(
        &self,
        namespace: &str,
        entra: Option<&Entra>,
        default_audience: &str,
    ) -> Result<Access, Problem> {
        let entra = entra.ok_or_else(|| {
            StorageFailure::permanent(
                "the storage names an Entra identity, but the FhirServer has none".to_owned(),
            )
        })?;
        Ok(Access::Identity(self.identities.entra(namespace, entra, default_audience).await?))
    }

    async fn secret<'k>(
        &self,
        namespace: &str,
        key: Option<&'k KeyRef>,
    ) -> Result<(&'k KeyRef, SecretString), Problem> {
        let key = key.ok_or_else(|| {
            StorageFailure::permanent("storage.azureBlob.auth names no secretRef".to_owned())
        })?;
        Ok((key, self.identities.source().secret_key(namespace, key).await?))
    }

    /// The problem of a key whose value cannot be used. The value is dropped from the cache, so a repair
    /// takes effect at the next look.
    async fn invalid(&self, namespace: &str, key: &KeyRef, what: &str) -> Problem {
        self.identities.source().forget(namespace, &key.name).await;
        let message = format!("key {} of Secret {namespace}/{} holds {what}; correct it", key.key, key.name);
        Problem::Credential(CredentialProblem::lasting(Reason::SecretInvalid, message))
    }
}

fn azure_blob(server: &FhirServer) -> Option<&AzureBlob> {
    server.spec.storage.as_ref()?.azure_blob.as_ref()
}

/// The Secret that holds the storage account's credentials.
fn secret_name(server: &FhirServer) -> Option<&str> {
    let auth = &azure_blob(server)?.auth;
    let key = match auth.type_ {
        BlobAuthType::SameAsServer => server.spec.auth.entra.as_ref()?.client_secret_ref.as_ref(),
        BlobAuthType::Entra => auth.entra.as_ref()?.client_secret_ref.as_ref(),
        BlobAuthType::SasToken | BlobAuthType::AccountKey => auth.secret_ref.as_ref(),
    };
    key.map(|key| key.name.as_str())
}

enum Problem {
    Credential(CredentialProblem),
    Storage(StorageFailure),
}

impl Problem {
    fn into_failure(self) -> StorageFailure {
        match self {
            Self::Credential(problem) => failure::of_credential(&problem),
            Self::Storage(failure) => failure,
        }
    }
}

impl From<CredentialProblem> for Problem {
    fn from(problem: CredentialProblem) -> Self {
        Self::Credential(problem)
    }
}

impl From<StorageFailure> for Problem {
    fn from(failure: StorageFailure) -> Self {
        Self::Storage(failure)
    }
}
