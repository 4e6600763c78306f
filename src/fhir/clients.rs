//! HTTP clients, shared by all `FhirServer`s with the same certificates and time-out.

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

/// The HTTP clients for one set of certificates.
pub struct Clients {
    /// For requests that may safely be repeated; it keeps connections open.
    pub kept: Client,
    /// For kick-offs: each request gets a new connection. If the server closed a kept connection at the
    /// moment of the request, it would be uncertain whether the kick-off started a job.
    pub fresh: Client,
    /// For files, whose bodies are decompressed piece by piece.
    pub files: Client,
    /// For files at other origins: without the client certificate.
    pub bare: Client,
    /// For a token endpoint that only the server names: without the client certificate, to public addresses
    /// only, and with a new connection for each request.
    pub public_only: Client,
    /// The addresses that hosts named by the `FhirServer` may resolve to.
    pub reach: Reach,
    /// Digest of the certificates that these clients use.
    pub certificates: [u8; 32],
}

/// How long a download may bring no data before it is broken off.
const STALLED: Duration = Duration::from_secs(60);
/// How many connections for files are kept open to one server: as many as files can be downloaded at once.
const MAX_IDLE: usize = 64;

/// The HTTP clients in use.
pub struct ClientPool {
    extra_ca: Vec<String>,
    reach: Reach,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clients: HashMap<PoolKey, Weak<Clients>>,
    /// The clients that were created last. They are kept alive because creating clients is slow, and the
    /// credentials that keep them in use may be missing for a while.
    last: Option<Arc<Clients>>,
}

/// Digest of the certificates, and the connect time-out.
type PoolKey = ([u8; 32], Duration);

/// The certificates that a `FhirServer` names, as read from the cluster.
#[derive(Default)]
struct Certificates {
    authorities: Option<String>,
    /// Client certificate and private key, as PEM.
    own: Option<SecretString>,
}

impl ClientPool {
    /// An empty pool. `extra_ca` (PEM bundles) is trusted for all servers; `reach` bounds the addresses that
    /// hosts named by a `FhirServer` may resolve to.
    pub fn new(extra_ca: Vec<String>, reach: Reach) -> Self {
        Self { extra_ca, reach, known: Mutex::default() }
    }

    /// The addresses that hosts named by a `FhirServer` may resolve to.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The HTTP clients for `server`, created if there are none with its certificates and time-out.
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
        let as_it_comes = |builder: ClientBuilder| {
            let builder = builder.no_gzip().no_deflate().read_timeout(STALLED);
            builder.pool_max_idle_per_host(MAX_IDLE)
        };
        let files = as_it_comes(self.builder(certificates, server, named)?);
        let strangers = Certificates { authorities: certificates.authorities.clone(), own: None };
        let bare = as_it_comes(self.builder(&strangers, server, named)?);
        let public_only = self.builder(&strangers, server, &named.public())?.pool_max_idle_per_host(0);
        let build = |builder: ClientBuilder| builder.build().map_err(|_| unusable("tls", server));
        Ok(Clients {
            kept: build(kept)?,
            fresh: build(fresh)?,
            files: build(files)?,
            bare: build(bare)?,
            public_only: build(public_only)?,
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
            let message = "the operator's extra CA cannot be used; it must be PEM";
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
        // Without keep-alive, every request on a kept HTTP/2 connection that died silently would fail.
        Ok(builder
            .connect_timeout(connect_timeout(server))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10)))
    }
}

/// The time limit of one request, in seconds; 60 by default.
pub fn timeout_seconds(server: &FhirServer) -> u64 {
    let set = server.spec.limits.as_ref().and_then(|limits| limits.request_timeout_seconds);
    set.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(60)
}

/// The connect time-out. It is shorter than the request's, so that a request that timed out as a whole is
/// known to have been sent.
fn connect_timeout(server: &FhirServer) -> Duration {
    (Duration::from_secs(timeout_seconds(server)) / 2).min(transport::CONNECT_TIMEOUT)
}

fn unusable(what: &str, server: &FhirServer) -> CredentialProblem {
    let message =
        format!("the object that {what} of {} names cannot be used; its content must be PEM", named(server));
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

/// The value of `key` in a Secret's content, or an error if the key is missing.
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
