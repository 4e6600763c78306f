//! Parsers of single flags. Their errors complete the sentence "invalid value 'x' for '--flag': …".

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

use crate::core::reach::Network;
use crate::core::volume::{VolumeFolder, VolumeGrants};

/// A century, in seconds. A larger number is a typing error, and would overflow when added to the current time.
const LONGEST: f64 = 100.0 * 365.0 * 86400.0;

/// The value of a flag that takes a list of words.
pub type Words = BTreeSet<String>;

/// A list of names of namespaces, separated by commas.
pub fn namespaces(text: &str) -> Result<Words, String> {
    words(text, namespace)
}

/// The value of a flag that takes a list of networks.
pub type Networks = Vec<Network>;

/// A list of words, separated by commas.
pub fn plain(text: &str) -> Result<Words, String> {
    words(text, |_| Ok(()))
}

/// A number of seconds, possibly fractional, as a duration greater than zero.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim().parse().map_err(|_| "use a number of seconds".to_string())?;
    if number > 0.0 && number <= LONGEST {
        let duration = Duration::from_secs_f64(number);
        if !duration.is_zero() {
            return Ok(duration);
        }
    }
    Err("use a number of seconds greater than 0, at most a century".into())
}

/// A list of words separated by commas, each of which must pass `check`.
fn words(text: &str, check: impl Fn(&str) -> Result<(), String>) -> Result<BTreeSet<String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| check(word).map(|()| word.to_string()))
        .collect()
}

/// Checks the name of a namespace.
fn namespace(word: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_formed = word.len() <= 63
        && word.chars().all(|c| inner(c) || c == '-')
        && word.starts_with(inner)
        && word.ends_with(inner);
    if well_formed { Ok(()) } else { Err(format!("{word} is not the name of a namespace")) }
}

/// The name of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName {
    /// The namespace of the Lease; `None`: that of the pod or kubeconfig.
    pub namespace: Option<String>,
    /// The name of the Lease.
    pub name: String,
}

/// The name of a Lease, as `name` or `namespace/name`.
pub fn lease(text: &str) -> Result<LeaseName, String> {
    let (namespaced, name) = match text.split_once('/') {
        Some((namespaced, name)) => (Some(namespaced), name),
        None => (None, text),
    };
    if let Some(namespaced) = namespaced {
        namespace(namespaced)?;
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_formed = name.len() <= 253
        && name.chars().all(|c| inner(c) || matches!(c, '-' | '.'))
        && name.starts_with(inner)
        && name.ends_with(inner);
    if !well_formed {
        return Err("use the name of a Lease, as name or namespace/name".into());
    }
    Ok(LeaseName { namespace: namespaced.map(Into::into), name: name.into() })
}

/// A list of networks or addresses, separated by commas.
pub fn networks(text: &str) -> Result<Networks, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let network = |word| {
        Network::parse(word)
            .ok_or_else(|| format!("{word} is neither a network such as 10.0.0.0/8 nor an address"))
    };
    words.map(network).collect()
}

/// Grants of folders of volumes, as `NAMESPACE=CLAIM` or `NAMESPACE=CLAIM/PATH`, separated by commas.
pub fn volume_grants(text: &str) -> Result<VolumeGrants, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let grant = |word: &str| {
        let (to, folder) = word
            .split_once('=')
            .ok_or_else(|| format!("write {word} as NAMESPACE=CLAIM or NAMESPACE=CLAIM/PATH"))?;
        namespace(to)?;
        Ok((to.to_owned(), VolumeFolder::parse(folder)?))
    };
    VolumeGrants::new(words.map(grant).collect::<Result<Vec<_>, String>>()?)
}

/// The https URL of an Entra authority.
pub fn authority(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "use an https URL".to_string())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() == "https" && url.host_str().is_some() && plain {
        Ok(url)
    } else {
        Err("use an https URL with host and path only".into())
    }
}

/// The http or https URL of a collector of traces.
pub fn collector(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "use a URL such as http://collector:4318".to_string())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && plain {
        Ok(url)
    } else {
        Err("use an http or https URL with host and path only".into())
    }
}

/// An address to listen on.
pub fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "use an IP address and a port, such as 0.0.0.0:8080".to_string())
}

/// A log filter; only its syntax is checked.
pub fn directives(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_string())
        .map_err(|e| format!("not a log filter: {e}"))
}
