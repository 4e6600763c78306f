//! The address of a blob, parsed from its URL in a manifest.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// The longest blob name that Azure permits, in characters.
const MAX_BLOB_NAME: usize = 1024;

/// The address of a blob. It keeps nothing of the URL's query, which may be a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobAddress {
    /// The account's endpoint without a trailing slash, such as
    /// `https://clinicexports.blob.core.windows.net`, or `http://127.0.0.1:10000/devstoreaccount1` where the
    /// account is part of the path.
    pub account_origin: String,
    /// The container.
    pub container: String,
    /// The name of the blob, percent-decoded.
    pub blob: String,
}

/// Why a URL is not the address of a blob in the expected account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// The URL is not an http or https URL, or it has a user name or a fragment.
    #[error("it is not an http or https URL")]
    NotAUrl,
    /// The URL does not name a container and a blob.
    #[error("it does not name a container and a blob")]
    NotABlob,
    /// The URL belongs to another account than the endpoint.
    #[error("it lies at {origin}")]
    Elsewhere {
        /// Scheme, host and, unless it is the scheme's default, port of the URL.
        origin: String,
    },
}

impl BlobAddress {
    /// Parses `url`. With an `endpoint`, the blob must lie under it. Without one, the form of the host
    /// decides whether the account is part of the host name or of the path.
    pub fn parse(url: &str, endpoint: Option<&str>) -> Result<Self, AddressProblem> {
        let url = http_url(url)?;
        let mut segments: Vec<&str> = url.path_segments().ok_or(AddressProblem::NotAUrl)?.collect();
        let account = match endpoint {
            Some(endpoint) => account_under(&http_url(endpoint)?, &url, &segments)?,
            None if account_is_in_path(&url, &segments) => segments.iter().take(1).copied().collect(),
            None => Vec::new(),
        };
        if account.iter().any(|segment| segment.is_empty()) {
            return Err(AddressProblem::NotABlob);
        }
        let mut account_origin = origin(&url);
        for segment in &account {
            account_origin.push('/');
            account_origin.push_str(segment);
        }
        let rest = segments.split_off(account.len());
        let (container, name) = rest.split_first().ok_or(AddressProblem::NotABlob)?;
        let container = decoded(container)?;
        let blob = decoded(&name.join("/"))?;
        if !is_container_name(&container) || !is_blob_name(&blob) {
            return Err(AddressProblem::NotABlob);
        }
        Ok(Self { account_origin, container, blob })
    }
}

fn http_url(text: &str) -> Result<Url, AddressProblem> {
    let url = Url::parse(text).map_err(|_| AddressProblem::NotAUrl)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(AddressProblem::NotAUrl) }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The path segments of the endpoint, if the URL lies under it.
fn account_under<'u>(
    endpoint: &Url,
    url: &Url,
    segments: &[&'u str],
) -> Result<Vec<&'u str>, AddressProblem> {
    let own = endpoint.path().split('/').filter(|segment| !segment.is_empty());
    let own: Vec<&str> = own.collect();
    let under = segments.get(..own.len()) == Some(own.as_slice());
    if endpoint.origin() == url.origin() && under {
        Ok(segments.iter().take(own.len()).copied().collect())
    } else {
        Err(AddressProblem::Elsewhere { origin: origin(url) })
    }
}

/// Whether the account is part of the path, as with emulators. With Azure and custom domains it is part of
/// the host name.
fn account_is_in_path(url: &Url, segments: &[&str]) -> bool {
    match url.host() {
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        Some(Host::Domain(domain)) => {
            !domain.contains('.') || segments.first().is_some_and(|first| *first == "devstoreaccount1")
        }
        None => false,
    }
}

fn decoded(text: &str) -> Result<String, AddressProblem> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| AddressProblem::NotABlob)?;
    Ok(decoded.into_owned())
}

/// Azure's rules for container names, except `$logs` and `$web`, which hold no exports.
fn is_container_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (3..=63).contains(&name.len()) && name.chars().all(allowed)
}

