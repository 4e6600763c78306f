//! HTTP clients for servers outside the cluster, all built the same way.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, ClientBuilder};
use url::{Host, Url};

use crate::core::reach::{NotReached, Reach};

/// Time limit for establishing a connection: name lookup, TCP, proxy and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The operator's `User-Agent` header.
pub const USER_AGENT: &str = concat!("fhir-export-operator/", env!("CARGO_PKG_VERSION"));

/// A builder for a client that follows no redirects, retries nothing, keeps no cookies and sends no referer.
/// It trusts the system's certificate authorities and those in `extra_ca` (PEM bundles), and uses the proxies
/// of the environment. With a `reach`, the client connects to host names only at addresses within it. An
/// address in a URL is not resolved, so the caller must check it with [`check_address`].
pub fn client_builder(extra_ca: &[String], reach: Option<Reach>) -> Result<ClientBuilder, reqwest::Error> {
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
        .dns_resolver(SystemNames { reach, proxies: proxies() }))
}

/// A host name does not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the host name {host} does not resolve")]
pub struct NameNotResolved {
    /// The host name: the server's, or the proxy's.
    pub host: String,
}

/// A host is at an address that the operator does not connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host {host} has the address {address}, {why}")]
pub struct AddressRefused {
    /// The host, as written in the URL.
    pub host: String,
    /// The first rejected address of the host.
    pub address: IpAddr,
    /// Why the address is rejected.
    pub why: NotReached,
}

/// Checks the address in `url` against `reach`. A URL with a host name passes: its addresses are checked when
/// the name is resolved.
pub fn check_address(reach: &Reach, url: &Url) -> Result<(), AddressRefused> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    let refused = |why| AddressRefused { host: url.host_str().unwrap_or_default().to_owned(), address, why };
    reach.admits(address).map_err(refused)
}

/// The system's resolver, with typed errors, and with addresses filtered by `reach`. Checking here rather
/// than earlier guarantees that the checked address is the one connected to.
struct SystemNames {
    reach: Option<Reach>,
    proxies: Vec<String>,
}

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        // The operator's owner chooses the proxy, and the proxy resolves names itself.
        let reach = self
            .reach
            .clone()
            .filter(|_| !self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(&host)));
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect);
            let found: Vec<SocketAddr> = found.map_err(|_| NameNotResolved { host: host.clone() })?;
            Ok(Box::new(within(reach.as_ref(), &host, found)?.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be connected to. Fails if there are only others.
fn within(
    reach: Option<&Reach>,
    host: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, AddressRefused> {
    let Some(reach) = reach else { return Ok(found) };
    let mut refused = None;
    let mut admitted = Vec::with_capacity(found.len());
    for socket in found {
        match reach.admits(socket.ip()) {
            Ok(()) => admitted.push(socket),
            Err(why) => {
                refused.get_or_insert(AddressRefused { host: host.to_owned(), address: socket.ip(), why });
            }
        }
    }
    match refused {
        Some(refused) if admitted.is_empty() => Err(refused),
        _ => Ok(admitted),
    }
}

/// The hosts of the proxies in the environment.
fn proxies() -> Vec<String> {
    let variables = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let values = variables.iter().filter_map(|name| std::env::var(name).ok());
    values.filter_map(|value| proxy_host(&value)).collect()
}

/// The host of a proxy setting, which may lack the scheme.
fn proxy_host(value: &str) -> Option<String> {
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
    url.ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn a_name_leads_only_to_addresses_within_reach() {
        let public = Reach::default().public();
        let rebound = within(Some(&public), "x.example", sockets(&["10.0.0.1", "8.8.8.8", "fd00::1"]));
        assert_eq!(rebound, Ok(sockets(&["8.8.8.8"])));
        for hidden in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "::1"] {
            let refused = within(Some(&public), "x.example", sockets(&[hidden])).unwrap_err();
            assert_eq!((refused.host.as_str(), refused.address), ("x.example", hidden.parse().unwrap()));
        }
        assert_eq!(within(None, "x.example", sockets(&["127.0.0.1"])), Ok(sockets(&["127.0.0.1"])));
        assert_eq!(within(Some(&public), "x.example", vec![]), Ok(vec![]));
    }

    #[test]
    fn addresses_in_urls() {
        let check = |url: &str| check_address(&Reach::default(), &url.parse().unwrap());
        assert_eq!(check("https://clinic.example/fhir"), Ok(()));
        assert_eq!(check("http://127.0.0.1:8080/fhir"), Ok(()));
        for url in
            ["http://169.254.169.254/metadata", "http://2852039166/", "https://[fe80::1]/", "http://0/"]
        {
            let refused = check(url).unwrap_err();
            assert_eq!(refused.why, NotReached::Never, "{url}");
        }
        assert_eq!(
            check("http://0xa9fea9fe/").unwrap_err().to_string(),
            "the host 169.254.169.254 has the address 169.254.169.254, which belongs to the node or its cloud, so the \
             operator never connects to it"
        );
    }

    #[test]
    fn proxies_as_people_write_them() {
        for (value, host) in [
            ("http://proxy.example:3128", Some("proxy.example")),
            ("proxy.example:3128", Some("proxy.example")),
            ("socks5://u:p@10.0.0.1", Some("10.0.0.1")),
            ("", None),
        ] {
            assert_eq!(proxy_host(value).as_deref(), host, "{value}");
        }
    }
}
