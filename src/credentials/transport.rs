//! How HTTP clients for servers outside the cluster are made, all alike.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, ClientBuilder};

/// How long a connection may take: name, TCP, proxy and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator calls itself.
pub const USER_AGENT: &str = concat!("fhir-export-operator/", env!("CARGO_PKG_VERSION"));

/// A client that follows no redirect, repeats nothing, keeps no cookies and names no referer. The system's
/// authorities are trusted, and those of `extra_ca` (PEM bundles); proxies are the environment's.
pub fn client_builder(extra_ca: &[String]) -> Result<ClientBuilder, reqwest::Error> {
    let mut authorities = Vec::new();
    for bundle in extra_ca {
        authorities.extend(Certificate::from_pem_bundle(bundle.as_bytes())?);
    }
    Ok(reqwest::Client::builder()
        .tls_certs_merge(authorities)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(8)
        .dns_resolver(SystemNames))
}

/// A name that does not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the host name {host} does not resolve")]
pub struct NameNotResolved {
    /// The name: the server's, or the proxy's.
    pub host: String,
}

/// The system's resolver, with an error that can be told from others by its type.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect);
            let found: Vec<SocketAddr> = found.map_err(|_| NameNotResolved { host })?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
