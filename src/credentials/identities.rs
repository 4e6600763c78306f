//! The identities in use, shared so that exports with the same identity share its tokens.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use super::flow::{TokenFlow, TokenTarget};
use super::in_use::InUse;
use super::{
    AssumedRole, CachedSource, CredentialProblem, CredentialSource, EntraSettings, Identity, Issuer,
};
use crate::api::{Cloud, Entra, EntraType, KeyRef, Reason};

/// Time limit of a token request to Entra, retries included.
const LONGEST: Duration = Duration::from_secs(15);
/// Time limit of a token request to another token endpoint, including the discovery of the endpoint and the
/// second way to send a client secret.
const LONGEST_OF_CLIENT: Duration = Duration::from_secs(30);

/// All identities that the operator currently uses.
pub struct Identities {
    source: Arc<CachedSource>,
    settings: EntraSettings,
    http: reqwest::Client,
    entra: InUse<EntraKey>,
    clients: InUse<ClientKey>,
    roles: InUse<RoleKey>,
}

/// What identifies an assumed role of AWS. The namespace is part of it, so that no identity is shared between
/// namespaces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoleKey {
    /// The namespace of the `FhirServer`.
    pub namespace: String,
    /// The name of the `ServiceAccount`, in that namespace.
    pub service_account: String,
    /// The ARN of the role.
    pub role_arn: String,
    /// The endpoint of the security token service.
    pub endpoint: Url,
}

/// What identifies an OAuth client: everything that it was created from, except the secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The namespace of the `FhirServer`.
    pub namespace: String,
    /// Those parts of the `FhirServer`'s spec that describe the client and the way to the token endpoint, as
    /// JSON.
    pub spec: String,
}

/// What identifies an Entra identity. The namespace is part of it, so that no identity is shared between
/// namespaces.
#[derive(Clone, PartialEq, Eq, Hash)]
struct EntraKey {
    namespace: String,
    tenant_id: String,
    client_id: Option<String>,
    cloud: Cloud,
    kind: CredentialKind,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum CredentialKind {
    ServiceAccount(String),
    OwnWorkload,
    Managed,
    ClientSecret { name: String, key: String },
}

impl EntraKey {
    fn new(namespace: &str, entra: &Entra, kind: CredentialKind) -> Self {
        Self {
            namespace: namespace.to_owned(),
            tenant_id: entra.tenant_id.clone().unwrap_or_default(),
            client_id: entra.client_id.clone(),
            cloud: entra.cloud.unwrap_or_default(),
            kind,
        }
    }
}

impl CredentialKind {
    fn of_secret(secret: &KeyRef) -> Self {
        Self::ClientSecret { name: secret.name.clone(), key: secret.key.clone() }
    }
}

impl Identities {
    /// Creates an empty collection. `http` sends the token requests: see [`EntraSettings::http_client`].
    /// Credentials from `source` are cached for a minute.
    pub fn new(source: Arc<dyn CredentialSource>, settings: EntraSettings, http: reqwest::Client) -> Self {
        Self::with_source(Arc::new(CachedSource::new(source)), settings, http)
    }

    /// Creates an empty collection over a cache of credentials that the caller shares.
    pub fn with_source(source: Arc<CachedSource>, settings: EntraSettings, http: reqwest::Client) -> Self {
        let (entra, clients, roles) = (InUse::default(), InUse::default(), InUse::default());
        Self { source, settings, http, entra, clients, roles }
    }

    /// The cached source of credentials.
    pub fn source(&self) -> &Arc<CachedSource> {
        &self.source
    }

    /// The credential for the Entra identity that a `FhirServer` in `namespace` names; it caches its tokens.
    /// `default_audience` is the origin of the server's `url`, without a trailing slash. `entra.audience` may
    /// name another audience only if the operator's list permits it. (The storage client chooses the storage
    /// account's audience itself.)
    ///
    /// The credential's errors carry a [`CredentialProblem`]: see [`token_problem`](super::token_problem).
    pub async fn entra(
        &self,
        namespace: &str,
        entra: &Entra,
        default_audience: &str,
    ) -> Result<Arc<dyn TokenCredential>, CredentialProblem> {
        Ok(self.identity(namespace, entra, default_audience).await?)
    }

    /// The Entra identity that a `FhirServer` in `namespace` names; see [`Self::entra`] for
    /// `default_audience`.
    pub async fn identity(
        &self,
        namespace: &str,
        entra: &Entra,
        default_audience: &str,
    ) -> Result<Arc<Identity>, CredentialProblem> {
        self.scope(entra, default_audience)?;
        if let Some(secret) = self.refused_secret(namespace, entra) {
            // The Secret may have been replaced; do not wait until the cached one expires.
            self.source.forget(namespace, secret).await;
        }
        let (kind, flow) = self.flow(namespace, entra).await?;
        let made_with = match &flow {
            TokenFlow::ClientSecret(secret) => Some(Sha256::digest(secret.expose_secret().as_bytes()).into()),
            TokenFlow::ServiceAccount { .. } | TokenFlow::OwnWorkload | TokenFlow::Managed => None,
        };
        let key = EntraKey::new(namespace, entra, kind);
        self.entra.get(key.clone(), made_with, || Ok(self.make(&key, flow)))
    }

