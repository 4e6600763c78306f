//! A storage account, with the credentials to use it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_storage_blob::{
    BlobContainerClient, BlobContainerClientOptions, BlobServiceClient, BlobServiceClientOptions, models,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::patience::Patience;
use super::signature::{AccountKey, Right, SasToken};
use crate::api::{AccessTier, AzureBlob};
use crate::core::ledger::StorageFailure;

/// The version of the REST API. Every feature used here is older, so older accounts and emulators support it.
const API_VERSION: &str = "2023-11-03";

/// How the operator proves who it is to an account.
pub(super) enum Access {
    /// A token of Microsoft Entra ID.
    Identity(Arc<dyn TokenCredential>),
    /// A SAS token that a user created.
    Sas(SasToken),
    /// Signatures made from the account's key.
    Key(AccountKey),
}

/// How an account places what is written to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// The encryption scope of everything; `None` for that of the container.
    pub(super) encryption_scope: Option<String>,
    /// The tier of landed files; `None` for that of the account.
    pub(super) tier: Option<AccessTier>,
}

impl Placement {
    /// The placement that a `FhirServer` asks for.
    pub(super) fn of(blob: &AzureBlob) -> Self {
        Self { encryption_scope: blob.encryption_scope.clone(), tier: blob.access_tier }
    }

    /// The tier in the words of the client.
    pub(super) fn tier(&self) -> Option<models::AccessTier> {
        self.tier.map(|tier| match tier {
            AccessTier::Hot => models::AccessTier::Hot,
            AccessTier::Cool => models::AccessTier::Cool,
            AccessTier::Cold => models::AccessTier::Cold,
        })
    }
}

/// How long an account and its clients are kept. A signature made from an account key is valid for much
/// longer, so an operation that starts with a kept client has enough time.
pub(super) const KEPT: Duration = Duration::from_secs(600);
/// How many clients of one account are kept.
const CLIENTS: usize = 16;

/// One storage account. It keeps the clients of its containers for a while, since creating one costs
/// more than a small request.
pub(super) struct Account {
    endpoint: Url,
    name: String,
    access: Access,
    placement: Placement,
    transport: Transport,
    clients: Mutex<Vec<Kept>>,
}

/// A client that is kept for reuse.
struct Kept {
    container: String,
    right: Right,
    made: Instant,
    client: Arc<BlobContainerClient>,
}

impl Account {
    pub(super) fn new(endpoint: BlobEndpoint, access: Access, transport: Transport) -> Self {
        let (endpoint, name) = (endpoint.url, endpoint.account);
        let placement = Placement::default();
        Self { endpoint, name, access, placement, transport, clients: Mutex::default() }
    }

    /// The same account, where what is written is placed like this.
    pub(super) fn placing(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// How what is written is placed.
    pub(super) fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The account's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same account with the same credentials, and place what they write alike.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.placement == other.placement && self.has_credentials_of(other)
    }

    /// Whether both accounts use the same credentials.
    pub(super) fn has_credentials_of(&self, other: &Self) -> bool {
        match (&self.access, &other.access) {
            (Access::Identity(one), Access::Identity(other)) => Arc::ptr_eq(one, other),
            (Access::Sas(one), Access::Sas(other)) => one == other,
            (Access::Key(one), Access::Key(other)) => one == other,
            (Access::Identity(_) | Access::Sas(_) | Access::Key(_), _) => false,
        }
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// A client for one container, which is kept for reuse. It never creates the container.
    pub(super) fn container(
        &self,
        name: &str,
        right: Right,
    ) -> Result<Arc<BlobContainerClient>, StorageFailure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        clients.retain(|kept| now.duration_since(kept.made) < KEPT);
        if let Some(kept) = clients.iter().find(|kept| kept.right == right && kept.container == name) {
            return Ok(Arc::clone(&kept.client));
        }
        let client = Arc::new(self.container_with(name, right, Vec::new())?);
        if clients.len() >= CLIENTS {
            clients.remove(0);
        }
        clients.push(Kept { container: name.to_owned(), right, made: now, client: Arc::clone(&client) });
        Ok(client)
    }

