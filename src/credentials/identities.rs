//! The Entra identities in use: one each, so that tokens are shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::flow::{Flow, Target};
use super::{CachedSource, CredentialProblem, CredentialSource, EntraIdentity, EntraSettings};
use crate::api::{Cloud, Entra, EntraType, KeyRef, Reason};

/// Identities that nobody asked for in this time are dropped, with their tokens.
const UNUSED: Duration = Duration::from_secs(2 * 3600);

/// The Entra identities in use.
pub struct Identities {
    source: Arc<CachedSource>,
    settings: EntraSettings,
    http: reqwest::Client,
    known: Mutex<HashMap<Key, Known>>,
}

/// What makes two identities the same. The namespace is part of it, so that none is shared across one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    tenant_id: String,
    client_id: Option<String>,
    cloud: Cloud,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    ServiceAccount(String),
    OwnWorkload,
    Managed,
    ClientSecret { name: String, key: String },
}

impl Key {
    fn new(namespace: &str, entra: &Entra, kind: Kind) -> Self {
        Self {
            namespace: namespace.to_owned(),
            tenant_id: entra.tenant_id.clone().unwrap_or_default(),
            client_id: entra.client_id.clone(),
            cloud: entra.cloud.unwrap_or_default(),
            kind,
        }
    }
}

impl Kind {
    fn of_secret(secret: &KeyRef) -> Self {
        Self::ClientSecret { name: secret.name.clone(), key: secret.key.clone() }
    }
}

struct Known {
    identity: Arc<EntraIdentity>,
    /// SHA-256 of the secret that it was made with.
    made_with: Option<[u8; 32]>,
    used: Instant,
}

impl Identities {
    /// None yet. `http` carries the token requests: see [`EntraSettings::http_client`]. What `source` gives is
    /// remembered for a minute.
    pub fn new(source: Arc<dyn CredentialSource>, settings: EntraSettings, http: reqwest::Client) -> Self {
        Self::with_source(Arc::new(CachedSource::new(source)), settings, http)
    }

    /// Likewise, sharing what is remembered of credentials.
    pub fn with_source(source: Arc<CachedSource>, settings: EntraSettings, http: reqwest::Client) -> Self {
        Self { source, settings, http, known: Mutex::default() }
    }

    /// Where the credentials come from, with its memory.
    pub fn source(&self) -> &Arc<CachedSource> {
        &self.source
    }

    /// The identity that a `FhirServer` of `namespace` names; its tokens are cached. `default_audience` is the
    /// origin of the server's `url`, without a trailing slash: `entra.audience` may differ from it only as far
    /// as the operator's list says. (The storage account's audience is the storage client's own affair.)
    ///
    /// The errors of the credential carry a [`CredentialProblem`]: see [`token_problem`](super::token_problem).
    pub async fn entra(
        &self,
        namespace: &str,
        entra: &Entra,
        default_audience: &str,
    ) -> Result<Arc<dyn TokenCredential>, CredentialProblem> {
        Ok(self.identity(namespace, entra, default_audience).await?)
    }

    /// Likewise, as what it is.
    pub async fn identity(
        &self,
        namespace: &str,
        entra: &Entra,
        default_audience: &str,
    ) -> Result<Arc<EntraIdentity>, CredentialProblem> {
        self.scope(entra, default_audience)?;
        if let Some(secret) = self.refused_secret(namespace, entra) {
            // Somebody may have put another one there; that is not to wait until this one is forgotten anyway.
            self.source.forget(namespace, secret).await;
        }
        let (kind, flow) = self.flow(namespace, entra).await?;
        let made_with = match &flow {
            Flow::ClientSecret(secret) => Some(Sha256::digest(secret.expose_secret().as_bytes()).into()),
            _ => None,
        };
        let key = Key::new(namespace, entra, kind);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.used.elapsed() < UNUSED);
        if let Some(known) = known.get_mut(&key).filter(|known| known.made_with == made_with) {
            known.used = Instant::now();
            return Ok(known.identity.clone());
        }
        let identity = Arc::new(self.make(&key, flow));
        known.insert(key, Known { identity: identity.clone(), made_with, used: Instant::now() });
        Ok(identity)
    }

    /// The scope to ask a token for. An audience that ends in a slash keeps it (`https://x//.default`): to
    /// Entra it is part of the name.
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

    /// The Secret of this identity, if Entra refused what it held.
    fn refused_secret<'e>(&self, namespace: &str, entra: &'e Entra) -> Option<&'e str> {
        let secret = entra.client_secret_ref.as_ref()?;
        let key = Key::new(namespace, entra, Kind::of_secret(secret));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).filter(|known| known.identity.is_refused()).map(|_| secret.name.as_str())
    }

    fn make(&self, key: &Key, flow: Flow) -> EntraIdentity {
        let authority = self.authority(key.cloud);
        let host = match key.kind {
            Kind::Managed => "the managed identity endpoint".to_owned(),
            _ => host_of(&authority),
        };
        let target = Target {
            tenant_id: key.tenant_id.clone(),
            client_id: key.client_id.clone(),
            authority,
            http: self.http.clone(),
        };
        EntraIdentity::new(host, Box::new(move || target.credential(&flow)))
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

    async fn flow(&self, namespace: &str, entra: &Entra) -> Result<(Kind, Flow), CredentialProblem> {
        match entra.type_ {
            EntraType::WorkloadIdentity => match &entra.workload_identity {
                Some(workload) => {
                    let name = workload.service_account_ref.name.clone();
                    let source: Arc<dyn CredentialSource> = self.source.clone();
                    let flow =
                        Flow::ServiceAccount { source, namespace: namespace.to_owned(), name: name.clone() };
                    Ok((Kind::ServiceAccount(name), flow))
                }
                None => self.own(namespace).map(|()| (Kind::OwnWorkload, Flow::OwnWorkload)),
            },
            EntraType::ManagedIdentity => self.own(namespace).map(|()| (Kind::Managed, Flow::Managed)),
            EntraType::ClientSecret => {
                let key = entra.client_secret_ref.as_ref().ok_or_else(|| {
                    CredentialProblem::lasting(
                        Reason::InvalidSpec,
                        "auth type ClientSecret needs clientSecretRef",
                    )
                })?;
                let secret = self.source.secret_key(namespace, key).await?;
                Ok((Kind::of_secret(key), Flow::ClientSecret(secret)))
            }
            EntraType::ClientCertificate => Err(CredentialProblem::lasting(
                Reason::SecretInvalid,
                "this version cannot use client certificates for Entra; use type WorkloadIdentity with a \
                 ServiceAccount, or ClientSecret",
            )),
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
    url::Url::parse(authority)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "the authority".to_owned())
}
