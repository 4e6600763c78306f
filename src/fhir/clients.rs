//! HTTP clients, shared by all servers with the same certificates.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::failure::named;
use crate::api::{CaBundleKind, FhirServer, KeyRef, Reason};
use crate::core::reach::Reach;
use crate::credentials::{CachedSource, CredentialProblem, CredentialSource, transport};

/// The clients for one set of certificates.
pub struct Clients {
    /// For what may be sent again: connections are kept.
    pub kept: Client,
    /// For kick-offs: a connection of their own each, since a kept one that the server has just closed would
    /// leave it open whether a job runs.
    pub fresh: Client,
    /// For files, which are decompressed piece by piece.
    pub files: Client,
    /// For files of other origins: without the client certificate.
    pub bare: Client,
    /// For a host that only the server names, as its token endpoint: to public addresses, each with a connection of
    /// its own.
    pub strange: Client,
    /// What hosts that the `FhirServer` names may resolve to.
    pub reach: Reach,
    /// A digest of the certificates.
    pub certificates: [u8; 32],
}

/// A file of which nothing comes for so long has broken off.
const STALLED: Duration = Duration::from_secs(60);

/// The clients in use.
pub struct ClientPool {
    extra_ca: Vec<String>,
    reach: Reach,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clients: HashMap<Key, Weak<Clients>>,
    /// Making them takes time, also for a thousand exports whose other credentials are missing.
    last: Option<Arc<Clients>>,
}

/// A digest of the certificates, and the time that a request may take.
type Key = ([u8; 32], Duration);

/// Certificates that a `FhirServer` names, as they were read.
#[derive(Default)]
struct Certificates {
    authorities: Option<String>,
    /// Certificate and private key, PEM.
    own: Option<SecretString>,
}

impl ClientPool {
    /// None yet. `extra_ca` (PEM bundles) is trusted for all servers; `reach` is what hosts that a `FhirServer` names
    /// may resolve to.
    pub fn new(extra_ca: Vec<String>, reach: Reach) -> Self {
        Self { extra_ca, reach, known: Mutex::default() }
    }

    /// What hosts that a `FhirServer` names may resolve to.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The clients for `server`.
    pub async fn get(
        &self,
        source: &CachedSource,
        namespace: &str,
        server: &FhirServer,
    ) -> Result<Arc<Clients>, CredentialProblem> {
        let certificates = Certificates::read(source, namespace, server).await?;
        let known_by = (certificates.digest(), connect_timeout(server));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = known.clients.get(&known_by).and_then(Weak::upgrade) {
            return Ok(clients);
        }
        let clients = Arc::new(self.make(&certificates, server)?);
        known.last = Some(Arc::clone(&clients));
        known.clients.retain(|_, clients| clients.strong_count() > 0);
        known.clients.insert(known_by, Arc::downgrade(&clients));
        Ok(clients)
    }

    fn make(&self, certificates: &Certificates, server: &FhirServer) -> Result<Clients, CredentialProblem> {
        let named = &self.reach;
        let kept = self.builder(certificates, server, named)?;
        let fresh = self.builder(certificates, server, named)?.pool_max_idle_per_host(0);
        let as_it_comes = |builder: ClientBuilder| builder.no_gzip().no_deflate().read_timeout(STALLED);
        let files = as_it_comes(self.builder(certificates, server, named)?);
        let strangers = Certificates { authorities: certificates.authorities.clone(), own: None };
        let bare = as_it_comes(self.builder(&strangers, server, named)?);
        let strange = self.builder(certificates, server, &named.public())?.pool_max_idle_per_host(0);
        let build = |builder: ClientBuilder| builder.build().map_err(|_| unusable("tls", server));
        Ok(Clients {
            kept: build(kept)?,
            fresh: build(fresh)?,
            files: build(files)?,
            bare: build(bare)?,
            strange: build(strange)?,
            reach: self.reach.clone(),
            certificates: certificates.digest(),
        })
    }

    fn builder(
        &self,
        certificates: &Certificates,
        server: &FhirServer,
        reach: &Reach,
    ) -> Result<ClientBuilder, CredentialProblem> {
        let mut builder = transport::client_builder(&self.extra_ca, Some(reach.clone())).map_err(|_| {
            let message = "the operator's extra CA cannot be used; put PEM there";
            CredentialProblem::lasting(Reason::TLSFailed, message)
        })?;
        if let Some(bundle) = &certificates.authorities {
            let bundle = Certificate::from_pem_bundle(bundle.as_bytes())
                .ok()
                .filter(|bundle| !bundle.is_empty())
                .ok_or_else(|| unusable("tls.caBundleRef", server))?;
            builder = builder.tls_certs_merge(bundle);
        }
        if let Some(own) = &certificates.own {
            let own = Identity::from_pem(own.expose_secret().as_bytes())
                .map_err(|_| unusable("tls.clientCertificateSecretRef", server))?;
            builder = builder.identity(own);
        }
        // A kept connection of HTTP/2 that died in silence would fail each request on it.
        Ok(builder
            .connect_timeout(connect_timeout(server))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10)))
    }
}

/// What one request may take, in seconds. Default: 60.
pub fn timeout_seconds(server: &FhirServer) -> u64 {
    let set = server.spec.limits.as_ref().and_then(|limits| limits.request_timeout_seconds);
    set.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(60)
}

/// Connecting runs out before the request does, so that a request that ran out is known to have been sent.
fn connect_timeout(server: &FhirServer) -> Duration {
    (Duration::from_secs(timeout_seconds(server)) / 2).min(transport::CONNECT_TIMEOUT)
}

fn unusable(what: &str, server: &FhirServer) -> CredentialProblem {
    let message = format!("what {what} of {} names cannot be used; put PEM there", named(server));
    CredentialProblem::lasting(Reason::SecretInvalid, message)
}

impl Certificates {
    async fn read(
        source: &CachedSource,
        namespace: &str,
        server: &FhirServer,
    ) -> Result<Self, CredentialProblem> {
        let mut certificates = Self::default();
        let Some(tls) = &server.spec.tls else { return Ok(certificates) };
        if let Some(bundle) = &tls.ca_bundle_ref {
            certificates.authorities = Some(match bundle.kind {
                CaBundleKind::ConfigMap => {
                    source.config_map_key(namespace, &bundle.name, &bundle.key).await?
                }
                CaBundleKind::Secret => {
                    let key = KeyRef { name: bundle.name.clone(), key: bundle.key.clone() };
                    source.secret_key(namespace, &key).await?.expose_secret().to_owned()
                }
            });
        }
        if let Some(secret) = &tls.client_certificate_secret_ref {
            let keys = source.secret(namespace, &secret.name).await?;
            let pem = |key: &str| member(&keys, namespace, &secret.name, key);
            certificates.own = Some(format!("{}\n{}", pem("tls.crt")?, pem("tls.key")?).into());
        }
        Ok(certificates)
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.authorities.as_deref(), self.own.as_ref().map(ExposeSecret::expose_secret)] {
            hash.update(part.map_or(0, str::len).to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().into()
    }
}

/// One key of a Secret that must have it.
pub fn member<'s>(
    keys: &'s BTreeMap<String, SecretString>,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<&'s str, CredentialProblem> {
    keys.get(key).map(ExposeSecret::expose_secret).ok_or_else(|| {
        CredentialProblem::lasting(
            Reason::SecretKeyMissing,
            format!("the Secret {namespace}/{name} has no key {key}; add it, or correct the reference"),
        )
    })
}