    /// The identity of the OAuth client `key` with the secret in `secret`. `way` is a digest of everything
    /// else that it is created from, such as certificates; `host` is the token endpoint's host, for messages.
    pub async fn client(
        &self,
        key: ClientKey,
        secret: &KeyRef,
        way: [u8; 32],
        host: String,
        make: impl FnOnce(SecretString) -> Result<Arc<dyn TokenCredential>, CredentialProblem> + Send,
    ) -> Result<Arc<Identity>, CredentialProblem> {
        if self.clients.is_refused(&key) {
            self.source.forget(&key.namespace, &secret.name).await;
        }
        let secret = self.source.secret_key(&key.namespace, secret).await?;
        let made_with = Sha256::new().chain_update(way).chain_update(secret.expose_secret()).finalize();
        self.clients.get(key, Some(made_with.into()), || {
            let credential = make(secret)?;
            Ok(Identity::new(Issuer::Host(host), LONGEST_OF_CLIENT, Box::new(move || Ok(credential.clone()))))
        })
    }

    /// The identity of an assumed role. Its tokens hold [`RoleKeys`](super::RoleKeys). The caller has checked that the
    /// token of the `ServiceAccount` may go to the endpoint.
    pub fn role(&self, key: &RoleKey) -> Result<Arc<Identity>, CredentialProblem> {
        self.roles.get(key.clone(), None, || {
            let RoleKey { namespace, service_account, role_arn, endpoint } = key.clone();
            let issuer = Issuer::Host(host_of(endpoint.as_str()));
            let source: Arc<dyn CredentialSource> = self.source.clone();
            let http = self.http.clone();
            let role: Arc<dyn TokenCredential> =
                Arc::new(AssumedRole { source, http, namespace, service_account, role_arn, endpoint });
            Ok(Identity::new(issuer, LONGEST, Box::new(move || Ok(role.clone()))))
        })
    }

    /// The scope of a token request. An audience that ends in a slash keeps it (`https://x//.default`),
    /// because Entra treats it as part of the name.
    pub fn scope(&self, entra: &Entra, default_audience: &str) -> Result<String, CredentialProblem> {
        let audience = entra.audience.as_deref().unwrap_or(default_audience);
        let own = audience.strip_suffix('/').unwrap_or(audience) == default_audience;
        if !own && !self.settings.allowed_audiences.contains(audience) {
            return Err(CredentialProblem::lasting(
                Reason::AudienceNotAllowed,
                format!(
                    "the audience {audience} is not on the operator's list; remove it, or ask the operator's \
                     owner to add it to --entra-audiences"
                ),
            ));
        }
        Ok(format!("{audience}/.default"))
    }

    /// The name of the Secret of this identity, if Entra rejected its content.
    fn refused_secret<'e>(&self, namespace: &str, entra: &'e Entra) -> Option<&'e str> {
        let secret = entra.client_secret_ref.as_ref()?;
        let key = EntraKey::new(namespace, entra, CredentialKind::of_secret(secret));
        self.entra.is_refused(&key).then_some(secret.name.as_str())
    }

    fn make(&self, key: &EntraKey, flow: TokenFlow) -> Identity {
        let authority = self.authority(key.cloud);
        let issuer = match key.kind {
            CredentialKind::Managed => Issuer::Node,
            CredentialKind::ServiceAccount(_)
            | CredentialKind::OwnWorkload
            | CredentialKind::ClientSecret { .. } => Issuer::Host(host_of(&authority)),
        };
        let target = TokenTarget {
            tenant_id: key.tenant_id.clone(),
            client_id: key.client_id.clone(),
            authority,
            http: self.http.clone(),
        };
        Identity::new(issuer, LONGEST, Box::new(move || target.credential(&flow)))
    }

    fn authority(&self, cloud: Cloud) -> String {
        match &self.settings.authority_host {
            Some(url) => url.to_string(),
            None => match cloud {
                Cloud::AzurePublic => "https://login.microsoftonline.com",
                Cloud::AzureUsGovernment => "https://login.microsoftonline.us",
                Cloud::AzureChina => "https://login.chinacloudapi.cn",
            }
            .to_owned(),
        }
    }

    async fn flow(
        &self,
        namespace: &str,
        entra: &Entra,
    ) -> Result<(CredentialKind, TokenFlow), CredentialProblem> {
        match entra.type_ {
            EntraType::WorkloadIdentity => match &entra.workload_identity {
                Some(workload) => {
                    let name = workload.service_account_ref.name.clone();
                    let source: Arc<dyn CredentialSource> = self.source.clone();
                    let flow = TokenFlow::ServiceAccount {
                        source,
                        namespace: namespace.to_owned(),
                        name: name.clone(),
                    };
                    Ok((CredentialKind::ServiceAccount(name), flow))
                }
                None => self.own(namespace).map(|()| (CredentialKind::OwnWorkload, TokenFlow::OwnWorkload)),
            },
            EntraType::ManagedIdentity => {
                self.own(namespace).map(|()| (CredentialKind::Managed, TokenFlow::Managed))
            }
            EntraType::ClientSecret => {
                let key = entra.client_secret_ref.as_ref().ok_or_else(|| {
                    CredentialProblem::lasting(
                        Reason::InvalidSpec,
                        "auth type ClientSecret needs clientSecretRef",
                    )
                })?;
                let secret = self.source.secret_key(namespace, key).await?;
                Ok((CredentialKind::of_secret(key), TokenFlow::ClientSecret(secret)))
            }
        }
    }

    fn own(&self, namespace: &str) -> Result<(), CredentialProblem> {
        if self.settings.own_identity_namespaces.contains(namespace) {
            return Ok(());
        }
        Err(CredentialProblem::lasting(
            Reason::OwnIdentityNotAllowed,
            format!(
                "the operator's own identity does not serve namespace {namespace}; name a ServiceAccount in \
                 workloadIdentity.serviceAccountRef, or ask the operator's owner for --own-identity-namespaces"
            ),
        ))
    }
}

fn host_of(authority: &str) -> String {
    Url::parse(authority)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "the authority".to_owned())
}