/// Whether `name` can be the name of a blob. Segments `.` and `..` are excluded because URL builders remove
/// them, which would address another blob; so are control characters, which cannot be displayed.
fn is_blob_name(name: &str) -> bool {
    (1..=MAX_BLOB_NAME).contains(&name.chars().count())
        && !name.contains(char::is_control)
        && name.split('/').all(|segment| segment != "." && segment != "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const AZURE: &str = "https://clinicexports.blob.core.windows.net";
    const EMULATOR: &str = "http://127.0.0.1:10000/devstoreaccount1";

    #[allow(clippy::unnecessary_wraps)] // it stands beside `elsewhere` in tables
    fn at(account: &str, container: &str, blob: &str) -> Result<BlobAddress, AddressProblem> {
        Ok(BlobAddress { account_origin: account.into(), container: container.into(), blob: blob.into() })
    }

    fn elsewhere(origin: &str) -> Result<BlobAddress, AddressProblem> {
        Err(AddressProblem::Elsewhere { origin: origin.into() })
    }

    #[test]
    fn under_an_endpoint() {
        let table = [
            (
                AZURE,
                "https://clinicexports.blob.core.windows.net/lake/a/Patient-1.ndjson",
                at(AZURE, "lake", "a/Patient-1.ndjson"),
            ),
            (
                AZURE,
                "https://ClinicExports.Blob.core.windows.net:443/lake/p?sv=1&sig=s",
                at(AZURE, "lake", "p"),
            ),
            (
                "https://ClinicExports.blob.core.windows.net:443/",
                "https://clinicexports.blob.core.windows.net/lake/p",
                at(AZURE, "lake", "p"),
            ),
            (
                AZURE,
                "https://clinicexports.blob.core.windows.net/lake/a%20b%2Bc%2525%2Fd+e",
                at(AZURE, "lake", "a b+c%25/d+e"),
            ),
            (AZURE, "https://clinicexports.blob.core.windows.net/lake//p", at(AZURE, "lake", "/p")),
            (EMULATOR, "http://127.0.0.1:10000/devstoreaccount1/lake/p", at(EMULATOR, "lake", "p")),
            (
                "http://127.0.0.1:10000/devstoreaccount1/",
                "http://127.0.0.1:10000/devstoreaccount1/lake/p",
                at(EMULATOR, "lake", "p"),
            ),
            (EMULATOR, "http://127.0.0.1:10000/devstoreaccount2/lake/p", elsewhere("http://127.0.0.1:10000")),
            (EMULATOR, "http://127.0.0.1:10001/devstoreaccount1/lake/p", elsewhere("http://127.0.0.1:10001")),
            (EMULATOR, "http://127.0.0.1:10000/", elsewhere("http://127.0.0.1:10000")),
            (
                AZURE,
                "http://clinicexports.blob.core.windows.net/lake/p",
                elsewhere("http://clinicexports.blob.core.windows.net"),
            ),
            (
                AZURE,
                "https://other.blob.core.windows.net/lake/p?sig=s",
                elsewhere("https://other.blob.core.windows.net"),
            ),
            (
                AZURE,
                "https://clinicexports.blob.core.windows.net.example.org/lake/p",
                elsewhere("https://clinicexports.blob.core.windows.net.example.org"),
            ),
            (AZURE, "https://clinicexports.blob.core.windows.net/lake", Err(AddressProblem::NotABlob)),
            (AZURE, "https://clinicexports.blob.core.windows.net/lake/", Err(AddressProblem::NotABlob)),
            (AZURE, "https://clinicexports.blob.core.windows.net/Lake/p", Err(AddressProblem::NotABlob)),
            (AZURE, "https://clinicexports.blob.core.windows.net/lake/%FF", Err(AddressProblem::NotABlob)),
            (
                AZURE,
                "https://clinicexports.blob.core.windows.net/lake/a%2F..%2Fp",
                Err(AddressProblem::NotABlob),
            ),
            (AZURE, "https://user@clinicexports.blob.core.windows.net/lake/p", Err(AddressProblem::NotAUrl)),
            (AZURE, "https://clinicexports.blob.core.windows.net/lake/p#1", Err(AddressProblem::NotAUrl)),
            (AZURE, "lake/p", Err(AddressProblem::NotAUrl)),
            (AZURE, "ftp://clinicexports.blob.core.windows.net/lake/p", Err(AddressProblem::NotAUrl)),
        ];
        for (endpoint, url, expected) in table {
            assert_eq!(BlobAddress::parse(url, Some(endpoint)), expected, "{url} under {endpoint}");
        }
    }

    #[test]
    fn without_an_endpoint() {
        let table = [
            ("https://clinicexports.blob.core.windows.net/lake/a/p", at(AZURE, "lake", "a/p")),
            (
                "https://a1.blob.core.usgovcloudapi.net/lake/p",
                at("https://a1.blob.core.usgovcloudapi.net", "lake", "p"),
            ),
            (
                "https://a1.z07.blob.storage.azure.net/lake/p",
                at("https://a1.z07.blob.storage.azure.net", "lake", "p"),
            ),
            ("https://exports.example.org/lake/a/p?sig=s", at("https://exports.example.org", "lake", "a/p")),
            ("http://127.0.0.1:10000/devstoreaccount1/lake/a/p", at(EMULATOR, "lake", "a/p")),
            ("http://[::1]:10000/acc/lake/p", at("http://[::1]:10000/acc", "lake", "p")),
            ("http://localhost:10000/acc/lake/p", at("http://localhost:10000/acc", "lake", "p")),
            (
                "http://azurite.fhir.svc:10000/devstoreaccount1/lake/p",
                at("http://azurite.fhir.svc:10000/devstoreaccount1", "lake", "p"),
            ),
            ("http://127.0.0.1:10000/acc/lake", Err(AddressProblem::NotABlob)),
            ("http://127.0.0.1:10000//lake/p", Err(AddressProblem::NotABlob)),
            ("https://clinicexports.blob.core.windows.net/", Err(AddressProblem::NotABlob)),
        ];
        for (url, expected) in table {
            assert_eq!(BlobAddress::parse(url, None), expected, "{url}");
        }
    }

    #[test]
    fn a_signature_is_not_kept() {
        let address = BlobAddress::parse("https://a.blob.core.windows.net/lake/p?sig=secret", None).unwrap();
        assert!(!format!("{address:?}").contains("secret"));
        let problem = BlobAddress::parse("https://b.example/lake/p?sig=secret", Some(AZURE)).unwrap_err();
        assert!(!format!("{problem:?} {problem}").contains("secret"));
    }
}