    /// A client for one container, whose requests pass through `policies` once each. It never creates the container.
    pub(super) fn container_with(
        &self,
        name: &str,
        right: Right,
        policies: Vec<Arc<dyn Policy>>,
    ) -> Result<BlobContainerClient, StorageFailure> {
        let mut url = self.signed(right)?;
        // This never fails: an http URL has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        let options = BlobContainerClientOptions {
            client_options: self.options(policies),
            version: API_VERSION.into(),
        };
        BlobContainerClient::new(url, self.token(), Some(options))
            .map_err(|error| self.failure(&error, None, right))
    }

    /// A client for the account.
    pub(super) fn service(&self) -> Result<BlobServiceClient, StorageFailure> {
        let options = BlobServiceClientOptions {
            client_options: self.options(Vec::new()),
            version: API_VERSION.into(),
        };
        BlobServiceClient::new(self.signed(Right::Read)?, self.token(), Some(options))
            .map_err(|error| self.failure(&error, None, Right::Read))
    }

    fn options(&self, mut policies: Vec<Arc<dyn Policy>>) -> ClientOptions {
        policies.push(Arc::new(Patience::default()));
        ClientOptions {
            per_call_policies: policies,
            retry: RetryOptions::none(),
            transport: Some(self.transport.clone()),
            ..ClientOptions::default()
        }
    }

    fn token(&self) -> Option<Arc<dyn TokenCredential>> {
        match &self.access {
            Access::Identity(credential) => Some(Arc::clone(credential)),
            Access::Sas(_) | Access::Key(_) => None,
        }
    }

    fn signed(&self, right: Right) -> Result<Url, StorageFailure> {
        let mut url = self.endpoint.clone();
        match &self.access {
            Access::Identity(_) => {}
            Access::Sas(token) => url.set_query(Some(token.query().expose_secret())),
            Access::Key(key) => {
                let https = url.scheme() == "https";
                let query = key.sign(right, https, Timestamp::now());
                let query = query
                    .ok_or_else(|| StorageFailure::permanent("the account key cannot sign".to_owned()))?;
                url.set_query(Some(query.expose_secret()));
            }
        }
        Ok(url)
    }
}

/// The endpoint of an account.
#[derive(Clone, Debug)]
pub(super) struct BlobEndpoint {
    /// The first label of the host, or the first segment of the path if there is one.
    pub(super) account: String,
    url: Url,
}

impl BlobEndpoint {
    pub(super) fn parse(text: &str) -> Result<Self, StorageFailure> {
        let wrong = || {
            StorageFailure::permanent(format!("the storage endpoint {} is not a URL", without_query(text)))
        };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let in_path = url.path().split('/').find(|segment| !segment.is_empty());
        let account = match (in_path, url.host()) {
            (Some(segment), Some(_)) => segment.to_owned(),
            (None, Some(Host::Domain(domain))) => domain.split('.').next().unwrap_or(domain).to_owned(),
            (None, Some(host)) => host.to_string(),
            (_, None) => return Err(wrong()),
        };
        Ok(Self { account, url })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_account_is_the_first_label_or_the_path() {
        for (endpoint, account) in [
            ("https://clinicexports.blob.core.windows.net", "clinicexports"),
            ("https://clinicexports.blob.core.windows.net/", "clinicexports"),
            ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
            ("http://azurite:10000/acc/", "acc"),
        ] {
            assert_eq!(BlobEndpoint::parse(endpoint).unwrap().account, account);
        }
        assert!(!BlobEndpoint::parse("nothing?sig=secret").unwrap_err().message.contains("secret"));
    }

    #[test]
    fn a_client_is_kept_for_its_container_and_right() {
        let endpoint = BlobEndpoint::parse("http://127.0.0.1:10000/acc").unwrap();
        let key = AccountKey::parse("acc", "c2VjcmV0").unwrap();
        let account = Account::new(endpoint, Access::Key(key), Transport::default());
        let kept = |account: &Account| -> Vec<(String, Right)> {
            let clients = account.clients.lock().unwrap();
            clients.iter().map(|kept| (kept.container.clone(), kept.right)).collect()
        };
        let urls: Vec<String> =
            [("a", Right::Read), ("a", Right::Create), ("b", Right::Read), ("a", Right::Read)]
                .into_iter()
                .map(|(name, right)| account.container(name, right).unwrap().url().to_string())
                .collect();
        let expected = [("a", Right::Read), ("a", Right::Create), ("b", Right::Read)];
        assert_eq!(kept(&account), expected.map(|(name, right)| (name.to_owned(), right)));
        assert!(urls[0] == urls[3] && urls[0].contains("sp=rl&") && urls[1].contains("sp=rwc&"), "{urls:?}");
        assert!(urls[2].contains("/acc/b?"));
        // A client that is too old is created anew, and the oldest clients make room.
        account.clients.lock().unwrap()[0].made -= KEPT;
        account.container("a", Right::Create).unwrap();
        assert_eq!(kept(&account).len(), 2);
        for n in 0..2 * CLIENTS {
            account.container(&n.to_string(), Right::Read).unwrap();
        }
        assert_eq!(kept(&account).len(), CLIENTS);
    }
}
